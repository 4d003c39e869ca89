"""What holds for every table of the paper that is made from records."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from naslora.core.errors import SettingsError
from naslora.data.benchmarks.contract import get_benchmark
from naslora.paper.published import columns, printed, rows
from naslora.report.tables import ablations, catalogue, table1, table2, table3
from naslora.report.tables.catalogue import tables_of, write_tables
from naslora.report.tables.cells import Verdict
from naslora.report.tables.comparability import why_not_comparable
from naslora.report.tables.filling import fill
from naslora.report.tables.latex import latex_text
from naslora.report.tables.model import Column, TableSpec
from naslora.report.tables.table3 import CLASSES, rows_with_mean_over
from naslora.report.tables.writers import csv_text, markdown_text
from naslora.results.aggregate import Aggregate, aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study, load_study

CONFIG = Path(__file__).parents[3] / "config"
SPECS: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        table1.TABLE,
        table2.TABLE,
        table3.TABLE,
        ablations.TABLE6,
        ablations.TABLE7,
        ablations.TABLE8,
        ablations.TABLE9,
        ablations.TABLE_D1,
    )
}
EVERY_SPEC = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
EVERY_COLUMN = pytest.mark.parametrize(
    "column", [c for spec in SPECS.values() for c in spec.columns], ids=lambda c: c.key
)
PARAMETERS = ("params_m", "ratio_pct")


@pytest.fixture(scope="module")
def records(every_task: Study) -> Aggregate:
    found = aggregate(every_task)
    assert not found.problems
    return found


def lines_of(spec: TableSpec, study: Study) -> dict[str, dict[str, str]]:
    text = csv_text(fill(spec, study, aggregate(study)))
    return {line["method"]: line for line in csv.DictReader(io.StringIO(text))}


@EVERY_SPEC
def test_columns_and_rows_are_the_papers_in_its_order(spec: TableSpec) -> None:
    ours = list(dict.fromkeys(column.printed or column.key for column in spec.columns))
    theirs = [name for name in columns(spec.paper) if name not in PARAMETERS]
    assert ours == theirs
    assert spec.parameters == (set(PARAMETERS) <= set(columns(spec.paper)))
    known = [row for row in rows(spec.paper) if row not in spec.cited]
    assert [row for row in spec.printed_rows if row not in spec.cited] == known
    assert list(spec.cited) == [row for row in rows(spec.paper) if row in spec.cited]


@EVERY_SPEC
def test_numbers_are_rounded_as_the_papers(spec: TableSpec) -> None:
    for column in spec.columns:
        texts = [number.text for row in rows(spec.paper) if (number := of(spec, row, column))]
        assert {len(text.partition(".")[2]) for text in texts} == {column.decimals}, column.key


def of(spec: TableSpec, row: str, column: Column) -> Any:
    return printed(spec.paper, row, column.printed or column.key)


@EVERY_COLUMN
def test_every_column_is_measured_by_its_benchmark(column: Column) -> None:
    benchmark = get_benchmark(column.task)
    assert column.metric in benchmark.metrics
    assert {column.test_set, *column.sets_counted} <= set(benchmark.test_sets)
    exception = benchmark.count_exception
    counted = {"+".join(column.sets_counted)}
    expected = {benchmark.expected[name] for name in counted}
    expected |= {exception.printed[name] for name in counted} if exception else set()
    assert expected <= set(column.test_images)


def test_classes_of_table_3_are_the_benchmarks_in_its_order() -> None:
    assert tuple(CLASSES.values()) == get_benchmark("trans10k_v2").classes


def test_two_definitions_of_miou() -> None:
    every, foreground = tuple(CLASSES), tuple(CLASSES)[1:]
    assert rows_with_mean_over(every) == {"Translab", "Trans2Seg"}
    assert rows_with_mean_over(foreground) == {"Decoder-only", "VPT", "LoRA", "Conv-LoRA"}


@EVERY_SPEC
def test_every_cell_is_the_mean_over_seeds(
    spec: TableSpec, every_task: Study, records: Aggregate
) -> None:
    table = fill(spec, every_task, records)
    layout = Layout.of(every_task)
    assert table.columns == spec.columns
    for row in (*table.controls, *table.methods):
        seeds = [0] if row.kind == "control" else every_task.seeds
        for column, cell in zip(table.columns, row.cells, strict=True):
            paths = [layout.record(column.task, row.name, seed) for seed in seeds]
            values = [
                json.loads(path.read_text())["metrics"][column.test_set][column.metric]
                for path in paths
            ]
            assert cell.status == "done"
            assert cell.value == pytest.approx(column.scale * sum(values) / len(seeds), abs=1e-9)


@EVERY_SPEC
def test_rows_of_a_study(spec: TableSpec, every_task: Study, records: Aggregate) -> None:
    table = fill(spec, every_task, records)
    expected = [row.variant for row in spec.rows or ()]
    if not expected:
        known = {"decoder_only", "lora", "nas_lora", "nas_pc_lora"}
        expected = [name for name in every_task.methods if name in known]
    assert [row.name for row in table.rows] == [*CONTROLS, *spec.cited, *expected]
    for row in table.cited:
        assert {cell.verdict for cell in row.cells} <= {Verdict.CITED}
        assert {cell.status for cell in row.cells} == {"cited"}
    text = markdown_text(table)
    for row in spec.cited:
        assert f"| {row} (cited)" in text.split("## Printed in the paper")[1]
        assert row not in text.split("## Printed in the paper")[0]


def test_notes_say_how_rows_were_trained(every_task: Study, records: Aggregate) -> None:
    training = every_task.training
    sixth, ninth = (markdown_text(fill(SPECS[f"table{n}"], every_task, records)) for n in (6, 9))
    rate = f"{training.learning_rate:g}, falling to zero along half a cosine"
    assert f"- Adam, learning rate {rate}; weight decay" in sixth
    assert f"Alpha: T_B = {training.architecture.start_epoch} epochs without it" in sixth
    assert (
        "- Row `without pooling`: nas_pc_lora with operations sep_conv_3x3, sep_conv_5x5, "
        "dil_conv_3x3, dil_conv_5x5, skip, zero.\n" in sixth
    )
    assert (
        "nas_pc_lora with training.architecture.start_epoch 0; training.architecture.alternation "
        "simultaneous.\n" in ninth
    )
    # The paper's rows are named as it names them, whatever the study's T_B.
    assert "| 10 / stage-wise " in ninth.split("## Printed in the paper")[1].split("\n## ")[0]
    changed = every_task.model_copy(update={"method_settings": {"lora": {"rank": 6}}})
    assert "- lora with rank 6.\n" in markdown_text(fill(SPECS["table1"], changed, records))


def test_images_from_a_bundle_are_not_the_paper_s(every_task: Study, records: Aggregate) -> None:
    study = every_task.model_copy(update={"bundles": ["leaf"]})
    text = markdown_text(fill(SPECS["table8"], study, records))
    assert "Test images, real, from bundles instead of the official archives: leaf test 10." in text
    assert "the images are from a bundle, not the official archive" in text
    assert "bundle" not in markdown_text(fill(SPECS["table6"], study, records))


@EVERY_SPEC
def test_missing_runs_are_dashes_with_their_status(spec: TableSpec, make_study: Any) -> None:
    study = make_study(Path("/nowhere"), tasks=list(spec.tasks))
    for row in lines_of(spec, study).values():
        expected = "cited" if row["group"] == "cited" else "missing"
        for column in spec.columns:
            assert row[f"{column.key}_status"] == expected
            assert (row[f"{column.key}_mean"], row[f"{column.key}_n"]) == ("", "0")
            assert row[f"{column.key}_verdict"] in (
                ("cited",) if expected == "cited" else ("missing", "not printed")
            )
    ours = markdown_text(fill(spec, study, aggregate(study))).split("## Printed")[0]
    assert "\N{EN DASH} (missing)" in ours
    assert not re.search(r"\b0\.0+\b", ours)


def edit(path: Path, **changes: Any) -> None:
    """Change a record, and remove its hash, which older records do not have."""
    path.write_text(json.dumps({**json.loads(path.read_text()), "digest": None, **changes}))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _nan(path: Path) -> None:
    content = json.loads(path.read_text())
    first = next(iter(content["metrics"].values()))
    first[next(iter(first))] = float("nan")
    path.write_text(json.dumps(content))


DAMAGES: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "wrong hash": (
        lambda path: path.with_suffix(".parquet").write_bytes(b"others"),
        "not those of the record",
    ),
    "nan": (_nan, "is nan"),
    "unknown method": (lambda path: edit(path, method="magic"), "its method is magic, not nas_"),
    "newer schema": (lambda path: edit(path, schema_version=2), "schema version 2"),
    "half a file": (_half, "damaged"),
    "other study": (lambda path: edit(path, study="paper"), "this record is of paper"),
}


@EVERY_SPEC
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_tampered_record_is_named_and_left_out_of_every_table(
    spec: TableSpec, damage: str, copied_study: Study
) -> None:
    change, message = DAMAGES[damage]
    task = spec.columns[-1].task
    path = Layout.of(copied_study).record(task, "nas_pc_lora", 1)
    change(path)
    found = aggregate(copied_study)
    table = fill(spec, copied_study, found)
    row = next(row for row in table.rows if row.name == "nas_pc_lora")
    for column, cell in zip(table.columns, row.cells, strict=True):
        assert cell.status == ("1 left out of 2" if column.task == task else "done")
        assert cell.n == (1 if column.task == task else 2)
    text = markdown_text(table)
    assert f"- `records/{task}/nas_pc_lora/seed1.json`: " in text
    line = next(line for line in text.splitlines() if "seed1.json`" in line)
    assert message in line


@EVERY_SPEC
def test_records_of_other_tasks_do_not_change_a_table(spec: TableSpec, copied_study: Study) -> None:
    other = next(task for task in copied_study.tasks if task not in spec.tasks)
    Layout.of(copied_study).record(other, "lora", 0).write_text("{")
    text = markdown_text(fill(spec, copied_study, aggregate(copied_study)))
    assert "Records left out" not in text


def test_an_ablation_is_not_a_row_of_the_tables_of_methods(
    every_task: Study, records: Aggregate
) -> None:
    for name in ("table1", "table2", "table3"):
        shown = {row.name for row in fill(SPECS[name], every_task, records).methods}
        assert shown == set(every_task.methods)


def test_all_tables_from_one_reading(copied_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[Study] = []

    def counted(study: Study) -> Aggregate:
        readings.append(study)
        return aggregate(study)

    monkeypatch.setattr("naslora.results.aggregate.aggregate", counted)
    paths = write_tables(copied_study, ["all"])
    assert len(readings) == 1
    names = tables_of(copied_study)
    assert paths == [path for name in names for path in catalogue.table_paths(copied_study, name)]
    assert {*SPECS, "status"} <= set(tables_of(copied_study))
    assert all(path.read_bytes() for path in paths)


def test_records_alone_give_the_same_bytes(every_task: Study, copied_study: Study) -> None:
    layout = Layout.of(copied_study)
    first = {path.name: path.read_bytes() for path in write_tables(copied_study, ["all"])}
    elsewhere = copied_study.model_copy(update={"results": copied_study.results / "clone"})
    shutil.copytree(layout.records, Layout.of(elsewhere).records)
    second = {path.name: path.read_bytes() for path in write_tables(elsewhere, ["all"])}
    assert second == first
    assert not any(str(copied_study.results).encode() in text for text in first.values())


def test_a_table_of_tasks_that_the_study_does_not_have(full_study: Study) -> None:
    assert {"table1", "status"} <= set(tables_of(full_study))
    assert not {"table2", "table3", "table6", "tableD1"} & set(tables_of(full_study))
    with pytest.raises(SettingsError, match="none of the tasks of table2"):
        write_tables(full_study, ["table2"])


def test_ratios_are_of_the_original_sam(every_task: Study) -> None:
    line = lines_of(SPECS["table7"], every_task)["rank_6"]
    trainable = float(line["trainable_params_m"])
    assert float(line["ratio_pct"]) == pytest.approx(trainable)  # of 100 M
    assert (line["paper_params_m"], line["paper_ratio_pct"]) == ("4.50", "0.70")


def test_scratch_is_not_ranked(make_study: Any, write_run: Any, tmp_path: Path) -> None:
    study = make_study(tmp_path, methods=["scratch", "lora", "vpt", "bitfit"], seeds=[0, 1])
    for index, method in enumerate(("bitfit", "vpt", "lora", "scratch")):
        for seed in study.seeds:
            write_run(study, method, seed, (0.5 + 0.1 * index,) * 3)
    text = latex_text(fill(SPECS["table1"], study, aggregate(study)))
    assert text.count(r"\textbf{70.0}") == text.count(r"\underline{60.0}") == 2
    assert r"\textbf{80.0}" not in text


PAPER = load_study("paper", {"tasks": ["isic2017", "leaf", "trans10k_v2"]}, CONFIG)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.rows])
def test_the_papers_ablations_are_what_the_study_paper_runs(name: str) -> None:
    spec = SPECS[name]
    assert [row.variant for row in spec.rows_of(PAPER)] == [row.variant for row in spec.rows or ()]
    assert [row.differences(PAPER) for row in spec.rows or ()] == [[]] * len(spec.rows or ())
    [task] = spec.tasks
    for row in spec.rows or ():
        if row.variant in PAPER.variants:
            assert PAPER.tasks_of(row.variant) == [task]
            own = PAPER.run(task, PAPER.variants[row.variant].method, 0)
            run = PAPER.run(task, row.variant, 0)
            assert (run.method_settings, run.training) != (own.method_settings, own.training)


def test_a_variant_with_other_settings_is_not_the_papers_row(
    copied_study: Study, make_study: Any
) -> None:
    study = make_study(
        copied_study.results,
        tasks=["trans10k_v2"],
        variants={"rank_6": {"settings": {"rank": 7}}},
    )
    table = fill(SPECS["table7"], study, aggregate(study))
    row = next(row for row in table.rows if row.name == "rank_6")
    [remark] = row.remarks
    assert remark == "settings.rank is 7, not 6"
    assert f"- 6 is not the paper's row: {remark}." in markdown_text(table)
    assert {cell.status for cell in row.cells} == {"2 left out, 1 missing of 3"}


def test_verdicts_of_miou_follow_its_definition(tmp_path: Path, write_run: Any) -> None:
    """In the paper's setting, an mIoU gets a verdict in the column of its definition alone."""
    settings = {"tasks": ["trans10k_v2"], "results": str(tmp_path)}
    study = load_study("paper", settings, CONFIG)
    spec = SPECS["table3"]
    for variant, miou in (("lora", 0.6601), ("nas_lora", 0.6786)):
        for seed in study.seeds:
            values = {column.metric: miou + 0.001 * (seed - 1) for column in spec.columns}
            task = "trans10k_v2"
            write_run(study, variant, seed, {"test": values}, task=task, images=4428)
    lines = lines_of(spec, study)
    assert why_not_comparable(study, "trans10k_v2") == []
    lora, nas_lora = lines["lora"], lines["nas_lora"]
    assert lora["mIoU_verdict"] == "not comparable"
    assert lora["mIoU_foreground_verdict"] == "reproduced"
    assert lora["mIoU_foreground_paper"] == lora["mIoU_paper"] == "66.01"
    assert nas_lora["mIoU_verdict"] == nas_lora["mIoU_foreground_verdict"] == "not comparable"
    assert nas_lora["Acc_verdict"] == "differs"


def test_the_order_of_tables_is_the_papers() -> None:
    order = ["table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8"]
    order += ["table9", "tableD1"]
    listed = [name for name in catalogue.TABLES if name in order]
    assert listed == [name for name in order if name in listed]
