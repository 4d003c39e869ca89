"""Pretrained weights as the package ships them: in half precision, with a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from naslora.core.errors import CheckpointError, SettingsError
from naslora.core.files import sha256, write_bytes, write_json, write_text
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.generated import drawing_of
from naslora.data.images import resized, resized_labels
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.settings import Study
from naslora.synthetic.streams import streams
from naslora.training.pretraining.batches import held_out
from naslora.training.pretraining.model import PromptableSam
from naslora.training.pretraining.prompts import LARGEST, largest_regions
from naslora.training.pretraining.validation import prompted, validate

_SCENES = 256  # held out, for the scores of a card
_IMAGES = 24  # of each benchmark's generator
_SEED = 2_000_003  # other images than those of any study


def publish(study: Study, folder: Path) -> Path:
    """Write the study's pretrained weights and their card into a folder.

    `<backbone>.safetensors` holds the weights in float16 with Meta's names, `<backbone>.json` the
    recipe, the learning curve and the scores, and `<backbone>.md` the same as readable text.

    Returns:
        The file of weights.

    Raises:
        CheckpointError: the study has no pretrained weights, or they do not belong to its learning
            curve.
        SettingsError: the images of a task show nothing large enough to be prompted.
        DiskError: the folder cannot be written to.
    """
    source = Layout.of(study).backbone()
    about = _about(source)
    model = PromptableSam(study.sam.backbone, study.sam.image_size)
    load_checkpoint(model.sam, source)
    half = {name: value.half().contiguous() for name, value in model.sam.state_dict().items()}
    model.sam.load_state_dict({name: value.float() for name, value in half.items()})
    scenes = held_out(study.pretraining.seed + 1, _SCENES, study.sam.image_size)
    scores = {
        "held_out": _rounded(validate(model, scenes)),
        "zero_shot": {task: _rounded(_zero_shot(model, task, study)) for task in study.tasks},
    }
    path = folder / f"{study.sam.backbone}.safetensors"
    write_bytes(path, save(half))
    card = {
        **{name: value for name, value in about.items() if name != "sha256"},
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "revision": provenance(torch.device("cpu")).git_revision,
        **scores,
    }
    write_json(path.with_suffix(".json"), card)
    write_text(path.with_suffix(".md"), card_text(card))
    return path


def card_text(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    rows = [("held-out scenes", card["held_out"]), *card["zero_shot"].items()]
    scores = "\n".join(f"| {name} | {row['click']:.3f} | {row['box']:.3f} |" for name, row in rows)
    stages: list[Mapping[str, Any]] = [card]
    while earlier := stages[0].get("earlier"):
        stages.insert(0, earlier)
    return f"""# SAM `{card["backbone"]}`

{card["parameters"]:,} parameters in float16, for images of {card["image_size"]} px;
{card["bytes"]:,} bytes, SHA-256 `{card["sha256"]}`.

All weights were trained by `naslora pretrain` on generated scenes of abstract shapes and textures
(`naslora/synthetic/scenes.py`). No photograph, and no image of a benchmark's generator, was seen.

## Scores without adaptation

Mean IoU from one click at the centre of an object (of three candidates, the one that the model
believes the best) and from its box. Below the first line, on {_IMAGES} images of each benchmark's
generator; the objects are the {LARGEST} largest connected regions of the mask.

| images | click | box |
|---|---:|---:|
{scores}

Without a prompt, mean IoU with all that stands out in held-out scenes:
{card["held_out"]["prompt_free"]:.3f}.

{"".join(_stage_text(about, number, len(stages)) for number, about in enumerate(stages, 1))}"""


def _stage_text(about: Mapping[str, Any], number: int, stages: int) -> str:
    """The recipe and the learning curve of a pretraining, the `number`-th of `stages`."""
    stage = f", stage {number} of {stages}" if stages > 1 else ""
    settings, size = about["settings"], about["image_size"]
    columns = [name for name in about["curve"][0] if name != "step"]
    curve = "\n".join(
        f"| {entry['step']:.0f} | " + " | ".join(f"{entry[name]:.3f}" for name in columns) + " |"
        for entry in about["curve"]
    )
    recipe = "\n".join(f"- {name}: {value}" for name, value in settings.items())
    start = "the weights of the stage before" if number > 1 else about["start"] or "random weights"
    revision = f", revision {about['revision']}" if "revision" in about else ""
    return f"""## Recipe{stage}

- images of {size} px
{recipe}
- started from: {start}
- naslora {about["naslora"]}{revision}; torch {about["torch"]}

## Learning curve{stage}

Mean losses since the line before, and mean IoU on {settings["validation_scenes"]} held-out scenes.

| step | {" | ".join(name.replace("_", " ") for name in columns)} |
|---:|{"---:|" * len(columns)}
{curve}
"""


def _about(source: Path) -> dict[str, Any]:
    path = source.with_suffix(".json")
    if not source.is_file() or not path.is_file():
        raise CheckpointError(
            "there are no pretrained weights with a learning curve",
            where=source,
            remedy="run naslora pretrain with the same settings first",
        )
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if about["sha256"] != sha256(source):
        raise CheckpointError(
            "the weights are not those of the learning curve beside them",
            where=source,
            remedy="run naslora pretrain with the same settings again",
        )
    return about


@torch.inference_mode()
def _zero_shot(model: PromptableSam, task: str, study: Study) -> dict[str, float]:
    """Mean IoU from a click and from a box on images that the task's generator draws.

    Raises:
        SettingsError: no image has a region that is large enough to be prompted.
    """
    model.eval()
    benchmark, size = get_benchmark(task), study.sam.image_size
    draw = drawing_of(benchmark)
    found: dict[str, list[float]] = {"click": [], "box": []}
    for rng in streams(_SEED, _IMAGES):
        image, labels = draw(rng)
        masks = largest_regions(resized_labels(labels, size))
        if not len(masks):
            continue
        pixels = resized(Image.fromarray(image), size).transpose(2, 0, 1).copy()
        embedding = model.encode(torch.from_numpy(pixels)[None])
        for kind, values in prompted(model, embedding, masks).items():
            found[kind] += values
    if not found["click"]:
        raise SettingsError(
            f"no image drawn for {task} has a region that is large enough for a prompt at"
            f" {size} px, so the card would have no scores for it",
            remedy="leave it out of tasks, or raise sam.image_size",
        )
    return {kind: float(np.mean(values)) for kind, values in found.items()}


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}
