from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.modeling import ImageEncoderViT
from torch.utils.flop_counter import FlopCounterMode

from naslora.core.files import gigabytes
from naslora.data.benchmarks.contract import get_benchmark
from naslora.doctor.examine import examine
from naslora.planning.disk import whole
from naslora.planning.estimate import Plan, make_plan, makespan
from naslora.planning.rates import PAPER_SOURCE
from naslora.planning.report import duration, plan_json, plan_text
from naslora.report.tables.markdown import DASH
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.records import read_receipt, read_record, write_document
from naslora.study.settings import Study, load_study

WHOLE_DISK = SimpleNamespace(free=10**15)
CONFIG = Path(__file__).parents[2] / "config"


def plan_of(study: str, tmp_path: Path, **overrides: Any) -> Plan:
    places = {"results": str(tmp_path / "results"), "archives": str(tmp_path / "archives")}
    return make_plan(load_study(study, {**places, **overrides}, CONFIG), CONFIG)


def test_the_paper_is_estimated_from_its_own_rates(tmp_path: Path) -> None:
    plan = plan_of("paper", tmp_path)
    assert len(plan.runs) == 441
    assert plan.unknown == []
    # Table 5: an epoch of LoRA, 2,000 images, takes 20.3 minutes; inference 4.62 images a second.
    run = next(r for r in plan.runs if (r.task, r.variant) == ("isic2017", "lora"))
    assert run.training_s == pytest.approx(40 * 20.3 * 60)
    assert run.evaluation_s == pytest.approx(600 / 4.62)
    assert run.source == PAPER_SOURCE
    # 10 epochs of 21.1 minutes without alpha, 30 of 25.2 with it.
    searching = next(r for r in plan.runs if (r.task, r.variant) == ("isic2017", "nas_pc_lora"))
    assert searching.training_s == pytest.approx((10 * 21.1 + 30 * 25.2) * 60)


def test_what_the_paper_does_not_print_says_whose_rate_it_has(tmp_path: Path) -> None:
    rates = plan_of("paper", tmp_path).rates
    assert rates["scratch"].source == f"{PAPER_SOURCE}: as lora"
    assert rates["nas_lora"].source == f"{PAPER_SOURCE}: as nas_pc_lora"
    # Table 5 has VeRA eight times as fast as all others.
    assert rates["vera"].training_s == rates["lora"].training_s
    assert rates["rank_24"] == rates["nas_pc_lora"]


def test_the_workstations_study_takes_a_day(tmp_path: Path) -> None:
    assert plan_of("workstation", tmp_path).wall_s(1) <= 24 * 3600


def test_images_are_counted_as_published(tmp_path: Path) -> None:
    plan = plan_of("paper", tmp_path)
    expected = get_benchmark("trans10k_v2").expected
    images = plan.images["trans10k_v2"]
    assert images.train == expected["train"]
    assert images.train + images.test + expected["val"] == sum(expected.values())


def test_without_any_rate_nothing_is_invented(tmp_path: Path) -> None:
    plan = plan_of("rehearsal", tmp_path)
    assert plan.rates == {}
    assert plan.unknown == plan.study.run_names()
    text = plan_text(plan, [1])
    assert re.search(rf"\| kvasir +\| +26 \| +0 \| +{DASH} \|", text)
    assert "No rate is known for scratch" in text
    assert json.loads(plan_json(plan, [1]))["device_seconds"] == 0


def test_disk_counts_what_is_to_be_written(tmp_path: Path) -> None:
    plan = plan_of("paper", tmp_path, tasks=["leaf"])
    disk = plan.disk["leaf"]
    resized = get_benchmark("leaf").expected["train"] * 4 * 1024**2
    assert disk.images > resized
    # Three runs from scratch with all weights, and the largest checkpoint beside them.
    assert disk.runs > 3 * 2_565_000_000
    assert disk.checkpoint == 3 * 2_565_000_000
    assert disk.total == disk.archives + disk.images + disk.runs + disk.checkpoint


