"""Find or download all archives of a study, and list those that are missing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from naslora.core.download import is_connection_failure
from naslora.core.errors import ArchiveError, NasloraError, SettingsError
from naslora.data.archives.catalogue import Archive, find, verify
from naslora.data.archives.pins import repin
from naslora.data.archives.sources import Choice, choose, locate, replacement_hint
from naslora.data.manifest import ManifestArchive
from naslora.study.settings import CONFIG_FOLDER, Study


@dataclass
class Outcome:
    """The result for one archive.

    Attributes:
        tasks: the study's tasks that need it.
        replacement_hint: what can be used in its place, for messages.
        path, record: the file, if there is one that can be used.
        problem: why there is none.
    """

    archive: Archive
    replacement_hint: str | None
    tasks: list[str] = field(default_factory=list)
    path: Path | None = None
    record: ManifestArchive | None = None
    problem: NasloraError | None = None


def needed(study: Study, config: Path = CONFIG_FOLDER) -> list[tuple[Archive, Choice, list[str]]]:
    """Every archive that the study's tasks need, once, and the tasks that need it.

    Raises:
        SettingsError: no such benchmark, or config/archives.yaml is invalid.
        ArchiveError: the archives folder cannot be looked into.
    """
    found: dict[str, tuple[Archive, Choice, list[str]]] = {}
    for task in study.tasks:
        if task not in study.generated:
            choice = choose(study, task, config)
            for archive in choice.archives:
                found.setdefault(archive.key, (archive, choice, []))[2].append(task)
    return list(found.values())


def acquire(
    study: Study,
    config: Path = CONFIG_FOLDER,
    log: Callable[[str], None] = print,
    repinned: Collection[str] = (),
) -> list[Outcome]:
    """Find, download and verify every archive of a study; a problem with one does not stop others.

    Args:
        study: the study; tasks whose images it generates need no archives.
        config: the folder of archives.yaml.
        log: called with a line about each archive.
        repinned: keys of archives whose present file replaces the pinned one.

    Raises:
        SettingsError: no such benchmark, archives.yaml is invalid, or an archive to pin does not
            belong to the study or has a published hash.
        ArchiveError: the archives folder cannot be looked into.
    """
    found = needed(study, config)
    pinnable = {archive.key for archive, _, _ in found if not archive.has_published_hash}
    if unknown := sorted(set(repinned) - pinnable):
        raise SettingsError(
            f"{unknown[0]} is not an archive of study {study.study} that can be pinned",
            remedy=f"choose among {', '.join(sorted(pinnable)) or 'those of another study'}",
        )
    outcomes = []
    silent_hosts = set()
    for archive, choice, tasks in found:
        outcome = Outcome(archive, replacement_hint(choice, study), tasks)
        host = urlsplit(archive.url or "").netloc
        try:
            # Where connections kept failing, further downloads get one attempt each.
            path = locate(choice, archive, study, attempts=1 if host in silent_hosts else 4)
            again = archive.key in repinned
            outcome.record = verify(archive, path, pinned=not again)
            if again:
                repin(path, outcome.record, archive.key)
            outcome.path = path
            log(f"here: {path} ({official_status(archive, outcome.record)})")
        except NasloraError as problem:
            outcome.problem = problem
            if is_connection_failure(problem):
                silent_hosts |= {host} - {""}
            missing = _is_missing(outcome, study)
            log(f"MISSING: {archive.title}" if missing else f"BAD: {problem.what}")
        outcomes.append(outcome)
    return outcomes


def official_status(archive: Archive, record: ManifestArchive) -> str:
    """A few words on whether an archive is the official one."""
    if archive.replaces:
        return "a bundle, not official"
    if record.official is None:
        return "nothing is published to compare with"
    return "official" if record.official else "NOT the official archive"


def check_complete(outcomes: list[Outcome], study: Study, again: str) -> None:
    """Raise one error that lists everything that is missing or unusable.

    Args:
        outcomes: what `acquire` returned.
        study: the study.
        again: the command to run when everything is in place.

    Raises:
        ArchiveError: an archive is missing or unusable.
    """
    bad = [outcome for outcome in outcomes if outcome.problem is not None]
    if bad:
        raise ArchiveError(
            f"{len(bad)} of {len(outcomes)} archives of study {study.study} are missing or "
            f"unusable\n\n{chr(10).join(_described(outcome, study) for outcome in bad)}",
            remedy=f"put each in its place under this very name, then run: {again}",
        )


def _is_missing(outcome: Outcome, study: Study) -> bool:
    return outcome.archive.url is None and find(outcome.archive, study.archives) is None


def _described(outcome: Outcome, study: Study) -> str:
    archive, problem = outcome.archive, outcome.problem
    assert problem is not None
    missing = _is_missing(outcome, study)
    place = (study.archives / archive.file).absolute()
    others = f" (or {', '.join(archive.other_names)})" if archive.other_names else ""
    lines = {
        "problem": "missing; it needs a login or a browser to get" if missing else problem.what,
        "what to do": None if missing else problem.remedy,
        "place": f"{place}{others}" if missing or problem.where is None else str(problem.where),
        "page": archive.page,
        "how": archive.how,
        "contents": archive.layout,
        "terms": archive.licence,
        "cite": archive.citation,
        "or": outcome.replacement_hint,
    }
    shown = [f"    {name + ':':<12}{text}" for name, text in lines.items() if text]
    return "\n".join([f"  {archive.title} (for {', '.join(outcome.tasks)})", *shown, ""])
