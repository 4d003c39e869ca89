"""A run as a folder to share: the adapter, its receipt and a model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from naslora.core.errors import RecordError, StateError
from naslora.core.files import sha256, whole_folder
from naslora.data.archives.catalogue import load_archives
from naslora.data.benchmarks.contract import Benchmark, benchmark_names, get_benchmark
from naslora.data.manifest import Manifest, read_manifest
from naslora.evaluation.names import metric_name
from naslora.evaluation.runs import ADAPTER_NAME
from naslora.methods.adapter_file import AdapterMetadata, read_metadata
from naslora.nas.settings import rate_text
from naslora.study.records import CONTROLS, Receipt, Record, read_receipt, read_record

_RECEIPT = "training.json"
_CARD = "README.md"


def write_shared(run: Path, out: Path, log: Callable[[str], None]) -> Path:
    """Copy a run's adapter and receipt into a folder, and write a model card beside them.

    The card states the task and the terms of its images, the SAM that the adapter belongs to, how
    it was trained, and its scores beside those of the best control, which ignores the images. The
    scores are read from the run's record in the same study; without a record, there are none.

    Args:
        run: the folder of a run of a study, `runs/TASK/VARIANT/seedN`.
        out: the folder to write.
        log: called with each line about what is left out.

    Raises:
        StateError: this is not a run of a study on one of the package's benchmarks, or its adapter
            is missing or does not match the receipt.
        RecordError: the receipt is damaged, or the record is of another training.
        DiskError: the folder cannot be written.
    """
    adapter = run / ADAPTER_NAME
    if not adapter.is_file():
        raise StateError(f"there is no {ADAPTER_NAME} here", where=run.absolute())
    receipt = read_receipt(run / _RECEIPT) if (run / _RECEIPT).is_file() else None
    if receipt is None or receipt.settings["task"] not in benchmark_names():
        raise StateError(
            "a card is made of a study's run on one of the benchmarks of this package",
            where=run.absolute(),
            remedy="give results/STUDY/runs/TASK/VARIANT/seedN; the folder of a run of naslora fit "
            "can be handed on as it is",
        )
    if receipt.adapter is None or receipt.adapter.sha256 != sha256(adapter):
        raise StateError(
            "the adapter does not match its receipt",
            where=adapter.absolute(),
            remedy="train the run again, with the same command",
        )
    metadata = read_metadata(adapter)
    record, controls = _scores(run, receipt)
    if record is None:
        log("the card has no scores: there is no record of this run beside it")
    with whole_folder(out) as folder:
        for path in (adapter, run / _RECEIPT):
            shutil.copyfile(path, folder / path.name)
        text = card_text(receipt, metadata, _manifest(run, receipt), record, controls)
        (folder / _CARD).write_text(text, encoding="utf-8")
    return out


def card_text(
    receipt: Receipt,
    metadata: AdapterMetadata,
    manifest: Manifest | None,
    record: Record | None,
    controls: Mapping[str, Record],
) -> str:
    """The model card of a run, as Markdown.

    Args:
        receipt: of the run.
        metadata: metadata of its adapter file.
        manifest: of its images, if it is known.
        record: of its evaluation, if there is one.
        controls: records of the controls, which ignore the images, by name.
    """
    settings, benchmark = receipt.settings, get_benchmark(receipt.settings["task"])
    training, title = settings["training"], record.title if record else metadata.method
    adapter, base = receipt.adapter, metadata.base
    rate = rate_text(training["learning_rate"], training["decay_start"])
    assert adapter is not None
    sam = f"SAM `{settings['sam']['backbone']}` at {settings['sam']['image_size']} px"
    parts = [
        f"# {title} on {benchmark.title}",
        f"An adapter for {sam} that segments {_classes(benchmark)}. `{adapter.name}` contains the "
        f"trained parameters, {receipt.trainable_parameters:,} of {receipt.total_parameters:,}, in "
        f"{adapter.bytes:,} bytes; SHA-256 `{adapter.sha256}`.",
        "```\nnaslora predict FOLDER IMAGES --out masks\n```",
        "FOLDER is the folder of this card. "
        + (
            f"The SAM is found by its hash: `{base.file}`, SHA-256 `{base.file_sha256}`."
            if base is not None
            else "The SAM is built from the adapter alone."
        ),
        "## Images",
        _images(benchmark, manifest),
        "## Training",
        f"{training['epochs']} epochs with batch size {training['batch_size']}, Adam with a "
        f"learning rate of {rate}; seed {settings['seed']}, precision "
        f"{training['precision']}; {receipt.wall_time_s / 60:.0f} min. `{_RECEIPT}` has all "
        "settings, the losses of every epoch, and the versions and the hardware.",
    ]
    if record is not None:
        parts += ["## Scores", _score_table(record, controls)]
    parts += [
        "## Limits",
        "It was trained and tested on images of this data set only, and is for research. Check its "
        "masks before you rely on them.",
    ]
    return "\n\n".join(parts) + "\n"


def _classes(benchmark: Benchmark) -> str:
    names = benchmark.classes
    return f"one class, {names[0]}" if len(names) == 1 else f"{len(names) - 1} classes"


def _images(benchmark: Benchmark, manifest: Manifest | None) -> str:
    count = f", {len(manifest.of('train'))} images for training" if manifest else ""
    if manifest is not None and manifest.generated_images:
        return f"Generated in the style of {benchmark.title}{count}. None of them is a photograph."
    archives = load_archives()
    terms = dict.fromkeys(archives[n].licence for n in benchmark.archives if n in archives)
    return f"{benchmark.title}{count}. Terms of the images: {'; '.join(terms) or 'not known'}."


def _manifest(run: Path, receipt: Receipt) -> Manifest | None:
    """The manifest of the images that a run was trained on, if it is in the same results folder."""
    parents = run.absolute().parents
    path = parents[min(3, len(parents) - 1)] / "manifests" / f"{receipt.settings['task']}.json"
    if not path.is_file() or sha256(path) != receipt.manifest_sha256:
        return None
    return read_manifest(path)


def _scores(run: Path, receipt: Receipt) -> tuple[Record | None, dict[str, Record]]:
    """The records of a run and of its task's controls, if they are in the same results folder."""
    parts, parents = run.absolute().parts, run.absolute().parents
    folder = parents[min(3, len(parents) - 1)] / "records"
    task = receipt.settings["task"]
    path = folder.joinpath(*parts[-3:]).with_suffix(".json")
    if not path.is_file():
        return None, {}
    record = read_record(path)
    if record.training != receipt:
        raise RecordError(
            "this record is of another training than the run",
            where=path,
            remedy="evaluate the run again",
        )
    files = {name: folder / task / name / "seed0.json" for name in CONTROLS}
    return record, {name: read_record(p) for name, p in files.items() if p.is_file()}


def _score_table(record: Record, controls: Mapping[str, Record]) -> str:
    rows = []
    for test_set, metrics in record.metrics.items():
        for metric, value in metrics.items():
            name = metric_name(metric)
            others = [c.metrics[test_set][metric] for c in controls.values() if c.metrics]
            best = max(others, key=lambda other: name.sign * other) if others else None
            rows.append(
                f"| {test_set} ({record.images[test_set]}) | {name.title} | "
                f"{_shown(metric, value)} | {'-' if best is None else _shown(metric, best)} |"
            )
    head = (
        "Percent, except for error rates; the last column is the best prediction that ignores the "
        "image: background everywhere, foreground everywhere, or the mean of the training masks, "
        "cut at 0.5 or at the threshold that is best on them.\n\n"
        "| test set (images) | metric | this adapter | no image |\n|---|---|---:|---:|\n"
    )
    return head + "\n".join(rows)


def _shown(metric: str, value: Any) -> str:
    name = metric_name(metric)
    return f"{value * name.scale:.{name.decimals}f}"
