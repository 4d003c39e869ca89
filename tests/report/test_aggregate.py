from __future__ import annotations

import copy
import functools
import json
import operator
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from naslora.core.files import sha256, write_json
from naslora.report.tables.catalogue import write_tables
from naslora.report.tables.status import write_status
from naslora.results import reading
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, Attempt
from naslora.study.settings import Study

WriteRun = Callable[..., Path]
_MISSING = object()


def edit(path: Path, change: Callable[[dict[str, Any]], None], *, signed: bool = False) -> None:
    """Change a record; unless `signed`, remove its hash, which older records do not have."""
    content = json.loads(path.read_text())
    if not signed:
        del content["digest"]
    change(content)
    path.write_text(json.dumps(content))


def test_all_records(full_study: Study) -> None:
    records = aggregate(full_study)
    assert not records.problems
    runs, metrics = len(full_study.methods) * 3 + len(CONTROLS), 3
    assert len(records.runs) == runs
    assert len(records.scores) == runs * metrics
    one = records.scores.query(
        "task == 'kvasir' and variant == 'lora' and seed == 2 and metric == 'S_measure'"
    )
    assert one["test_set"].tolist() == ["test"]
    assert one["value"].tolist() == pytest.approx([0.67])
    assert records.runs.query("variant == 'nas_lora'")["searches"].all()
    assert not records.runs.query("variant == 'lora'")["searches"].any()
    assert records.losses.query("variant == 'lora' and seed == 1")["epoch"].tolist() == [1, 2, 3, 4]


def test_no_records(study: Study) -> None:
    records = aggregate(study)
    assert records.scores.empty
    assert records.runs.empty
    assert records.problems == ()


def test_diverged_run_has_a_status_and_no_score(study: Study, write_run) -> None:  # type: ignore[no-untyped-def]
    write_run(study, "lora", 0, status="diverged")
    records = aggregate(study)
    assert records.runs["status"].tolist() == ["diverged"]
    assert records.scores.empty


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _nan(path: Path) -> None:
    edit(path, lambda c: c["metrics"]["test"].update(S_measure=float("nan")))


def _newer(path: Path) -> None:
    edit(path, lambda c: c.update(schema_version=2))


def _other_scores(path: Path) -> None:
    path.with_suffix(".parquet").write_bytes(b"others")


def _no_scores(path: Path) -> None:
    path.with_suffix(".parquet").unlink()


def _unknown_field(path: Path) -> None:
    edit(path, lambda c: c.update(luck=1))


def _metrics_of_a_failed_run(path: Path) -> None:
    edit(path, lambda c: c.update(status="failed"))


def _another_seed(path: Path) -> None:
    edit(path, lambda c: c.update(seed=7))


def _another_study(path: Path) -> None:
    edit(path, lambda c: c.update(study="paper"))


def _other_settings(path: Path) -> None:
    edit(path, lambda c: c["training"].update(fingerprint="f" * 64))


def _other_size(path: Path) -> None:
    edit(path, lambda c: c["evaluation"].update(size="input"))


def _no_training(path: Path) -> None:
    edit(path, lambda c: c.update(training=None))


def _a_list(path: Path) -> None:
    path.write_text("[]")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_better_score(path: Path) -> None:
    edit(path, lambda c: c["metrics"]["test"].update(S_measure=0.9876))


def _a_negative_score(path: Path) -> None:
    edit(path, lambda c: c["metrics"]["test"].update(S_measure=-42.5))


def _another_file(path: Path) -> None:
    edit(path, lambda c: c["per_image"].update(name="seed2.parquet"))


def _a_path(path: Path) -> None:
    edit(path, lambda c: c["per_image"].update(name="../lora/seed1.parquet"))


def _other_images(path: Path) -> None:
    edit(path, lambda c: c["images"].update(test=99))


def _no_epoch(path: Path) -> None:
    edit(path, lambda c: c["training"]["history"][1].pop("epoch"))


def _no_schedule(path: Path) -> None:
    edit(path, lambda c: c["training"]["settings"].pop("training"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_half, "damaged"),
        (_nan, "S_measure on test is nan"),
        (_newer, "schema version 2"),
        (_other_scores, "not those of the record"),
        (_no_scores, "missing"),
        (_unknown_field, "luck"),
        (_metrics_of_a_failed_run, "invalid"),
        (_another_seed, "of sample kvasir lora 7"),
        (_another_study, "of paper kvasir lora 1"),
        (_other_settings, "other settings"),
        (_other_size, "another size"),
        (_no_training, "must include its training receipt"),
        (_a_list, "schema version None"),
        (_a_better_score, "S_measure on test is 0.9876, which its per-image metrics do not give"),
        (_a_negative_score, "S_measure on test is -42.5, not from 0 to 1"),
        (_another_file, "names seed2.parquet, which is not the file beside it"),
        (_a_path, "per_image.name"),
        (_other_images, "of other images"),
        (_no_epoch, "entry 2 is not of epoch 2"),
        (_no_schedule, "training settings are damaged: training"),
        (_a_folder, "cannot be read"),
    ],
)
def test_bad_record_is_named_and_left_out(
    full_study: Study, damage: Callable[[Path], None], message: str
) -> None:
    before = aggregate(full_study)
    path = Layout.of(full_study).record("kvasir", "lora", 1)
    damage(path)
    after = aggregate(full_study)
    [problem] = after.problems
    assert problem.path == path
    assert problem.run == ("kvasir", "lora", 1)
    assert message in problem.message
    assert "\n" not in problem.message
    assert len(after.runs) == len(before.runs) - 1
    left = before.scores.query("not (variant == 'lora' and seed == 1)").reset_index(drop=True)
    assert after.scores.equals(left)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["metrics"]["test"].update(S_measure=0.9876),
        lambda content: content["training"].update(trainable_parameters=7),
        lambda content: content["training"]["history"][0].update(loss=0.1),
        lambda content: content.update(title="The best"),
        lambda content: content.update(evaluation_time_s=0.5),
        lambda content: content["provenance"]["hardware"].update(load=float("nan")),
    ],
)
def test_a_changed_record_is_named_and_left_out(
    full_study: Study, change: Callable[[dict[str, Any]], None]
) -> None:
    path = Layout.of(full_study).record("kvasir", "lora", 1)
    edit(path, change, signed=True)
    [problem] = aggregate(full_study).problems
    assert problem.path == path
    assert problem.message == "this record was changed after it was written"


