"""Pages of the site that are written when it is built."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

from naslora.report.claims.audit import audit_claims, claims_markdown
from naslora.results.aggregate import aggregate
from naslora.study.settings import load_study


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the arithmetic of the paper's claims, without any run, into its page."""
    if "<!-- audit -->" not in markdown:
        return markdown
    with TemporaryDirectory() as empty:
        study = load_study("paper", {"results": empty})
        text = claims_markdown(study, audit_claims(study, aggregate(study)))
    _title, _study, kept = text.split("\n\n", 2)
    return markdown.replace("<!-- audit -->", kept)