def test_plan_and_doctor_agree_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("naslora.doctor.machine.shutil.disk_usage", lambda place: WHOLE_DISK)
    plan = plan_of("paper", tmp_path)
    total = gigabytes(whole(list(plan.disk.values())).total)
    assert f"{total} of disk" in plan_text(plan, [1])
    check = next(c for c in examine(plan.study, config=CONFIG) if c.name == "disk")
    assert f"about {total} to be written" in check.finding


@pytest.mark.parametrize("name", ["vit_b", "vit_h"])
@pytest.mark.parametrize("size", [512, 1024])
def test_multiply_adds_are_those_of_metas_encoder(name: str, size: int) -> None:
    sizes = BACKBONES[name]
    with torch.device("meta"):
        encoder = ImageEncoderViT(
            img_size=size,
            embed_dim=sizes.embed_dim,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            use_rel_pos=True,
            window_size=sizes.window_size,
            global_attn_indexes=sizes.global_attn_indexes,
        )
        images = torch.zeros(1, 3, size, size)
        with FlopCounterMode(display=False) as counter:
            encoder(images)
    counted = counter.get_total_flops() / 2
    # Left out: patch embedding, neck, relative positions, and windows padded to whole ones.
    assert sizes.multiply_adds(size) < counted < 1.25 * sizes.multiply_adds(size)


def test_finished_runs_are_left_out_and_tell_the_rate(trained_study: Study) -> None:
    plan = make_plan(trained_study, CONFIG)
    assert all(run.evaluated and run.seconds == 0 for run in plan.runs)
    assert plan_text(plan, [1]) == "Study rehearsal: all 2 runs are done; none is left.\n"
    more = make_plan(trained_study.model_copy(update={"seeds": [0, 1]}), CONFIG)
    layout = Layout.of(trained_study)
    receipt = read_receipt(layout.receipt("kvasir", "lora", 0))
    record = read_record(layout.record("kvasir", "lora", 0))
    coming = next(run for run in more.runs if (run.variant, run.seed) == ("lora", 1))
    # The same images and epochs, so the same time.
    assert coming.training_s == pytest.approx(receipt.wall_time_s)
    assert coming.evaluation_s == pytest.approx(record.evaluation_time_s)
    assert coming.source == "wall times of 1 run of this study"
    assert more.wall_s(1) == pytest.approx(sum(run.seconds for run in more.runs))
    assert "2 are done" in plan_text(more, [1, 2])


def test_a_method_without_runs_takes_the_slowest_rate_and_says_so(trained_study: Study) -> None:
    wider = trained_study.model_copy(update={"methods": ["lora", "nas_lora", "dora"]})
    rates = make_plan(wider, CONFIG).rates
    slowest = max(("lora", "nas_lora"), key=lambda name: rates[name].training_s)
    assert rates["dora"].training_s == rates[slowest].training_s
    assert rates["dora"].source.endswith(f": as {slowest}, the slowest there")


def test_before_any_evaluation_it_is_taken_to_cost_as_much_as_training(
    copied: Any, trained_study: Study
) -> None:
    study = copied(of=trained_study)
    shutil.rmtree(Layout.of(study).records)
    rate = make_plan(study, CONFIG).rates["lora"]
    assert rate.evaluation_s == rate.training_s > 0
    assert "evaluation, not yet done" in rate.source


def test_a_run_of_other_settings_is_to_be_done_again(copied: Any, trained_study: Study) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    path = layout.receipt("kvasir", "lora", 0)
    other = read_receipt(path).model_copy(update={"fingerprint": "0" * 64})
    write_document(path, other)
    plan = make_plan(study, CONFIG)
    assert {run.variant: run.trained for run in plan.runs} == {"lora": False, "nas_lora": True}


