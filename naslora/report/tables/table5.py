"""Table 5: time and memory of training and inference of each method, on each timed machine.

The ratios to LoRA matter most: all methods took turns in the same process, whereas the paper's
absolute numbers depend on its GPU. An iteration is one image, since only then do the paper's
columns agree (2000 images at 1.64 per second take 20.3 minutes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from naslora.paper.published import METHOD_ROWS, Printed, printed
from naslora.report.tables.comparability import changed_methods
from naslora.report.tables.model import Column, Row, Table
from naslora.report.tables.notes import has_verdicts
from naslora.report.tables.table5_notes import sections
from naslora.report.tables.timed_cells import timed_cell, why_rates_differ, why_ratios_differ
from naslora.report.tables.writers import write_table
from naslora.results.costs import PAPER_ROWS, machine_titles
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.timing.document import (
    Measurement,
    Pass,
    PassName,
    Timed,
    Timing,
    read_timings,
)

NAME = "table5"
NOT_TIMED = "not timed"
SAME_MODEL = "as with w alone"
SEARCHING = "_searching"  # suffix of a row whose training updates alpha too
_LORA = "LoRA"
_RATE, _MINUTES, _INFERENCE = "train_iter_per_s", "train_min_per_epoch", "inference_iter_per_s"
_TRAINING_RATIO, _INFERENCE_RATIO = _RATIOS = "train_time_to_lora", "inference_time_to_lora"
_MEMORY, _WEIGHTS = "peak_memory_mib", "saved_mb"
_BEST_TRAINING, _BEST_INFERENCE = "best_train_iter_per_s", "best_inference_iter_per_s"
# The same whether alpha is trained or not.
_OF_THE_MODEL = (_INFERENCE, _INFERENCE_RATIO, _WEIGHTS, _BEST_INFERENCE)
# Values, one per repeat, and their status.
_Values = tuple[Sequence[float], str]


def _column(key: str, title: str, *, higher: bool = False, decimals: int = 2) -> Column:
    return Column(key, title, "", "", "", (), higher_is_better=higher, decimals=decimals)


COLUMNS = (
    _column(_RATE, "Train (images/s)", higher=True),
    _column(_MINUTES, "Train (min/epoch)"),
    _column(_INFERENCE, "Infer (images/s)", higher=True),
    _column(_TRAINING_RATIO, "Train, time / LoRA's"),
    _column(_INFERENCE_RATIO, "Infer, time / LoRA's"),
    _column(_MEMORY, "Memory (MiB)", decimals=0),
    _column(_WEIGHTS, "Saved (MB)"),
    _column(_BEST_TRAINING, "Train, best batch (images/s)", higher=True),
    _column(_BEST_INFERENCE, "Infer, best batch (images/s)", higher=True),
)
KEYS = tuple(column.key for column in COLUMNS)


@dataclass(frozen=True)
class _Line:
    """A row: a method, with or without updates of alpha."""

    method: str
    training: PassName
    printed: str | None
    title: str

    @property
    def name(self) -> str:
        return self.method if self.training == "training" else f"{self.method}{SEARCHING}"


def write_table5(study: Study) -> None:
    """Write Table 5 from the timings that are there, as CSV, Markdown and LaTeX.

    Raises:
        DiskError: a file cannot be written.
    """
    write_table(table5(study), Layout.of(study))


def table5(study: Study) -> Table:
    """Table 5 of a study, with a block per file of timings; what was not timed is a dash."""
    timings, problems = read_timings(study)
    lines = _lines(study, list(timings.values()))
    titles = machine_titles(timings)
    rows = [
        _row(study, line, timing, titles[file] if len(timings) > 1 else None)
        for file, timing in timings.items()
        for line in lines
    ] or [_row(study, line, None, None) for line in lines]
    return Table(
        name=NAME,
        title=f"Table 5: computational cost, study {study.study}",
        heading="Method",
        parameters=False,
        columns=COLUMNS,
        rows=tuple(rows),
        sections=sections(study, timings, titles, problems, comparable=has_verdicts(rows)),
        statistic="median",
    )


def _lines(study: Study, timings: Sequence[Timing]) -> list[_Line]:
    """The paper's rows in its order, then the study's other methods."""
    found = [
        _Line(method, training, row, METHOD_ROWS["sam_adapter"] if row == "Adapter" else row)
        for row, (method, training) in PAPER_ROWS.items()
        if method in study.methods
    ]
    known = {line.method for line in found}
    for method in (m for m in study.methods if m not in known):
        timed = [m for t in timings if (m := t.of(method)) is not None]
        title = METHOD_ROWS.get(method) or (timed[0].title if timed else method)
        if any("searching" in measurement.passes for measurement in timed):
            found.append(_Line(method, "training", None, f"{title} (update w)"))
            found.append(_Line(method, "searching", None, f"{title} (update w and alpha)"))
        else:
            found.append(_Line(method, "training", None, title))
    return found


def _row(study: Study, line: _Line, timing: Timing | None, block: str | None) -> Row:
    measurement = timing.of(line.method) if timing else None
    settings = study.method_settings.get(line.method, {})
    if timing is None or measurement is None or line.training not in measurement.passes:
        values: Mapping[str, _Values] = dict.fromkeys(KEYS, ((), NOT_TIMED))
    elif measurement.settings != settings:
        values = dict.fromkeys(KEYS, ((), "timed with other settings"))
    else:
        values = _values(line, timing, measurement)
    as_printed = timing is not None and line.method not in changed_methods(study)
    rates = timing is not None and as_printed and not why_rates_differ(timing)
    ratios = timing is not None and as_printed and not why_ratios_differ(timing)
    paper = paper_numbers(line.printed) if line.printed else {}
    return Row(
        name=line.name if block is None else f"{line.name}, {block}",
        title=line.title if block is None else f"{line.title}, {block}",
        kind="method",
        cells=tuple(
            timed_cell(*values[key], paper.get(key), ratios if key in _RATIOS else rates)
            for key in KEYS
        ),
        printed=line.printed,
        ranked=block is None and line.training == "training",
    )


def _values(line: _Line, timing: Timing, measurement: Measurement) -> dict[str, _Values]:
    """The values of a row by column, one per repeat, and their status."""
    size = timing.batch_size
    lora = timing.of(PAPER_ROWS[_LORA][0])
    base = {name: one.batches[size] for name, one in lora.passes.items()} if lora else {}
    training, inference = (measurement.passes[name] for name in (line.training, "inference"))
    trained, inferred = (one.batches[size] for one in (training, inference))
    made = {
        _RATE: (trained.rates, trained.status),
        _MINUTES: (
            [timing.images_per_epoch * seconds / 60 for seconds in trained.seconds],
            trained.status,
        ),
        _INFERENCE: (inferred.rates, inferred.status),
        _TRAINING_RATIO: _ratio(trained, base.get("training")),
        _INFERENCE_RATIO: _ratio(inferred, base.get("inference")),
        _MEMORY: _single(training.peak_bytes, 2**20, trained.status),
        _WEIGHTS: _single(measurement.adapter_bytes, 1e6, "done"),
        _BEST_TRAINING: _best(training),
        _BEST_INFERENCE: _best(inference),
    }
    if line.training == "searching":
        made |= dict.fromkeys(_OF_THE_MODEL, ((), SAME_MODEL))
    return made


def _ratio(ours: Timed, lora: Timed | None) -> _Values:
    """Ratios of seconds within a repeat, which do not change if both methods are slowed down."""
    if ours.status != "done":
        return (), ours.status
    if lora is None or lora.status != "done":
        return (), "LoRA was not timed"
    return [a / b for a, b in zip(ours.seconds, lora.seconds, strict=True)], "done"


def _single(size: int | None, unit: float, status: str) -> _Values:
    if size is not None:
        return [size / unit], "done"
    return (), status if status != "done" else "not measured"


def _best(one: Pass) -> _Values:
    found = one.best()
    return (found[1].rates, "done") if found else ((), next(iter(one.batches.values())).status)


def paper_numbers(row: str) -> dict[str, Printed]:
    """The paper's numbers of a row, and the ratios to LoRA that follow from them, by column."""
    found = {
        key: number for key in (_RATE, _MINUTES, _INFERENCE) if (number := printed("5", row, key))
    }
    pairs = ((_MINUTES, _TRAINING_RATIO, 1), (_INFERENCE, _INFERENCE_RATIO, -1))
    for key, ratio, power in pairs if row != _LORA else ():
        lora = printed("5", _LORA, key)
        if key in found and lora is not None:
            found[ratio] = Printed(f"{(found[key].value / lora.value) ** power:.2f}")
    return found
