"""The model of a table: its specification, and the table filled from a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from naslora.evaluation.names import metric_name
from naslora.paper.published import METHOD_ROWS, Printed
from naslora.paper.published import rows as published_rows
from naslora.report.tables.cells import DECIDED, WIDEST, Cell
from naslora.study.records import CONTROLS
from naslora.study.settings import RunSettings, Study

if TYPE_CHECKING:
    from naslora.results.aggregate import Aggregate

RowKind = Literal["control", "network", "cited", "method"]
Mark = Literal["best", "second"]


@dataclass(frozen=True)
class Column:
    """A metric on a test set, as a column of a table.

    Attributes:
        key: the column's name in our CSV, and among the published numbers.
        title: the column's heading.
        task: the task whose runs are evaluated.
        test_set: the test set of the task.
        metric: the metric's name in records.
        test_images: the numbers of test images that the paper may have had; with another number,
            the column is not comparable.
        scale: from a record's unit to the column's.
        higher_is_better: whether higher values are better.
        decimals: digits after the decimal point in readable tables.
        widest: half of the widest interval, in the column's unit, that allows a verdict.
        head: the start of the title that adjacent columns share, such as a data set.
        printed: the column's name among the published numbers, if it is not `key`.
        printed_of: the paper's rows that use this definition of the metric; None for all rows.
        counted: the test sets whose images `test_images` counts together, if not this one alone.
    """

    key: str
    title: str
    task: str
    test_set: str
    metric: str
    test_images: tuple[int, ...]
    scale: float = 100.0
    higher_is_better: bool = True
    decimals: int = 1
    widest: float = WIDEST
    head: str = ""
    printed: str | None = None
    printed_of: frozenset[str] | None = None
    counted: tuple[str, ...] = ()

    @property
    def sets_counted(self) -> tuple[str, ...]:
        return self.counted or (self.test_set,)

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"

    @property
    def printed_title(self) -> str:
        """The paper's heading, such as `CAMO Fw`, which may stand for two definitions of ours."""
        return f"{self.head} {(self.printed or self.key).rpartition('_')[2]}".strip()

    @property
    def short(self) -> str:
        """The heading below `head`."""
        return self.title.removeprefix(self.head).strip()


def metric_column(
    key: str,
    head: str,
    task: str,
    test_set: str,
    metric: str,
    images: tuple[int, ...] = (),
    **values: Any,
) -> Column:
    """A column with the metric's own name, unit and digits; `values` override attributes."""
    shown = metric_name(metric)
    settings: dict[str, Any] = {
        "title": f"{head} {shown.title}".strip(),
        "head": head,
        "scale": shown.scale,
        "higher_is_better": shown.higher_is_better,
        "decimals": shown.decimals,
        **values,
    }
    return Column(
        key=key, task=task, test_set=test_set, metric=metric, test_images=images, **settings
    )


@dataclass(frozen=True)
class RowSpec:
    """A row of the paper's table, and the runs that reproduce it.

    Attributes:
        variant: a method, or a variant of the study.
        printed: the paper's name of the row; None for a row that the paper's table lacks.
        title: our title, if it is not the method's; a function of the run's settings if it depends
            on them.
        settings: the paper's changes to the method's settings.
        training: the paper's changes to the training settings.
    """

    variant: str
    printed: str | None
    title: str | Callable[[RunSettings], str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, study: Study) -> list[str]:
        """How the study's variant differs from the paper's row."""
        variant = study.variants.get(self.variant)
        if variant is None:
            return []
        pairs = (
            ("settings", variant.settings, self.settings),
            ("training", variant.training, self.training),
        )
        found, default = [], "its default"
        for name, own, wanted in pairs:
            ours, theirs = flat(own), flat(wanted)
            found += [
                f"{name}.{key} is {ours.get(key, default)}, not {theirs.get(key, default)}"
                for key in dict.fromkeys((*ours, *theirs))
                if ours.get(key) != theirs.get(key)
            ]
        return found


