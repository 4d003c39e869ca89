"""The notes under Table 5: hardware, protocol, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from naslora.report.tables.comparability import changed_methods
from naslora.report.tables.notes import (
    NOT_COMPARABLE,
    VERDICTS,
    WHAT_WAS_MEASURED,
    Sections,
)
from naslora.report.tables.timed_cells import TOLERANCE, why_rates_differ, why_ratios_differ
from naslora.results.costs import (
    PAPER_EPOCHS,
    PAPER_START_EPOCH,
    paper_costs,
    schedule_seconds,
)
from naslora.study.settings import Study
from naslora.timing.document import Form, Timing

INFERENCE_FORMS: Mapping[Form, str] = {
    "merged": "merged into plain layers, with the same outputs",
    "collapsed": "with each cell collapsed into one convolution and a max-pool, exactly",
    "as trained": "as trained, since nothing merges without a change",
}


def sections(
    study: Study,
    timings: Mapping[str, Timing],
    titles: Mapping[str, str],
    problems: Mapping[str, str],
    *,
    comparable: bool,
) -> Sections:
    """All notes of the table; empty sections are left out.

    Args:
        study: the study.
        timings: by file.
        titles: the hardware of each file, in words.
        problems: files that were left out, and why.
        comparable: whether any cell has a verdict.
    """
    parts = (
        (WHAT_WAS_MEASURED, _what(study, timings, titles)),
        ("How it was timed", _how(timings) if timings else []),
        ("The whole schedule", _schedules(study, timings, titles)),
        ("Batch sizes", _batches(timings, titles)),
        (VERDICTS, [_VERDICT_RULE] if comparable else []),
        (NOT_COMPARABLE, _incomparable(study, timings, titles)),
        ("Left out", [f"{file}: {what}." for file, what in problems.items()]),
    )
    return tuple((title, tuple(lines)) for title, lines in parts if lines)


def _what(study: Study, timings: Mapping[str, Timing], titles: Mapping[str, str]) -> list[str]:
    if not timings:
        return [
            f"No machine was timed with study `{study.study}` as it stands: run naslora time "
            f"--study {study.study} on one."
        ]
    size = study.training.batch_size
    lines = [f"SAM `{study.sam.backbone}` at {study.sam.image_size} px, batches of {size}."]
    for file, timing in timings.items():
        hardware, versions = timing.provenance.hardware, timing.provenance.versions
        training = timing.settings["training"]
        before, _ = timing.load_average
        line = f"{titles[file]}: precision {training['precision']}"
        line += ", gradient checkpointing" if training["gradient_checkpointing"] else ""
        line += f"; torch {versions.get('torch', 'unknown')}."
        if before > 0.5:
            line += (
                f" The machine was not idle: before it began, {before:.1f} processes ran or waited "
                f"for its {hardware['cores']} cores."
            )
        lines.append(line)
    return lines


def _how(timings: Mapping[str, Timing]) -> list[str]:
    protocols: dict[str, dict[str, Any]] = {
        str(t.settings["timing"]): t.settings["timing"] for t in timings.values()
    }
    lines = [
        "An iteration is one image, as in the paper, whatever the batch size; an epoch has "
        + " or ".join(sorted({str(t.images_per_epoch) for t in timings.values()}))
        + " images, ISIC 2017's."
    ]
    lines += [
        f"All methods took turns in one process. Batches timed in each turn: {p['steps']}, after "
        f"{p['warm_up']} to warm up; turns of each method: {p['repeats']}. Numbers are medians "
        "over turns ± their sample standard deviation; a ratio compares turns of the same round. "
        "Saved is the size of the file of trained weights, mask decoder included."
        for p in protocols.values()
    ]
    lines += [f"Timed with {data}" for data in dict.fromkeys(t.data for t in timings.values())]
    lines += [
        f"Memory is that of training: {memory}."
        for memory in dict.fromkeys(t.memory for t in timings.values())
    ]
    forms: dict[Form, dict[str, None]] = {}
    for timing in timings.values():
        for measurement in timing.methods:
            forms.setdefault(measurement.inference_form, {})[measurement.title] = None
    lines += [
        f"Inference {INFERENCE_FORMS[form]}: {', '.join(names)}." for form, names in forms.items()
    ]
    lines.append(
        "Inference runs without mixed precision, as evaluation does; training in the precision "
        "that the study sets."
    )
    return lines


def _schedules(study: Study, timings: Mapping[str, Timing], titles: Mapping[str, str]) -> list[str]:
    """Training time of a method that searches over the whole schedule, as a ratio to LoRA's."""
    epochs = study.training.epochs
    start = min(study.training.architecture.start_epoch, epochs)
    lines = []
    for file, timing in timings.items():
        lora = timing.of("lora")
        below = schedule_seconds(study, lora, timing.batch_size) if lora else []
        for measurement in timing.methods:
            above = schedule_seconds(study, measurement, timing.batch_size)
            if "searching" in measurement.passes and above and below:
                ratio = median(a / b for a, b in zip(above, below, strict=True))
                lines.append(
                    f"{measurement.title} over {epochs} epochs, {start} of them without alpha, on "
                    f"{titles[file]}: {ratio:.2f} times LoRA's time."
                )
    if lines:
        paper = paper_costs()
        lines.append(
            "The paper's numbers for NAS-PC-LoRA come to "
            f"{paper['nas_pc_lora'].epoch_s / paper['lora'].epoch_s:.2f} over {PAPER_EPOCHS} "
            f"epochs, {PAPER_START_EPOCH} of them without alpha."
        )
    return lines


def _batches(timings: Mapping[str, Timing], titles: Mapping[str, str]) -> list[str]:
    """The fastest batch size on each machine, where several were tried."""
    lines = []
    for file, timing in timings.items():
        tried = sorted(
            {size for m in timing.methods for p in m.passes.values() for size in p.batches}
        )
        if len(tried) < 2:
            continue
        found = []
        for measurement in timing.methods:
            best = [measurement.passes[name].best() for name in ("training", "inference")]
            sizes = " and ".join(str(pair[0]) if pair else "none" for pair in best)
            found.append(f"{measurement.title} {sizes}")
        lines.append(
            f"{titles[file]}: of batches of {', '.join(map(str, tried))}, the fastest in training "
            f"and inference were: {'; '.join(found)}."
        )
    return lines


_VERDICT_RULE = (
    f"Reproduced (=): the paper's number lies within {100 * TOLERANCE:g} % of our median, widened "
    "by the largest distance of a turn from it and by half a unit of the last printed digit; "
    "differs (≠): it lies outside. Undecided (?): it lies inside, but turns scatter by more than "
    f"{100 * TOLERANCE:g} %. The paper prints no ratios: they are computed from its numbers, for "
    "training from minutes per epoch."
)


def _incomparable(
    study: Study, timings: Mapping[str, Timing], titles: Mapping[str, str]
) -> list[str]:
    lines = []
    for file, timing in timings.items():
        if reasons := why_ratios_differ(timing):
            lines.append(f"Nothing on {titles[file]} is comparable: {'; '.join(reasons)}.")
        elif reasons := why_rates_differ(timing):
            lines.append(f"Only ratios on {titles[file]} are comparable: {'; '.join(reasons)}.")
    changed = [method for method in changed_methods(study) if method in study.methods]
    if changed:
        lines.append(f"Not comparable, since their settings differ: {', '.join(changed)}.")
    return lines
