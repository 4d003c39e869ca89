"""The report: one HTML file with every table, figure, claim and run, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from naslora.cli import app
from naslora.core.errors import AuditError, RecordError
from naslora.report.figures.catalogue import FIGURES
from naslora.report.page.build import report_text, write_report
from naslora.report.page.curve import learning_curve
from naslora.report.page.findings import findings
from naslora.results.aggregate import aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

WriteRun = Callable[..., Path]
_VOID = {"meta", "img", "br", "link", "input", "hr", "path", "circle", "polyline"}


class Page(HTMLParser):
    """Checks that elements nest, and collects ids, links, addresses and attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.methods: set[str] = set()
        self.tasks: set[str] = set()
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        self.methods |= {values["data-method"]} if "data-method" in values else set()
        self.tasks |= {values["data-task"]} if "data-task" in values else set()
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(study: Study) -> Page:
    return Page(report_text(study, aggregate(study)))


def test_the_report_is_self_contained(full_study: Study) -> None:
    figure = Layout.of(full_study).figure("figureC1")
    figure.parent.mkdir(parents=True)
    Image.new("RGB", (4, 3), "white").save(figure)
    page = page_of(full_study)
    text = report_text(full_study, aggregate(full_study))
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert not [word for word in ("url(", "@import", "http") if word in text.lower()]
    assert len(page.ids) == len(set(page.ids))
    assert all(link.removeprefix("#") in page.ids for link in page.links)
    assert [source[:22] for source in page.sources] == ["data:image/png;base64,"]
    assert page.methods == {*full_study.methods}
    assert page.tasks == {"kvasir"}
    for variant in full_study.methods:
        for seed in full_study.seeds:
            assert f"run-kvasir-{variant}-{seed}" in page.ids
    assert {"status", "tables", "figures", "claims", "runs", "table1", "table4"} <= set(page.ids)
    assert "24.14 % less" in page.text
    assert '<b class="CONTRADICTED">contradicted</b>' in text
    assert "Study <code>sample</code>: SAM <code>small</code>" in text
    assert "`" not in page.text.partition("use strict")[0]


def test_the_same_results_give_the_same_bytes(full_study: Study) -> None:
    path = write_report(full_study)
    first = path.read_bytes()
    assert write_report(full_study).read_bytes() == first
    assert str(full_study.results) not in first.decode()


def test_cells_show_the_value_the_paper_and_the_verdict(full_study: Study) -> None:
    text = report_text(full_study, aggregate(full_study))
    row = text[text.index('data-method="nas_pc_lora"', text.index('id="table1"')) :]
    row = row[: row.index("</tr>")]
    assert re.search(
        r'class="best"><a href="#runs-kvasir-nas_pc_lora"><span>76.0 ± 1.0</span></a>\s*'
        r"<small>paper 92.4</small>",
        row,
    )


def test_figures_are_numbered_listed_and_open_by_key(full_study: Study) -> None:
    for name in ("figure1b", "figure1b_paper", "figureC1", "gallery_kvasir"):
        path = Layout.of(full_study).figure(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), "white").save(path)
        path.with_suffix(".md").write_text("Scores.\n")
    text = report_text(full_study, aggregate(full_study))
    figures = part(text, "figures")
    assert "<figcaption><b>Figure 1b:</b> Scores." in figures
    assert '<a href="#figure-figureC1">Figure C1</a>' in figures
    assert figures.count('<button type="button" class="zoom" aria-label="Figure ') == 3
    assert '<figure id="figure-figure1b_paper" class="screen">' in figures
    assert '<figure id="figure-figure1b">' in figures
    assert "<figcaption><b>Kvasir:</b> Scores." in part(text, "gallery")
    assert '<a href="#table1">Table 1</a>' in part(text, "tables")
    left_out = text[text.index('<p class="paper">') :]
    left_out = " ".join(left_out[: left_out.index("</p>")].split())
    assert "Figure 1b (paper), the gallery, the pages of runs, and collapsed notes" in left_out


def test_the_meaning_of_marks_stands_below_each_table(full_study: Study) -> None:
    text = report_text(full_study, aggregate(full_study))
    table = text[text.index('id="table1"') : text.index('id="table4"')]
    marks = table[table.index('<p class="marks">') : table.index("<details>")]
    assert "Bold: the best" in marks


