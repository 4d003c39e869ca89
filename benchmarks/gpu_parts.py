"""The parts of `gpu.py`: their commands and time limits, also in miniature on a CPU."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_PYTEST = [sys.executable, "-m", "pytest", "-q", "--durations=10", "-p", "no:cacheprovider"]
_NASLORA = [sys.executable, "-m", "naslora"]
# The rehearsal in seconds, with one method.
_MINIATURE = {
    "tasks": ["kvasir"],
    "methods": ["lora"],
    "networks": [],
    "variants": {},
    "seeds": [0],
    "generated": {"kvasir": 24},
    "sam.image_size": 64,
    "pretraining": {"scenes": 8, "steps": 1, "batch_size": 8, "validation_scenes": 2},
    "training.epochs": 1,
    "training.batch_size": 2,
}


@dataclass(frozen=True)
class Part:
    """A command with a time limit.

    Attributes:
        name: the name of its result.
        minutes: its time limit.
        command: the command, run in the repository's root.
        about: the question that it answers.
    """

    name: str
    minutes: float
    command: list[str]
    about: str


def parts(output: Path, archives: Path, *, dry_run: bool) -> list[Part]:
    """All parts, the most important first.

    Args:
        output: the folder for their results.
        archives: the folder with the archives of the study `sample`.
        dry_run: in miniature, on the CPU.
    """
    return [
        Part(
            "tests",
            6,
            _tests(output, dry_run),
            "Do all methods train, resume, save and evaluate on this device?",
        ),
        Part(
            "attention",
            3,
            _attention(output, dry_run),
            "Which implementation of attention is the fastest on this device?",
        ),
        Part(
            "encoder",
            6,
            _encoder(output, dry_run, "encoder-batch-4", 4),
            "Time and memory of a step and of inference, against Meta's encoder and transformers",
        ),
        Part(
            "encoder-one",
            3,
            _encoder(output, dry_run, "encoder-batch-1", 1),
            "The same with one image, in case a batch of the peers is too large for this device",
        ),
        Part(
            "table5",
            5,
            _table5(output, dry_run),
            "What every method costs in training and inference, by the protocol of Table 5",
        ),
        Part(
            "layouts",
            4,
            _layouts(output, dry_run),
            "Do channels-last convolutions or a CUDA graph make a step faster?",
        ),
        Part(
            "pretrain",
            10,
            _pretrain(output, dry_run),
            "How far does the pretraining of the backbone small get in ten minutes?",
        ),
        Part(
            "sample",
            25,
            _sample(output, archives, dry_run),
            "The study sample, as many runs as fit",
        ),
    ]


def _tests(output: Path, dry_run: bool) -> list[str]:
    report = f"--junit-xml={output / 'tests.xml'}"
    if dry_run:
        where = "tests/training/test_devices.py"
        return [*_PYTEST, report, where, "-k", "multiclass and cpu"]
    # By name: other test files import packages that this machine may lack.
    marked = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r"\bmark\.gpu\b", path.read_text(encoding="utf-8"))
    ]
    return [*_PYTEST, report, "-m", "gpu", *marked]


def _sizes(dry_run: bool, batch: int) -> list[str]:
    """Options of the comparisons: the model, the device, and in miniature the number of turns."""
    tiny = "--backbone tiny --image-size 64 --batch-size 1 --threads 1 --device cpu"
    if dry_run:
        return f"{tiny} --one-process --turns 1".split()
    huge = f"--backbone vit_h --image-size 1024 --batch-size {batch}"
    return f"{huge} --device cuda --precision bf16".split()


def _attention(output: Path, dry_run: bool) -> list[str]:
    limits = ["--ways", "folded", "flex"] if dry_run else ["--minutes", "0.4"]
    return [
        *(sys.executable, "benchmarks/attention.py", *_sizes(dry_run, 4), *limits),
        *("--output", str(output / "attention-ways.json")),
    ]


def _encoder(output: Path, dry_run: bool, name: str, batch: int) -> list[str]:
    ours = ["lora"] if dry_run or batch == 1 else ["lora", "nas_pc_lora", "darts", "conv_lora"]
    limits = [] if dry_run else ["--minutes", "2" if batch > 1 else "1"]
    return [
        *(sys.executable, "benchmarks/encoder.py", *_sizes(dry_run, batch), *limits),
        *("--sides", *ours, "meta-lora", "transformers-lora"),
        *("--output", str(output / f"{name}.json")),
    ]


def _layouts(output: Path, dry_run: bool) -> list[str]:
    limits = ["--methods", "nas_pc_lora"] if dry_run else ["--minutes", "0.8"]
    return [
        *(sys.executable, "benchmarks/layouts.py", *_sizes(dry_run, 4), *limits),
        *("--output", str(output / "layouts-forms.json")),
    ]


def _table5(output: Path, dry_run: bool) -> list[str]:
    # Fewer repeats than in the study, which would take half an hour.
    settings: dict[str, Any] = {"timing": {"repeats": 2, "warm_up": 1, "steps": 2}}
    if dry_run:
        settings = {**_MINIATURE, "timing": {"repeats": 1, "warm_up": 1, "steps": 1}}
    settings["timing"]["batch_sizes"] = []
    return [
        *(*_NASLORA, "time", "--study", "rehearsal" if dry_run else "paper"),
        *_set({**settings, "results": str(output / "table5-results")}),
        *("--output", str(output / "table5-timing.json")),
    ]


def _pretrain(output: Path, dry_run: bool) -> list[str]:
    settings: dict[str, Any] = {
        "results": str(output / "pretraining"),
        "sam.checkpoint": "pretrained",
    }
    if dry_run:
        return [*_NASLORA, "pretrain", "--study", "rehearsal", *_set({**_MINIATURE, **settings})]
    # Fewer scenes: drawing all of them would take longer than this part.
    settings |= {"training.accelerator": "gpu", "pretraining.precision": "bf16-mixed"}
    settings |= {"pretraining.scenes": 2000, "pretraining.checkpoint_minutes": 1}
    return [*_NASLORA, "pretrain", "--study", "sample", *_set(settings)]


def _sample(output: Path, archives: Path, dry_run: bool) -> list[str]:
    settings: dict[str, Any] = {"results": str(output / "sample-results")}
    if dry_run:
        settings = {**_MINIATURE, **settings, "sam.checkpoint": "random"}
    else:
        settings |= {"training.accelerator": "gpu", "training.precision": "bf16-mixed"}
        settings |= {"archives": str(archives)}
    return [
        *(sys.executable, "benchmarks/runs.py"),
        *("--study", "rehearsal" if dry_run else "sample", *_set(settings)),
        *("--output", str(output / "sample-runs.json")),
    ]


def _set(settings: dict[str, Any]) -> list[str]:
    pairs = (f"{name}={json.dumps(value)}" for name, value in settings.items())
    return [word for pair in pairs for word in ("--set", pair)]
