"""The sources of tables and figures, stored beside them.

`sources.json` in their folder maps each name to the hashes of what it was made from, so that later
changes of the records are noticed, in copies of the results too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from naslora.core.files import fingerprint, sha256, write_json
from naslora.core.locking import exclusive
from naslora.study.layout import Layout
from naslora.study.settings import Study

# The sources of tables and figures that need no timings, and of all others.
RECORDS = ("records", "analyses", "rows")
ALL_SOURCES = (*RECORDS, "timings")


def sources_of(study: Study) -> dict[str, str]:
    """Hashes of all that tables and figures are made from.

    Returns:
        `records`, with those of controls; `analyses`; `timings`; and `rows`, the settings that
        choose rows, columns and seeds.
    """
    layout = Layout.of(study)
    files = {
        "records": layout.records.glob("*/*/*.json"),
        "analyses": layout.analyses.glob("*.json"),
        "timings": layout.timing.glob("*.json"),
    }
    hashes = {
        name: fingerprint({p.relative_to(layout.root).as_posix(): sha256(p) for p in paths})
        for name, paths in files.items()
    }
    training = study.training
    schedule = [training.epochs, training.architecture.start_epoch]  # in Table 5's notes
    rows = {"tasks": study.tasks, "runs": study.runs(), "schedule": schedule}
    return {**hashes, "rows": fingerprint(rows)}


def read_sources(folder: Path) -> dict[str, dict[str, str]]:
    """The sources of each table or figure in a folder; empty if they cannot be read."""
    try:
        content = json.loads((folder / "sources.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_sources(
    folder: Path, names: Iterable[str], sources: Mapping[str, str], used: Iterable[str]
) -> None:
    """Store the sources of tables or figures; the entries of others are kept.

    Args:
        folder: the folder of the tables or figures.
        names: the tables or figures.
        sources: what `sources_of` returned before they were made.
        used: the keys of `sources` that they were made from.

    Raises:
        DiskError: the file cannot be written.
    """
    path = folder / "sources.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made_from = {name: sources[name] for name in used}
    with exclusive(path):
        write_json(path, {**read_sources(folder), **dict.fromkeys(names, made_from)})