def test_what_was_found_has_networks_the_leader_and_the_searched_methods(
    make_study: Callable[..., Study], write_run: WriteRun, tmp_path: Path
) -> None:
    """U-Net is ahead of all on Kvasir, and behind all on CVC; LoRA and NAS-LoRA differ by 5."""
    study = make_study(
        tmp_path, tasks=["kvasir", "cvc_clinicdb", "road"], networks=["unet"], seeds=[0, 1, 2]
    )
    network = {"kvasir": 0.9, "cvc_clinicdb": 0.3, "road": 0.62}
    bases = {"decoder_only": 0.5, "lora": 0.6, "nas_lora": 0.65, "nas_pc_lora": 0.602}
    for task in study.tasks:
        for name, base in {**bases, "unet": network[task]}.items():
            for seed in study.seeds:
                write_run(study, name, seed, [base + 0.002 * (seed - 1) ** 3] * 3, task=task)
    records = aggregate(study)
    lines = findings(study, records)
    assert lines[1].startswith("NAS-LoRA against LoRA, in points of the main metric: from +5.0 on ")
    assert "95 % interval +5.0 to +5.0" in lines[1]
    assert "significantly better on 3, and worse on 0" in lines[1]
    assert lines[2] == (
        "Compared with the methods that adapt SAM, unet, which is not pretrained, is better than"
        " all on Kvasir (90.0 against 65.0 of NAS-LoRA, significant); between the best and the"
        " worst on Road; worse than all on CVC-ClinicDB."
    )
    assert lines[3].startswith(
        "NAS-LoRA differs significantly from LoRA on 3 of 3 test sets: it is better on 3 (Kvasir,"
        " CVC-ClinicDB and Road), and worse on none;"
    )
    assert lines[4].startswith("NAS-PC-LoRA differs significantly from LoRA on 3 of 3 test sets")


def test_a_variant_on_all_tasks_is_compared_with_the_leader(
    make_study: Callable[..., Study], write_run: WriteRun, tmp_path: Path
) -> None:
    variant = {"method": "lora", "settings": {"rank": 92}}
    study = make_study(
        tmp_path,
        tasks=["kvasir", "cvc_clinicdb", "road"],
        variants={"lora_rank_92": variant},
        seeds=[0, 1],
    )
    bases = {"decoder_only": 0.5, "lora": 0.7, "nas_lora": 0.6, "nas_pc_lora": 0.602}
    for task in study.tasks:
        large = {"kvasir": 0.8, "cvc_clinicdb": 0.7, "road": 0.5}[task]
        for name, base in {**bases, "lora_rank_92": large}.items():
            for seed in study.seeds:
                scores = [base + 0.002 * seed] * 3
                write_run(study, name, seed, scores, task=task, trainable=1_041_088)
    records = aggregate(study)
    assert findings(study, records)[1] == (
        "LoRA, rank 92 (1.04 million trained parameters), which is not ranked, is significantly"
        " better than LoRA on 1 (Kvasir) of 3 test sets, and worse on 1 (Road)."
    )


def part(text: str, name: str) -> str:
    """The section of this id."""
    found = text[text.index(f'id="{name}"') :]
    return found[: found.index("</section>")]


def test_a_run_names_its_files_its_commands_and_the_other_seeds(full_study: Study) -> None:
    run = part(report_text(full_study, aggregate(full_study)), "run-kvasir-lora-1")
    for name, path in (
        ("record", "records/kvasir/lora/seed1.json"),
        ("metrics of each image", "records/kvasir/lora/seed1.parquet"),
        ("manifest of the images", "manifests/kvasir.json"),
    ):
        assert f"<dt>{name}</dt><dd><code>{path}</code></dd>" in run
    options = "--study sample --task kvasir --variant lora --seed 1"
    assert f"<pre>naslora train {options}\nnaslora evaluate {options}</pre>" in run
    assert 'href="#run-kvasir-lora-0"' in run
    assert 'href="#run-kvasir-lora-2"' in run
    assert "<b>seed 1</b>" in run


def test_the_runs_of_a_method_have_all_seeds_as_tables_show_scores(full_study: Study) -> None:
    group = part(report_text(full_study, aggregate(full_study)), "runs-kvasir-lora")
    assert (
        '<th scope="row">S, % ↑<small>S_measure</small></th>'
        "<td>65.0</td><td>66.0</td><td>67.0</td>" in group
    )
    assert [f'href="#run-kvasir-lora-{seed}"' in group for seed in (0, 1, 2)] == [True] * 3


def test_scores_of_a_run_have_the_units_of_tables(study: Study, write_run: WriteRun) -> None:
    write_run(study, "lora", 0, {"test": {"BER": 6.094, "MAE": 0.12345, "mIoU": 0.5}})
    run = part(report_text(study, aggregate(study)), "run-kvasir-lora-0")
    for title, key, value in (
        ("BER (set), % ↓", "BER", "6.09"),
        ("MAE ↓", "MAE", "0.123"),
        ("mIoU (all classes), % ↑", "mIoU", "50.00"),
    ):
        assert f"{title}<small>{key}</small></th><td>{value}</td>" in run