@dataclass(frozen=True)
class TableSpec:
    """The specification of a table.

    Attributes:
        paper: its number in the paper; empty for a table that the paper does not have.
        caption: what it shows.
        columns: in the paper's order.
        rows: in the paper's order; None for its methods, then the study's other methods, then its
            variants that run on every task.
        heading: of the first column.
        cited: rows that the paper took from elsewhere.
        parameters: whether it prints parameter counts.
        notes: sentences under the table, whatever was run.
        key: its name; by default that of the paper's table.
        main_metrics: whether only the columns with a main metric decide on the standing of a row;
            else all columns do.
    """

    paper: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[RowSpec, ...] | None = None
    heading: str = "Method"
    cited: tuple[str, ...] = ()
    parameters: bool = True
    notes: tuple[str, ...] = ()
    key: str = ""
    main_metrics: bool = False

    @property
    def name(self) -> str:
        return self.key or f"table{self.paper}"

    @property
    def title(self) -> str:
        return f"Table {self.paper}: {self.caption}" if self.paper else self.caption

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.task for column in self.columns))

    @property
    def printed_rows(self) -> tuple[str, ...]:
        """The paper's names of its rows."""
        if self.rows is None:
            return published_rows(self.paper) if self.paper else ()
        return tuple(row.printed for row in self.rows if row.printed is not None)

    def columns_of(self, study: Study) -> tuple[Column, ...]:
        """The columns whose tasks the study has."""
        return tuple(column for column in self.columns if column.task in study.tasks)

    def rows_of(self, study: Study) -> tuple[RowSpec, ...]:
        """The rows of methods and variants that the study runs on any of the table's tasks."""
        wanted = self.rows if self.rows is not None else self._methods(study)
        known = {name for task in self.tasks for name in study.run_names(task)}
        return tuple(row for row in wanted if row.variant in known)

    def _methods(self, study: Study) -> tuple[RowSpec, ...]:
        keys = {printed: method for method, printed in METHOD_ROWS.items()}
        printed = published_rows(self.paper) if self.paper else tuple(keys)
        ours = [keys[row] for row in printed if row in keys]
        others = [method for method in study.methods if method not in ours]
        return (
            *(RowSpec(method, METHOD_ROWS[method] if self.paper else None) for method in ours),
            *(RowSpec(method, None) for method in others),
            *(RowSpec(name, None, variant_title(study, name)) for name in study.general_variants()),
        )


def variant_title(study: Study, name: str) -> str:
    """The title of a variant: `NAS-LoRA, linear` for `nas_lora_linear`, a variant of `nas_lora`."""
    method = study.variants[name].method
    rest = name.removeprefix(method).replace("_", " ").strip()
    return f"{METHOD_ROWS.get(method, method)}, {rest or name}"


@dataclass(frozen=True)
class Row:
    """A control, a network, a cited row, a method or a variant; with a cell per column.

    Attributes:
        trainable, original: parameter counts of the run and of Meta's SAM; None if unknown, or if
            runs disagree.
        ranked: whether it competes for best and second.
        remarks: how its settings differ from those of the paper's row.
        standing: what the table says of a row that is no better than what it must beat.
        no_better: indices of the columns in which it is not significantly better than the best
            prediction that does not use the image.
        behind_network: the same for the best network trained from scratch.
        few_seeds: those in `behind_network` in which the test images show an advantage, but the
            seeds are too few to tell.
    """

    name: str
    title: str
    kind: RowKind
    cells: tuple[Cell, ...]
    trainable: int | None = None
    original: int | None = None
    printed: str | None = None
    printed_params: Printed | None = None
    printed_ratio: Printed | None = None
    ranked: bool = True
    remarks: tuple[str, ...] = ()
    standing: str = ""
    no_better: frozenset[int] = frozenset()
    behind_network: frozenset[int] = frozenset()
    few_seeds: frozenset[int] = frozenset()

    @property
    def params_m(self) -> float | None:
        """Trainable parameters, millions."""
        return self.trainable / 1e6 if self.trainable is not None else None

    @property
    def ratio(self) -> float | None:
        """Trainable parameters, percent of those of Meta's SAM: the paper's definition."""
        if self.trainable is None or self.original is None:
            return None
        return 100 * self.trainable / self.original


@dataclass(frozen=True)
class Table:
    """A filled table.

    `sections` are titled lists of sentences under the table; `statistic` is what its cells show of
    their values. `marked` has for each column the names of its best and second row, where they
    differ significantly from the rest.
    """

    name: str
    title: str
    heading: str
    parameters: bool
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    statistic: Literal["mean", "median"] = "mean"
    marked: tuple[Mapping[str, Mark], ...] = ()

    @property
    def controls(self) -> tuple[Row, ...]:
        """The rows that methods must beat: controls, and networks other than SAM."""
        return tuple(row for row in self.rows if row.kind in ("control", "network"))

    @property
    def cited(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind == "cited")

    @property
    def methods(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind == "method")

    @property
    def printed(self) -> tuple[Row, ...]:
        """The rows that the paper prints."""
        return tuple(row for row in self.rows if row.printed is not None)

    @property
    def comparable(self) -> bool:
        """Whether any cell can be compared with the paper's."""
        return any(cell.verdict in DECIDED for row in self.printed for cell in row.cells)

    def marks(self, index: int) -> Mapping[str, Mark]:
        """The names of a column's `best` and `second` rows; empty where neither is significant."""
        return self.marked[index] if self.marked else {}


def flat(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings as texts by dotted name; lists are joined by commas."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": text for key, text in flat(value).items()}
        else:
            several = isinstance(value, list | tuple)
            found[name] = ", ".join(map(str, value)) if several else str(value)
    return found


def run_title(records: Aggregate, variant: str) -> str:
    """The name of a run or a control in tables and legends.

    The paper's name if it has one, else the title in the records, else the variant's key.
    """
    known = CONTROLS.get(variant) or METHOD_ROWS.get(variant)
    return known or records.titles.get(variant, variant)


def row_title(study: Study, records: Aggregate, name: str) -> str:
    """`variant_title` of a variant of the study, else `run_title`."""
    return variant_title(study, name) if name in study.variants else run_title(records, name)
