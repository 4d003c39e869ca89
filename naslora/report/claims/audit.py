"""All claims of the paper at once, for the terminal, for a file, and for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from naslora.files import write_text
from naslora.layout import Layout
from naslora.report.aggregate import Aggregate
from naslora.report.claims import ablations, costs, counts, scores
from naslora.report.claims.claim import Claim
from naslora.report.claims.evidence import Evidence
from naslora.settings import Study

_ALL = (*costs.CLAIMS, *scores.CLAIMS, *counts.CLAIMS, *ablations.CLAIMS)


def audit_claims(study: Study, records: Aggregate) -> list[Claim]:
    """Check every claim against the paper's own numbers and against a study's records."""
    evidence = Evidence(study, records)
    return [claim(evidence) for claim in _ALL]


def write_claims(study: Study, records: Aggregate) -> None:
    """Write the claims to `tables/claims.md` and, for programs, `tables/claims.json`.

    Raises:
        DiskError: a file cannot be written.
    """
    layout, claims = Layout.of(study), audit_claims(study, records)
    write_text(layout.table("claims", "md"), claims_markdown(study, claims))
    write_text(layout.table("claims", "json"), claims_json(claims))


def claims_markdown(study: Study, claims: Sequence[Claim]) -> str:
    """The claims as a document to read: a summary, then each with its arithmetic."""
    setting = (
        f"Measured in study `{study.study}`: SAM `{study.sam.backbone}` at "
        f"{study.sam.image_size} px, {study.training.epochs} epochs. A judgement from another "
        "setting than the paper's says what holds here, not that the paper is wrong."
    )
    lines = ["# The paper's claims", "", setting, ""]
    lines += ["| claim | where | the paper's own numbers | here |", "|---|---|---|---|"]
    lines += [
        f"| {claim.text} | {claim.source} | {claim.paper} | {claim.ours} |" for claim in claims
    ]
    for claim in claims:
        lines += ["", f"## {claim.text}", "", f"{claim.source}. By its own numbers: {claim.paper}."]
        lines += ["", *(f"- {line}" for line in claim.arithmetic)]
        if claim.measured:
            lines += ["", f"Here: {claim.ours}.", "", *(f"- {line}" for line in claim.measured)]
    return "\n".join([*lines, ""])


def claims_json(claims: Sequence[Claim]) -> str:
    """The claims as JSON, with the fields of `Claim`."""
    return json.dumps([asdict(claim) for claim in claims], indent=2) + "\n"
