"""All claims of the paper at once, for the terminal, for a file, and for the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from naslora.core.files import write_text
from naslora.report.claims import ablations, costs, counts, features, multi_class, scores
from naslora.report.claims import merge_loss as merging
from naslora.report.claims.claim import Claim, Judgement
from naslora.report.claims.evidence import Evidence
from naslora.results.aggregate import Aggregate
from naslora.study.layout import Layout
from naslora.study.settings import Study

_ALL = tuple(
    claim
    for module in (costs, merging, scores, multi_class, counts, ablations, features)
    for claim in module.CLAIMS
)
READING = (
    "A judgement on the paper's own numbers compares only what it prints, and allows for rounding.",
    "Here: two runs differ significantly, as in the tables, where two 95 % intervals of their "
    "difference exclude zero: the t-interval over seeds, of which ± is half, and the bootstrap's "
    "over test images. A claim about several comparisons holds where "
    "enough of them are significant, is contradicted where too many are significant the other way, "
    "and is else undecided; for this, the level of 5 % is shared among them, so that many "
    "comparisons do not find something by chance.",
    "A claim about the paper's numbers alone, such as whether two columns agree, needs no run.",
)


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
    lines = ["# The paper's claims", "", setting(study), "", summary(claims), ""]
    lines += [*(f"- {line}" for line in READING), ""]
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


def setting(study: Study) -> str:
    """The setting of the study's measurements, and what can be concluded from them."""
    images = "generated images" if set(study.tasks) & set(study.generated) else "real images"
    return (
        f"Measured in study `{study.study}`: SAM `{study.sam.backbone}` at "
        f"{study.sam.image_size} px, {study.epochs_text()}, {images}. A judgement from "
        "another setting than the paper's says what holds here, not that the paper is wrong."
    )


def summary(claims: Sequence[Claim]) -> str:
    """How many claims hold by the paper's own numbers, and how many do not."""
    counts = Counter(claim.paper for claim in claims)
    parts = ", ".join(f"{kind}: {counts[kind]}" for kind in Judgement if counts[kind])
    return f"{len(claims)} claims. By the paper's own numbers: {parts}."


def claims_json(claims: Sequence[Claim]) -> str:
    """The claims as JSON, with the fields of `Claim`."""
    return json.dumps([asdict(claim) for claim in claims], indent=2) + "\n"
