"""Writes the report of a study from its records, tables and figures."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from naslora.core.errors import RecordError
from naslora.core.files import write_text
from naslora.core.wording import counted
from naslora.report.claims.audit import READING, audit_claims, summary
from naslora.report.figures.catalogue import FIGURES
from naslora.report.page.findings import banner, findings
from naslora.report.page.runs import run_groups, run_pages
from naslora.report.page.views import TableView, method_of, status_view, table_view
from naslora.report.tables.catalogue import TABLES, tables_of
from naslora.report.tables.model import run_title
from naslora.report.tables.own_tasks import has_paper_tasks
from naslora.results.aggregate import Aggregate, aggregate
from naslora.results.sources import ALL_SOURCES, sources_of, write_sources
from naslora.study.layout import Layout
from naslora.study.settings import Study

_RANKING, _GALLERY = "ranking", "gallery_"
# Not printed: other views of what Figures 1b and 3 show.
_ON_SCREEN = ("figure1b_paper", "figure1b_radar", "figure3_best", "figure3_worst")


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows; `label` stands before its caption, `source` is a data URL."""

    name: str
    label: str
    caption: str
    source: str

    @property
    def printed(self) -> bool:
        """Whether the figure is printed, too."""
        return self.name not in _ON_SCREEN


def write_report(study: Study) -> Path:
    """Write `report.html`, a self-contained file.

    It has the tables of the study's records, and the figures that were drawn.

    Raises:
        RecordError: there is nothing to report, or a record changed while it was read.
        DiskError: the file cannot be written.
    """
    layout, sources, records = Layout.of(study), sources_of(study), aggregate(study)
    if records.runs.empty and not records.problems and not any(layout.timing.glob("*.json")):
        raise RecordError(
            f"study {study.study} has neither records nor timings to report",
            where=layout.records,
            remedy=f"run the study first: naslora run --study {study.study}",
        )
    path = layout.report
    write_text(path, report_text(study, records))
    write_sources(path.parent, [path.stem], sources, ALL_SOURCES)
    return path


def report_text(study: Study, records: Aggregate) -> str:
    """The report as HTML; the same results give the same text."""
    root = Layout.of(study).root
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _code
    runs = run_pages(study, records)
    groups = run_groups(runs, partial(method_of, study))
    claims = audit_claims(study, records) if has_paper_tasks(study) else []
    pictures = _figures(study)
    return environment.from_string(_asset("template.html")).render(
        study=study,
        setting=_setting(study),
        names=[(name, run_title(records, name)) for name in (*study.networks, *study.methods)],
        made_by=sorted(set(records.runs["code"])) or ["Nothing has been run."],
        status=status_view(study, records),
        problems=[(p.path.relative_to(root).as_posix(), p.message) for p in records.problems],
        tables=_tables(study, records, {group.anchor for group in groups}),
        beside_the_paper=has_paper_tasks(study),
        banner=banner(study, records),
        found=findings(study, records),
        ranking=[one for one in pictures if one.name == _RANKING],
        figures=[p for p in pictures if p.name != _RANKING and not p.name.startswith(_GALLERY)],
        gallery=[one for one in pictures if one.name.startswith(_GALLERY)],
        claims=claims,
        claims_summary=summary(claims),
        claims_reading=READING,
        runs=runs,
        run_groups=groups,
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js")),
    )


def _code(text: str) -> Markup:
    """Plain text as HTML, with text between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _asset(name: str) -> str:
    return files("naslora.report.page").joinpath(name).read_text("utf-8")


def _setting(study: Study) -> str:
    training = study.training
    images = "generated" if set(study.tasks) <= set(study.generated) else "real"
    if images == "real" and set(study.tasks) & set(study.generated):
        images = "real and generated"
    return (
        f"SAM {study.sam.backbone} at {study.sam.image_size} px ({study.sam.checkpoint} "
        f"checkpoint), {images} images of {counted(len(study.tasks), 'task')}, "
        f"{counted(len(study.methods), 'method')}, {study.epochs_text()} of batches of "
        f"{training.batch_size}, seeds {', '.join(map(str, study.seeds))}."
    )


def _tables(study: Study, records: Aggregate, runs: Collection[str]) -> list[TableView]:
    builders = [TABLES[name].build for name in tables_of(study)]
    built = [build(study, records) for build in builders if build is not None]
    if not has_paper_tasks(study):  # the paper's tables of costs and features may be empty then
        built = [one for one in built if any(cell.values for row in one.rows for cell in row.cells)]
    return [table_view(study, table, runs) for table in built]


def _figures(study: Study) -> list[Picture]:
    layout = Layout.of(study)
    found = []
    for drawing in FIGURES.values():
        for picture in drawing.pictures(study):
            path = layout.figure(picture.name)
            if path.is_file():
                beside = layout.figure(picture.name, "md")
                caption = beside.read_text("utf-8") if beside.is_file() else picture.title
                data = base64.b64encode(path.read_bytes()).decode("ascii")
                source = f"data:image/png;base64,{data}"
                found.append(Picture(picture.name, picture.label, caption, source))
    return found
