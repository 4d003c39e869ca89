"""Times of training and inference, from records and from timings, and Figure 1c."""

from __future__ import annotations

import json
from typing import Any

import pytest

from naslora.report.figures.catalogue import write_figures
from naslora.results.aggregate import aggregate
from naslora.results.costs import paper_costs, read_costs
from naslora.study.layout import Layout
from naslora.study.settings import Study
from tests.report.figures.conftest import Drawn
from tests.report.figures.test_records import change


def test_paper_s_costs() -> None:
    found = paper_costs()
    assert found["lora"].epoch_s == pytest.approx(20.3 * 60)
    assert found["nas_pc_lora"].epoch_s / 60 == pytest.approx((10 * 21.1 + 30 * 25.2) / 40)
    assert found["nas_pc_lora"].image_s == pytest.approx(1 / 4.62)


def test_costs_from_records(full_study: Study, drawn: dict[str, Drawn]) -> None:
    layout = Layout.of(full_study)
    for seed, seconds in enumerate((1.0, 2.0, 6.0)):
        history = [{"epoch": float(e), "loss": 1.0, "seconds": seconds * e} for e in (1, 2, 3)]
        change(layout.record("kvasir", "lora", seed), history=history, evaluation_time_s=50.0)
    costs = read_costs(full_study, aggregate(full_study), "kvasir")
    assert list(costs.by_method) == ["lora"]  # the others' records have no seconds
    assert costs.by_method["lora"].epoch_s == pytest.approx(2 * 3.0)
    assert costs.by_method["lora"].epoch_range == (2.0, 12.0)
    assert costs.by_method["lora"].image_s == pytest.approx(0.5)  # of 100 images
    assert "not a benchmark" in costs.source
    write_figures(full_study, ["figure1c"])
    ours, theirs = drawn["figure1c"].canvas.axes
    (bar,) = ours.containers
    assert bar.lines[0].get_xydata().tolist() == [[500.0, pytest.approx(6.0)]]
    reaches = [line.get_segments()[0].tolist() for line in bar.lines[2]]
    assert [[500.0, 2.0], [500.0, 12.0]] in reaches
    assert len(theirs.containers) == 2  # of the study's methods, Table 5 has two
    assert "minimum and maximum over seeds" in drawn["figure1c"].caption


def measurement(method: str, **seconds: float | None) -> dict[str, Any]:
    """Passes with these seconds per image, three repeats; None for one that did not fit."""
    passes = {}
    for name, one in seconds.items():
        repeats = [] if one is None else [one, 0.9 * one, 5 * one]
        status = "done" if repeats else "out of memory"
        passes[name] = {"batches": {"4": {"status": status, "seconds": repeats}}}
    return {
        "method": method,
        "title": method,
        "settings": {},
        "passes": passes,
        "inference_form": "merged",
        "adapter_bytes": 1,
    }


def write_timing(study: Study, name: str, methods: list[dict[str, Any]], **hardware: Any) -> None:
    content = {
        "schema_version": 1,
        "study": study.study,
        "hardware": name,
        "backbone": study.sam.backbone,
        "image_size": study.sam.image_size,
        "batch_size": study.training.batch_size,
        "images_per_epoch": 100,
        "settings": {},
        "data": "synthetic",
        "memory": "none",
        "methods": methods,
        "load_average": [0.0, 1.0],
        "wall_time_s": 1.0,
        "provenance": {
            "hardware": {"processor": "a processor", "threads": 2, **hardware},
            "versions": {},
            "git_revision": None,
            "git_dirty": None,
        },
    }
    path = Layout.of(study).timing / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_measured_costs_come_first_and_bad_files_are_named(full_study: Study) -> None:
    methods = [
        measurement("lora", training=0.5, inference=0.2),
        measurement("nas_lora", training=0.5, searching=1.0, inference=0.2),
        measurement("decoder_only", training=None, inference=0.2),
        measurement("vpt", training=0.5, inference=0.2),
    ]
    write_timing(full_study, "a-cpu", [measurement("lora", training=9.0, inference=9.0)])
    write_timing(full_study, "z-gpu", methods, gpu="a GPU")
    (Layout.of(full_study).timing / "newer.json").write_text('{"schema_version": 9}')
    costs = read_costs(full_study, aggregate(full_study), "kvasir")
    assert list(costs.by_method) == ["lora", "nas_lora"]  # what fitted, of the study's methods
    assert costs.by_method["lora"].epoch_s == pytest.approx(50)
    assert costs.by_method["lora"].epoch_range == (pytest.approx(45), pytest.approx(250))
    # Eight epochs, of which two are before T_B.
    assert costs.by_method["nas_lora"].epoch_s == pytest.approx((2 * 50 + 6 * 100) / 8)
    assert costs.by_method["lora"].image_s == pytest.approx(0.2)
    assert costs.source == "measured by the timing protocol on a GPU"
    assert costs.problems == ("newer.json: this timing has schema version 9; this naslora reads 1",)