def test_another_layout_of_the_same_record_is_no_change(full_study: Study) -> None:
    path = Layout.of(full_study).record("kvasir", "lora", 1)
    edit(path, lambda content: None, signed=True)  # without spaces and line breaks
    assert aggregate(full_study).problems == ()


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document, those of containers too."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from _places(item, (*at, key))


def test_no_damage_to_a_record_stops_the_tables(study: Study, write_run: WriteRun) -> None:
    """Each of its values is removed or replaced; what is not refused must fit into tables."""
    path = write_run(study, "nas_lora", 1)
    content = json.loads(path.read_text())
    del content["digest"]
    refused = accepted = 0
    for place in _places(content):
        shown = False
        for value in (_MISSING, None, "[<b>", -1, 1e300, [], {}):
            changed = copy.deepcopy(content)
            *parents, last = place
            holder = functools.reduce(operator.getitem, parents, changed)
            if value is _MISSING:
                del holder[last]
            else:
                holder[last] = value
            path.write_text(json.dumps(changed))
            records = aggregate(study)
            assert len(records.runs) + len(records.problems) == 1, (place, value)
            if records.problems:
                refused += 1
            elif not shown:
                write_tables(study, ["table1", "status"])
                shown, accepted = True, accepted + 1
    assert refused > 300
    assert accepted > 20


def test_reading_in_several_processes_gives_the_same(
    full_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _half(Layout.of(full_study).record("kvasir", "lora", 1))
    alone = aggregate(full_study)
    monkeypatch.setattr(reading, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(reading, "_AT_ONCE", 3)
    monkeypatch.setattr(reading, "available_cores", lambda: 2)
    together = aggregate(full_study)
    for name in ("runs", "scores", "losses"):
        pd.testing.assert_frame_equal(getattr(together, name), getattr(alone, name))
    assert together.problems == alone.problems
    assert len(alone.problems) == 1


def test_record_of_a_run_that_the_study_does_not_have(full_study: Study, make_study) -> None:  # type: ignore[no-untyped-def]
    smaller = make_study(full_study.results, methods=["decoder_only", "lora"])
    messages = {problem.message for problem in aggregate(smaller).problems}
    assert messages == {"the study has no such task and variant now"}
    layout = Layout.of(full_study)
    stray = layout.record("kvasir", "lora", 0).with_name("copy.json")
    shutil.copy(layout.record("kvasir", "lora", 0), stray)
    [problem] = aggregate(full_study).problems
    assert problem.path == stray
    assert problem.run is None


def test_records_of_other_images_are_left_out(full_study: Study) -> None:
    layout = Layout.of(full_study)
    path = layout.record("kvasir", "lora", 1)
    manifest = layout.manifest("kvasir")
    manifest.parent.mkdir(parents=True)
    manifest.write_text("another preparation")
    records = aggregate(full_study)
    assert records.runs.empty
    assert all("other images" in problem.message for problem in records.problems)

    edit(path, lambda content: content.update(manifest_sha256=sha256(manifest)))
    records = aggregate(full_study)
    assert records.runs[["variant", "seed"]].values.tolist() == [["lora", 1]]


def test_an_attempt_without_a_result_has_its_status(
    study: Study, write_run: Callable[..., Path]
) -> None:
    layout = Layout.of(study)
    for seed, status in ((0, "failed"), (1, "interrupted")):
        noted = Attempt(status=status, message="out of memory", fingerprint="f", attempts=2)
        write_json(layout.attempt("kvasir", "lora", seed), noted.model_dump(mode="json"))
    damaged = layout.attempt("kvasir", "lora", 2)
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    records = aggregate(study)
    statuses = [records.status("kvasir", "lora", seed) for seed in study.seeds]
    assert statuses == ["failed", "interrupted", "missing"]
    write_run(study, "lora", 1)
    write_status(study, aggregate(study))
    table = layout.table("status", "md").read_text()
    assert "1/3 (1 failed, 1 missing)" in table
    assert "kvasir, lora, seed 0: failed: out of memory" in table
    assert "seed 1:" not in table