def test_images_that_are_in_the_training_set_are_said_above_the_scores(full_study: Study) -> None:
    path = Layout.of(full_study).audit("kvasir")
    path.parent.mkdir(parents=True)
    audit = {"schema_version": 1, "splits": {"val": 9, "test": 100}, "findings": []}
    audit["like_training_images"] = {"val": 5, "test": 3}
    path.write_text(json.dumps(audit))
    text = report_text(full_study, aggregate(full_study))
    table = text[text.index('id="table1"') :]
    above = table[: table.index("<table")]
    assert "Kvasir: at least 3 of 100 test images are identical or nearly identical to" in above
    audit["like_training_images"]["test"] = 0
    path.write_text(json.dumps(audit))
    assert "nearly identical" not in report_text(full_study, aggregate(full_study))
    path.write_text(json.dumps(audit)[:40])
    with pytest.raises(AuditError, match="this audit is damaged"):
        report_text(full_study, aggregate(full_study))


@pytest.mark.slow
def test_a_report_of_nine_tasks_prints_on_few_pages(copied_study: Study, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    heights = {"figure3": 800, "figure4": 340, "figureC1": 1050, "attention_distance": 480}
    for picture in (p for one in FIGURES.values() for p in one.pictures(copied_study)):
        height = heights.get(picture.name.partition("_")[0], heights.get(picture.name, 700))
        path = Layout.of(copied_study).figure(picture.name)
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (1000, height), "grey").save(path)
        path.with_suffix(".md").write_text("What this figure shows, in a sentence. " * 4)
    pdf = tmp_path / "report.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={pdf}"]
    address = write_report(copied_study).as_uri()
    subprocess.run([browser, *options, address], check=True, capture_output=True, timeout=120)
    assert 5 <= len(re.findall(rb"/Type /Page\b", pdf.read_bytes())) <= 14


def test_a_study_without_anything_has_no_report(study: Study) -> None:
    with pytest.raises(RecordError, match="neither records nor timings") as caught:
        write_report(study)
    assert caught.value.where == Layout.of(study).records
    assert not Layout.of(study).report.exists()


def test_missing_and_left_out_runs_are_listed(study: Study, write_run: WriteRun) -> None:
    write_run(study, "lora", 0)
    write_run(study, "lora", 1, status="diverged", message="the loss is nan at epoch 2")
    bad = write_run(study, "lora", 2)
    bad.write_text(bad.read_text()[:100])
    page = page_of(study)
    assert "1/3 (1 diverged, 1 left out)" in page.text
    assert "diverged: the loss is nan at epoch 2" in page.text
    assert "records/kvasir/lora/seed2.json" in page.text
    assert "run-kvasir-lora-2" not in page.ids


def test_a_study_without_results_has_a_page(study: Study) -> None:
    page = page_of(study)
    assert "Nothing has been run." in page.text
    assert not [link for link in page.links if link in ("#runs", "#figures")]


def test_messages_cannot_carry_markup(study: Study, write_run: WriteRun) -> None:
    write_run(study, "lora", 0, status="diverged", message="<script>alert(1)</script>")
    text = report_text(study, aggregate(study))
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("losses", [[1.0], [0.5, 0.5], [3.0, 2.0, 1.5]])
def test_a_curve_spans_its_frame(losses: list[float]) -> None:
    svg = learning_curve(losses, 1)
    Page(svg)
    assert f"{losses[0]:.3f} in epoch 1, {losses[-1]:.3f} in the last" in svg
    assert ("T<tspan" in svg) == (len(losses) > 1)
    points = re.search(r'points="([^"]*)"', svg)
    if len(losses) == 3:
        assert points is not None
        first, _, last = points[1].split()
        assert first == "52.0,12.0"
        assert last == "410.0,136.0"


def test_the_commands(full_study: Study, one_task: dict[str, Any]) -> None:
    overrides = {"results": str(full_study.results), **one_task}
    options = ["--study", "sample"]
    for key, value in overrides.items():
        options += ["--set", f"{key}={json.dumps(value)}"]
    ran = CliRunner().invoke(app, ["report", *options])
    assert ran.exit_code == 0, ran.output
    assert Layout.of(full_study).report.is_file()
    ran = CliRunner().invoke(app, ["audit", *options])
    assert ran.exit_code == 0, ran.output
    assert "25.2 / 20.3 = 1.2414" in ran.output