def test_a_copy_of_records_is_done(copied: Any, trained_study: Study) -> None:
    study = copied(of=trained_study)
    layout = Layout.of(study)
    shutil.rmtree(layout.root / "runs")
    plan = make_plan(study, CONFIG)
    assert all(run.trained and run.evaluated for run in plan.runs)
    assert plan_text(plan, [1]) == "Study rehearsal: all 2 runs are done; none is left.\n"
    assert plan.disk["kvasir"].runs == 0
    layout.record("kvasir", "lora", 0).write_text("damaged")
    plan = make_plan(study, CONFIG)
    assert {run.variant: run.trained for run in plan.runs} == {"lora": False, "nas_lora": True}
    assert plan.disk["kvasir"].runs > 0
    other = copied({"training.learning_rate": 0.5}, of=trained_study)
    shutil.rmtree(layout.root / "runs")
    assert not any(run.trained for run in make_plan(other, CONFIG).runs)


def test_a_run_whose_record_is_of_other_settings_is_evaluated_again(
    copied: Any, trained_study: Study
) -> None:
    plan = make_plan(copied({"evaluation.size": "input"}, of=trained_study), CONFIG)
    assert all(run.trained and not run.evaluated for run in plan.runs)


def test_devices_share_the_time_and_not_the_cost(tmp_path: Path) -> None:
    one, four = (
        plan_of("paper", tmp_path, tasks=["leaf"], training={"devices": n}) for n in (1, 4)
    )
    assert four.runs[0].training_s == pytest.approx((one.runs[0].training_s or 0) / 4)
    assert four.runs[0].device_seconds == pytest.approx(one.runs[0].device_seconds)


def test_runs_on_several_devices_give_the_rate_of_one(copied: Any, trained_study: Study) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).receipt("kvasir", "lora", 0)
    receipt = read_receipt(path)
    one = make_plan(study, CONFIG).rates["lora"].training_s
    training = {**receipt.settings["training"], "devices": 2, "num_nodes": 2}
    settings_ = {**receipt.settings, "training": training}
    write_document(path, receipt.model_copy(update={"settings": settings_}))
    assert make_plan(study, CONFIG).rates["lora"].training_s == pytest.approx(4 * one)


def test_a_run_that_ended_early_gives_the_rate_of_its_epochs(
    copied: Any, trained_study: Study
) -> None:
    study = copied(of=trained_study)
    path = Layout.of(study).receipt("kvasir", "lora", 0)
    receipt = read_receipt(path)
    whole = make_plan(study, CONFIG).rates["lora"].training_s
    write_document(path, receipt.model_copy(update={"history": receipt.history[:1]}))
    early = make_plan(study, CONFIG).rates["lora"].training_s
    assert len(receipt.history) > 1
    assert early == pytest.approx(len(receipt.history) * whole)


@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_makespan_lies_between_its_bounds(seconds: list[float], jobs: int) -> None:
    took = makespan(seconds, jobs)
    lower = max([sum(seconds) / jobs, *seconds], default=0.0)
    assert lower <= took * (1 + 1e-9) + 1e-9
    # Until the last one begins, all workers are busy.
    assert took <= sum(seconds) / jobs + max(seconds, default=0.0) + 1e-6
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))


def test_no_jobs_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        makespan([1.0], 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 min"),
        (36, "1 min"),
        (2930, "49 min"),
        (3599, "59 min"),
        (3600, "1.0 h"),
        (5400, "1.5 h"),
        (36_000, "10 h"),
        (3.6e7, "10,000 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_command_prints_text_and_json(naslora: Any, tmp_path: Path) -> None:
    where = ("--set", f"results={tmp_path}", "--set", f"archives={tmp_path}")
    code, output, _ = naslora("plan", "--study", "paper", *where, "--jobs", "4")
    assert code == 0
    assert "To come: " in output
    assert "h with 4 jobs at once" in output
    code, output, _ = naslora("plan", "--study", "paper", *where, "--jobs", str(10**32))
    assert code == 0
    assert "jobs at once" in output
    code, output, _ = naslora("plan", "--study", "paper", *where, "--format", "json")
    assert code == 0
    plan = json.loads(output)
    assert len(plan["runs"]) == 441
    assert plan["wall_seconds"]["1"] == pytest.approx(plan["device_seconds"])
