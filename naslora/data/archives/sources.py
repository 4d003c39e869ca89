"""The choice of a task's files: generated ones, the official archives, or a bundle.

A bundle replaces official archives of which at least one is missing, if

* the study lists the task in `bundles`: the bundle is found in the archives folder, or downloaded;
* or the bundle lies in the archives folder, and an official archive that is missing needs a login;
* or the bundle lies there under the name of an official archive.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from naslora.core.errors import SettingsError
from naslora.core.files import sha256
from naslora.data.archives.bundles import bundle_for, find_bundle, from_bundle, is_bundle
from naslora.data.archives.catalogue import Archive, find, load_archives, obtain, verify
from naslora.data.benchmarks.contract import Benchmark, get_benchmark
from naslora.data.manifest import ManifestArchive
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study

_log = logging.getLogger(__name__)
# Key of archives.yaml -> the file and its record.
Files = dict[str, tuple[Path, ManifestArchive]]


@dataclass(frozen=True)
class Choice:
    """The files that a task is prepared from.

    Attributes:
        benchmark: the benchmark; with the images and split of the bundle if it is one.
        archives: what it needs.
        bundle: the bundle among `archives`, or one that could be used instead; None if there is
            neither.
    """

    benchmark: Benchmark
    archives: list[Archive]
    bundle: Archive | None

    @property
    def is_bundle(self) -> bool:
        return self.bundle in self.archives

    @property
    def pairs(self) -> int:
        """The number of pairs of the whole benchmark, or of the bundle."""
        known = self.bundle.replaces[self.benchmark.name].pairs if self.bundle else None
        whole = sum(self.benchmark.expected.values())
        return known if self.is_bundle and known is not None else whole

    @property
    def caveat(self) -> str | None:
        """Why results on the bundle are not those of the benchmark."""
        return self.bundle.replaces[self.benchmark.name].caveat if self.bundle else None


def choose(
    study: Study, task: str, config: Path = CONFIG_FOLDER, recorded: Collection[str] = ()
) -> Choice:
    """Choose between the official archives and a bundle, by the files in the archives folder.

    Args:
        study: the study.
        task: the task.
        config: the folder of archives.yaml.
        recorded: archive files that the task was prepared from earlier; a bundle among them is
            chosen even if it is missing now.

    Raises:
        SettingsError: no such benchmark, or config/archives.yaml is invalid or incomplete.
        ArchiveError: the archives folder cannot be looked into.
    """
    benchmark = get_benchmark(task)
    known = load_archives(config)
    if unknown := [key for key in benchmark.archives if key not in known]:
        raise SettingsError(
            f"no archive {unknown[0]!r}, which {benchmark.title} is made of",
            where=config / "archives.yaml",
        )
    official = [known[key] for key in benchmark.archives]
    bundle = bundle_for(task, known.values())
    if task in study.generated:
        bundle = None
    if bundle is not None and _prefers(study, task, official, bundle, recorded):
        return Choice(from_bundle(benchmark, bundle), [bundle], bundle)
    return Choice(benchmark, official, bundle)


def _prefers(
    study: Study, task: str, official: list[Archive], bundle: Archive, recorded: Collection[str]
) -> bool:
    found = {archive.key: find(archive, study.archives) for archive in official}
    if any(path is not None and is_bundle(path, bundle) for path in found.values()):
        return True
    missing = [archive for archive in official if found[archive.key] is None]
    if not missing:
        return False
    if task in study.bundles or bundle.file in recorded:
        return True
    by_hand = any(archive.access == "manual" for archive in missing)
    return by_hand and find_bundle(bundle, study.archives) is not None


def locate(choice: Choice, archive: Archive, study: Study, attempts: int = 4) -> Path:
    """The file of a chosen archive, which is downloaded if it is missing and can be.

    Args:
        choice: the choice that the archive is part of.
        archive: the archive.
        study: the study.
        attempts: number of consecutive attempts without a new byte after which a download fails.

    Raises:
        ArchiveError: it is not there and has to be fetched by hand, or the download failed.
        DiskError: the archives folder cannot be written to.
    """
    if choice.is_bundle and (path := find_bundle(archive, study.archives)):
        return path
    return obtain(archive, study.archives, replacement_hint(choice, study), attempts)


def replacement_hint(choice: Choice, study: Study) -> str | None:
    """What to do without an official archive, as an imperative without a full stop."""
    if choice.bundle is None or choice.is_bundle:
        return None
    tasks = ",".join([*study.bundles, choice.benchmark.name])
    warning = choice.caveat or "results will say that it is not official"
    return f"use {choice.bundle.title}, without a login: --set bundles=[{tasks}] ({warning})"


def collect(choice: Choice, study: Study) -> Files:
    """Find or download, and verify, everything that a task is prepared from.

    Raises:
        ArchiveError: an archive is missing, damaged, or not what was pinned.
        SettingsError: the pins cannot be read.
        DiskError: the archives folder cannot be written to.
    """
    task = choice.benchmark.name
    paths = {archive.key: locate(choice, archive, study) for archive in choice.archives}
    if choice.is_bundle:
        why = f": {choice.caveat}" if choice.caveat else ""
        _log.warning("%s: prepared from %s%s", task, choice.archives[0].title, why)
    return {a.key: (paths[a.key], verify(a, paths[a.key])) for a in choice.archives}


def generated_files(choice: Choice, study: Study) -> Files:
    """The archives that the study has generated for a task, with their hashes."""
    folder = Layout.of(study).archives / choice.benchmark.name
    files: Files = {}
    for archive in choice.archives:
        path = find(archive, folder) or folder / archive.file
        size = path.stat().st_size
        record = ManifestArchive(file=path.name, sha256=sha256(path), bytes=size, official=False)
        files[archive.key] = (path, record)
    return files
