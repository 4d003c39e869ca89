"""An audit as JSON and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from naslora.core.wording import joined
from naslora.data.audit.checks import Audit, describe
from naslora.data.benchmarks.contract import Benchmark
from naslora.data.benchmarks.listing import Finding

_SOURCES = {
    "official": "the official archives (SHA-256 as published)",
    "other": "**not the official archives**: other files under the official names",
    "unknown": "archives without a published SHA-256 to compare with",
    "generated": "generated images; scores on them say nothing about real ones",
    "own": "your own images",
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
        "count_exception": _exception(audit.benchmark),
        "like_training_images": dict(audit.leaked),
        "statistics": _statistics(audit),
        "findings": [
            {"kind": f.kind, "severity": f.severity, "text": f.text, "items": list(f.items)}
            for f in audit.findings
        ],
    }


def audit_markdown(audit: Audit) -> str:
    """The audit as a report; it lists all items of an error, and the first 200 of an oddity."""
    total = sum(audit.benchmark.expected.values())
    lines = [
        f"# Audit of {audit.benchmark.title}",
        "",
        f"Source: {_SOURCES[audit.source]}.",
        f"{len(audit.pairs)} pairs of an image and a mask"
        + ("." if audit.source == "own" else f"; the whole benchmark has {total}."),
        "",
    ]
    if audit.splits:
        lines += [*_split_table(audit), "", *_leakage(audit)]
    if columns := _statistics(audit):
        lines += ["| over all pairs | min | median | mean | max |", "|---|---:|---:|---:|---:|"]
        for name, row in columns.items():
            unit = "{:.0f}" if name.endswith("(px)") else "{:.2%}"
            cells = [unit.format(row[key]) for key in ("least", "median", "mean", "most")]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    for title, findings in (("Errors", audit.errors), ("Oddities", audit.oddities)):
        lines += [f"## {title}", ""]
        lines += [line for finding in findings for line in _listed(finding)] or ["None."]
        lines.append("")
    return "\n".join(lines)


def _listed(finding: Finding) -> list[str]:
    """A bullet, followed by one for each item if there are several."""
    if len(finding.items) < 2:
        return [f"- {describe(finding)}"]
    lines = [f"- {finding.text} ({len(finding.items)}):"]
    listed = len(finding.items) if finding.severity == "error" else _LISTED
    lines += [f"    - {item}" for item in finding.items[:listed]]
    if (more := len(finding.items) - listed) > 0:
        lines.append(f"    - and {more} more")
    return lines


def _split_table(audit: Audit) -> list[str]:
    """Counts next to Appendix B's and, where those are not the official ones, next to these too."""
    if audit.source == "own":
        rows = [f"| {split} | {len(ids)} |" for split, ids in audit.splits.items()]
        return ["| split | pairs |", "|---|---:|", *rows]
    expected, exception = audit.benchmark.expected, audit.benchmark.count_exception
    columns = [expected] if exception is None else [expected, exception.printed]
    titles = ["Appendix B"] if exception is None else ["official", "Appendix B"]
    lines = [f"| split | pairs | {' | '.join(titles)} |", "|---|---:|" + "---:|" * len(titles)]
    for split, ids in audit.splits.items():
        cells = [_count_of(split, column) for column in columns]
        lines.append(f"| {split} | {len(ids)} | {' | '.join(cells)} |")
    if exception is not None:
        lines += ["", f"Appendix B's counts are not the official ones: {exception.reason}."]
    return lines


def _count_of(split: str, counts: Mapping[str, int]) -> str:
    name = next(name for name in counts if split in name.split("+"))
    return str(counts[name]) if name == split else f"{counts[name]} ({name})"


def _leakage(audit: Audit) -> list[str]:
    """A sentence if images outside training are identical or nearly identical to one in it."""
    shares = [
        f"{count} of {len(audit.splits[split])} {split} images"
        for split, count in audit.leaked.items()
        if count
    ]
    if not shares:
        return []
    return [
        f"**Leakage:** at least {joined(shares)} are identical or nearly identical to a training "
        "image, so scores may be too high.",
        "",
    ]


def _exception(benchmark: Benchmark) -> dict[str, Any] | None:
    exception = benchmark.count_exception
    if exception is None:
        return None
    return {"appendix_b": dict(exception.printed), "reason": exception.reason}


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
