"""An audit as JSON for programs, and as Markdown for people."""

from __future__ import annotations

import statistics
from typing import Any

from naslora.data.audit import Audit, describe

_SOURCES = {
    "official": "the official archives (SHA-256 as published)",
    "other": "**not the official archives**: other files under the official names",
    "unknown": "archives without a published SHA-256 to compare with",
    "generated": "generated images; scores on them say nothing about real ones",
}
_LISTED = 200


def audit_json(audit: Audit) -> dict[str, Any]:
    """The whole audit as plain values; every item of every finding is in it."""
    return {
        "schema_version": 1,
        "task": audit.benchmark.name,
        "source": audit.source,
        "pairs": len(audit.pairs),
        "splits": {split: len(ids) for split, ids in audit.splits.items()},
        "expected": dict(audit.benchmark.expected),
        "statistics": _statistics(audit),
        "findings": [
            {"kind": f.kind, "severity": f.severity, "text": f.text, "items": list(f.items)}
            for f in audit.findings
        ],
    }


def audit_markdown(audit: Audit) -> str:
    """A report to read; long lists are cut at 200 items and say so."""
    total = sum(audit.benchmark.expected.values())
    lines = [
        f"# Audit of {audit.benchmark.title}",
        "",
        f"Source: {_SOURCES[audit.source]}.",
        f"{len(audit.pairs)} pairs of an image and a mask; the whole benchmark has {total}.",
        "",
    ]
    if audit.splits:
        lines += ["| split | pairs | Appendix B |", "|---|---:|---:|"]
        lines += [
            f"| {split} | {len(ids)} | {audit.benchmark.expected[split]} |"
            for split, ids in audit.splits.items()
        ]
        lines.append("")
    if columns := _statistics(audit):
        lines += ["| over all pairs | least | median | mean | most |", "|---|---:|---:|---:|---:|"]
        for name, row in columns.items():
            unit = "{:.0f}" if name.endswith("(px)") else "{:.2%}"
            cells = [unit.format(row[key]) for key in ("least", "median", "mean", "most")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    for title, findings in (("Errors", audit.errors), ("Oddities", audit.oddities)):
        lines += [f"## {title}", ""]
        lines += [f"- {describe(finding, _LISTED)}" for finding in findings] or ["None."]
        lines.append("")
    return "\n".join(lines)


def _statistics(audit: Audit) -> dict[str, dict[str, float]]:
    """Sizes in pixels and shares in [0, 1] over the pairs that could be read."""
    read = [pair for pair in audit.pairs if pair.width]
    if not read:
        return {}
    columns: dict[str, list[float]] = {
        "width (px)": [pair.width for pair in read],
        "height (px)": [pair.height for pair in read],
        "foreground in the mask": [pair.foreground for pair in read],
        "grey or odd values in the mask": [pair.grey for pair in read],
    }
    return {
        name: {
            "least": min(values),
            "median": statistics.median(values),
            "mean": statistics.fmean(values),
            "most": max(values),
        }
        for name, values in columns.items()
    }
