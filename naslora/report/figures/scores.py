"""The scores that Figure 1b shows: one column per data set, ours and the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from naslora.data.benchmarks.contract import get_benchmark
from naslora.evaluation.names import main_metric, metric_name
from naslora.paper.published import METHOD_ROWS, printed, rows
from naslora.report.figures.captions import all_rows, test_set_title
from naslora.report.tables import table1, table2, table3
from naslora.report.tables.comparability import why_not_comparable
from naslora.report.tables.model import Column, TableSpec
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

if TYPE_CHECKING:
    import pandas as pd

    from naslora.results.aggregate import Aggregate

FEWEST_SPOKES = 3  # of a radar chart
# The first column that the paper prints for each data set; for Trans10K, the foreground's mIoU.
_CHOSEN = (
    (table1.TABLE, ("kvasir_S", "cvc_S", "isic2017_Jac", "camo_S", "sbu_BER", "leaf_IoU")),
    (table1.TABLE, ("road_IoU",)),
    (table2.TABLE, ("easy_mIoU", "hard_mIoU")),
    (table3.TABLE, ("mIoU_foreground",)),
)


@dataclass(frozen=True)
class DataSet:
    """A data set with its main metric.

    Attributes:
        task, test_set, metric: as records name them.
        spec, column: the table of the paper and its column; None for a user's data set.
    """

    task: str
    test_set: str
    metric: str
    spec: TableSpec | None = None
    column: Column | None = None

    @property
    def title(self) -> str:
        return test_set_title(self.task, self.test_set)

    @property
    def axis(self) -> str:
        """The title of the metric, with the direction that is better."""
        name = metric_name(self.metric)
        return f"{name.title} {'↑' if name.higher_is_better else '↓'}"

    def printed(self, method: str, *, any_definition: bool = False) -> float | None:
        """The paper's number of a method.

        Args:
            method: ours.
            any_definition: also where the paper's metric has the same name but another definition.
        """
        row = METHOD_ROWS.get(method)
        if self.spec is None or self.column is None or row not in rows(self.spec.paper):
            return None
        only = self.column.printed_of
        if only is not None and row not in only and not any_definition:
            return None
        found = printed(self.spec.paper, row, self.column.printed or self.column.key)
        return found.value if found else None


def data_sets(study: Study) -> list[DataSet]:
    """The data sets of a study: the paper's in its order, then others."""
    found = [
        DataSet(column.task, column.test_set, column.metric, spec, column)
        for spec, keys in _CHOSEN
        for key in keys
        for column in spec.columns
        if column.key == key and column.task in study.tasks
    ]
    known = {one.task for one in found}
    for task in study.tasks:
        if task not in known:
            benchmark = get_benchmark(task)
            metric = main_metric(benchmark.metrics)
            found += [DataSet(task, test_set, metric) for test_set in benchmark.test_sets]
    return found


def has_radar(study: Study) -> bool:
    """Whether a study has enough data sets for a radar chart."""
    return len(data_sets(study)) >= FEWEST_SPOKES


def comparable(study: Study) -> bool:
    """Whether the study's numbers and the paper's belong on one axis."""
    return not any(why_not_comparable(study, one.task) for one in data_sets(study))


def score_frame(study: Study, records: Aggregate) -> pd.DataFrame:
    """Scores in the unit of tables: a row per data set, method and seed; and the paper's.

    Columns: data_set, task, test_set, metric, source (`study`, `control` or `paper`), method, seed
    (none for the paper's) and value. The paper's numbers are all that it prints under the metric's
    name; `same_definition` marks those with our definition.
    """
    lines: list[tuple[object, ...]] = []
    for one in data_sets(study):
        head = (one.title, one.task, one.test_set, one.metric)
        scale = metric_name(one.metric).scale
        for source, names in (("study", all_rows(study)), ("control", list(CONTROLS))):
            for name in names:
                values = records.values(one.task, one.test_set, name, one.metric)
                lines += [
                    (*head, source, name, seed, scale * value, True)
                    for seed, value in values.items()
                    if seed in study.seeds or source == "control"
                ]
        for method in study.methods:
            number = one.printed(method, any_definition=True)
            if number is not None:
                same = one.printed(method) is not None
                lines.append((*head, "paper", method, None, number, same))
    columns = ["data_set", "task", "test_set", "metric", "source", "method", "seed", "value"]
    import pandas as pd  # here, since the workflow asks this module for names

    frame = pd.DataFrame(lines, columns=[*columns, "same_definition"])
    return frame.astype({"seed": "Int64"})


def any_printed(study: Study) -> bool:
    """Whether the paper prints a number of any of a study's methods and data sets."""
    return any(
        one.printed(method, any_definition=True) is not None
        for one in data_sets(study)
        for method in study.methods
    )
