"""How each result was made, kept beside the results, so that copies of them need not be remade.

Snakemake decides what to run by times of files and by its notes about the jobs that made them, in
`.snakemake`. A copy of the results (`dvc pull`, rsync) has the times of the copying, and no notes.
So the pipeline keeps what matters of the notes as JSON files among the results, and takes it back
from there: what is a copy counts as what it is a copy of, and a setting that has changed since
reruns what depends on it, as it would have where the results were made.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from naslora.core.errors import RecordError
from naslora.core.files import canonical_json, sha256, write_json
from naslora.study.layout import Layout

# The folders of results that are worth a copy, by part of the pipeline.
PARTS = {
    "data": ("archives", "manifests"),
    "runs": ("backbone", "runs", "records"),
    "tables": ("tables", "metrics"),
    "figures": ("figures",),
}
# Not everyone who copies results may have these: they hold images, or show them.
_IMAGES, _REPORT = "prepared", "report.html"
_PART_OF = {folder: part for part, folders in PARTS.items() for folder in folders}
_PART_OF |= {_IMAGES: "data", _REPORT: "report"}
_ALL_PARTS = (*PARTS, "report")
# Of Snakemake's notes about a file, what decides whether it is made again. The same for all files
# of a job, and for all machines.
_KEPT = (
    "rule",
    "input",
    "params",
    "code",
    "record_format_version",
    "container_img_url",
    "software_stack_hash",
    "input_checksums",
)
_NAME_LENGTH = 254
_Note = dict[str, Any]


class Notes:
    """Snakemake's notes about files: JSON files that are named for the file's path, in Base64.

    A name that is too long for the file system is cut into folders, all but the last marked by @.
    """

    def __init__(self, snakemake: Path):
        self._root = snakemake / "metadata"
        self._unfinished = snakemake / "incomplete"

    def read(self, path: str) -> _Note | None:
        """The note about a file; None if there is none, or if one of both is unfinished."""
        name = self._name(path)
        try:
            note = json.loads((self._root / name).read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if (self._unfinished / name).exists():
            return None
        return {key: note.get(key) for key in _KEPT}

    def write(self, path: str, note: _Note) -> None:
        """Write the note about a file, which is finished."""
        name = self._name(path)
        file = self._root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**note, "incomplete": False}), encoding="utf-8")
        (self._unfinished / name).unlink(missing_ok=True)

    def paths(self) -> Iterator[str]:
        """The files that there are notes about."""
        for folder, _, names in os.walk(self._root):
            parts = Path(folder).relative_to(self._root).parts
            for name in names:
                encoded = "".join(part.removeprefix("@") for part in (*parts, name))
                yield urlsafe_b64decode(encoded).decode()

    def _name(self, path: str) -> Path:
        encoded = urlsafe_b64encode(path.encode()).decode()
        parts = [encoded[i : i + _NAME_LENGTH] for i in range(0, len(encoded), _NAME_LENGTH)]
        return Path(*(f"@{part}" for part in parts[:-1]), parts[-1])


class History:
    """The notes about a study's results.

    Args:
        layout: of the study. Each part of the pipeline has a file of its own, so that a copy of
            its results can have it too.
        snakemake: Snakemake's folder.
    """

    def __init__(self, layout: Layout, snakemake: Path = Path(".snakemake")):
        self._layout = layout
        self._notes = Notes(snakemake)
        self._seen = snakemake / "history" / f"{layout.root.name}.json"

    def settle(self) -> None:
        """Before jobs are chosen: give Snakemake the notes about files that were copied here.

        A note is taken for a file with the very content that it was written for, and for images
        that are not here. After a run that was killed, notes are written as at its end.

        Raises:
            RecordError: a file of notes is damaged.
            DiskError: a file cannot be written.
        """
        files, seen = self._digests(), self._read_seen()
        if files == seen:
            return
        for job in (job for part in files for job in self._read(part)):
            note = {key: job.get(key) for key in _KEPT}
            for path, digest in job["outputs"].items():
                name = self._name(path)
                if name not in _PART_OF or self._notes.read(path) == note:
                    continue
                if _digest(Path(path)) == digest if name != _IMAGES else not Path(path).exists():
                    self._notes.write(path, note)
        if seen is None:
            self.keep()
        else:
            self._write_seen()

    def forget(self) -> None:
        """When jobs begin: what is written here does not hold until `keep` is called."""
        self._seen.unlink(missing_ok=True)

    def keep(self) -> None:
        """When jobs have ended: write the notes about all results that are here.

        Raises:
            DiskError: a file cannot be written.
        """
        found: dict[str, dict[str, tuple[_Note, dict[str, str | None]]]] = defaultdict(dict)
        for path in sorted(self._notes.paths()):
            name = self._name(path)
            if name not in _PART_OF or (note := self._notes.read(path)) is None:
                continue
            digest = None if name == _IMAGES else _digest(Path(path))
            if digest is not None or name == _IMAGES:
                of_part = found[_PART_OF[name]]
                of_part.setdefault(canonical_json(note), (note, {}))[1][path] = digest
        if not found:
            return
        for part in _ALL_PARTS:
            jobs = [{**note, "outputs": outputs} for note, outputs in found[part].values()]
            file = self._layout.history(part)
            if not file.is_file() or self._read(part) != jobs:
                write_json(file, jobs)
        self._write_seen()

    def _name(self, path: str) -> str:
        """The folder of results that a path is in, or the file itself; empty for other paths."""
        root = f"{self._layout.root}/"
        return path.removeprefix(root).split("/")[0] if path.startswith(root) else ""

    def _read(self, part: str) -> list[_Note]:
        path = self._layout.history(part)
        try:
            jobs: list[_Note] = json.loads(path.read_bytes())
            if not all(isinstance(job["outputs"], dict) for job in jobs):
                raise TypeError("outputs are no mapping")
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(
                f"this history of results is damaged: {error}",
                where=path,
                remedy="copy it again, or delete it",
            ) from None
        return jobs

    def _digests(self) -> dict[str, str]:
        files = {part: self._layout.history(part) for part in _ALL_PARTS}
        return {part: sha256(file) for part, file in files.items() if file.is_file()}

    def _read_seen(self) -> dict[str, str] | None:
        try:
            seen: dict[str, str] = json.loads(self._seen.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return seen

    def _write_seen(self) -> None:
        self._seen.parent.mkdir(parents=True, exist_ok=True)
        self._seen.write_text(json.dumps(self._digests()), encoding="utf-8")


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, or of a folder's files but for hidden ones; None if it is not there."""
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return None
    whole = hashlib.sha256()
    for file in sorted(path.rglob("[!.]*")):
        if file.is_file():
            whole.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode())
    return whole.hexdigest()
