"""The archives: what they are, where they come from, and whether a file is one of them.

The rule for a file in the archives folder under one of an archive's names:

* its hash is the published one: it is official;
* nothing is published: `official` is unknown (None), and the hash is recorded; it is pinned, and a
  later change is an error (see `naslora.data.archives.pins`);
* it has the published size but another hash: damaged, an error;
* it has another size and another hash: if it is a complete archive, it may be used, as reduced
  copies of a data set are; the manifest records it with `official: false`, a warning is logged, and
  the audit compares its contents with the expected counts. If it is not complete (truncated, a web
  page, another format), it is an error. Unpacking checks the checksum of every entry.

A file that this module downloads must be the official one; any other is an error. A bundle (see
`naslora.data.archives.bundles`) is never official.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from naslora.core.documents import Sha256
from naslora.core.download import Download
from naslora.core.errors import ArchiveError
from naslora.core.files import digests
from naslora.core.validation import Settings, readable_errors
from naslora.data.archives.pins import check_pin
from naslora.data.archives.unpack import archive_format
from naslora.data.manifest import ManifestArchive
from naslora.study.sections import Name
from naslora.study.settings import CONFIG_FOLDER, SHIPPED, read_yaml

_log = logging.getLogger(__name__)
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Bytes = Annotated[int, Field(gt=0)]


class Replacement(Settings):
    """How a bundle replaces the archives of a benchmark.

    Attributes:
        tests: maps each test set to the list of its images; if empty, test.csv lists the only one.
        stems: regular expression that matches the names of the benchmark's images, without suffix.
        pairs: how many pairs it holds, where that is not the whole benchmark.
        caveat: why results on it are not those of the benchmark.
    """

    tests: dict[Name, FileName] = Field(default_factory=dict)
    stems: str = ".*"
    pairs: Annotated[int, Field(gt=0)] | None = None
    caveat: str | None = None

    @field_validator("stems")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return value


class Archive(Settings):
    """An archive, official or a bundle.

    Attributes:
        key: its name in archives.yaml.
        file, other_names: the official file name, and others under which it is found too.
        access: "http" for a plain download, "manual" behind a login or a browser.
        url: address of the file, for http access.
        page: web page of the data set, from which it is downloaded by hand for manual access; `how`
            has details.
        size: bytes of the official file, and its sha256 or md5; None where unpublished.
        rough_size: approximate number of bytes, for estimates.
        layout, pairs: its contents, and the number of images, masks or pairs in it.
        folder, replaces: for a bundle, its only folder and the tasks whose archives it can replace.
    """

    key: Name
    title: str
    file: FileName
    other_names: list[FileName] = Field(default_factory=list)
    access: Literal["http", "manual"]
    url: str | None = None
    page: str
    how: str | None = None
    size: Bytes | None = None
    rough_size: Bytes | None = None
    sha256: Sha256 | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    layout: str | None = None
    pairs: Annotated[int, Field(gt=0)] | None = None
    licence: str
    citation: str
    folder: FileName | None = None
    replaces: dict[Name, Replacement] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Archive:
        if (self.access == "http") != (self.url is not None):
            raise ValueError("http access needs a url, manual access has none")
        if bool(self.replaces) != (self.folder is not None):
            raise ValueError("a bundle has both folder and replaces, another archive neither")
        return self

    @property
    def names(self) -> list[str]:
        """All file names, the official one first."""
        return [self.file, *self.other_names]

    @property
    def has_published_hash(self) -> bool:
        return self.sha256 is not None or self.md5 is not None


def load_archives(config: Path = CONFIG_FOLDER) -> dict[str, Archive]:
    """Read the shipped archives.yaml, and that of a folder, whose entries are added or override.

    Raises:
        SettingsError: a file is not valid YAML, or an entry is invalid.
    """
    shipped, own = SHIPPED / "archives.yaml", config / "archives.yaml"
    paths = [shipped, own] if own.is_file() and own.resolve() != shipped.resolve() else [shipped]
    archives = {}
    for path in paths:
        for key, entry in read_yaml(path).items():
            known = entry if isinstance(entry, dict) else {"entry": entry}
            with readable_errors(f"invalid archive {key}", Archive, where=path):
                archives[key] = Archive.model_validate({"key": key, **known})
    return archives


def find(archive: Archive, folder: Path) -> Path | None:
    """Find an archive in a folder, under any of its names; None if it is not there.

    A folder of that name is returned only if there is no file.

    Raises:
        ArchiveError: the folder cannot be looked into.
    """
    try:
        paths = [path for name in archive.names if (path := folder / name).exists()]
        return next((path for path in paths if not path.is_dir()), paths[0] if paths else None)
    except OSError as error:
        raise ArchiveError(
            f"cannot look for {archive.file}: {error.strerror}", where=folder / archive.file
        ) from error


def obtain(
    archive: Archive, folder: Path, replacement_hint: str | None = None, attempts: int = 4
) -> Path:
    """Find an archive in a folder, or download it there if that needs no login.

    Args:
        archive: the archive.
        folder: where it is, or is downloaded to.
        replacement_hint: what can be used in its place, for the message.
        attempts: number of consecutive attempts without a new byte after which a download fails.

    Raises:
        ArchiveError: it is not there and has to be fetched by hand, or the download failed.
        DiskError: the folder cannot be written to.
    """
    if found := find(archive, folder):
        return found
    path = folder / archive.file
    if archive.url is None:
        raise ArchiveError(
            f"the archive of {archive.title} is missing, and needs a login or a browser to get "
            f"(terms: {archive.licence})",
            where=path,
            remedy=f"{by_hand(archive)}, then run the same command again"
            + (f"; or {replacement_hint}" if replacement_hint else ""),
        )

    def check(file: Path) -> None:
        archive_format(file, name=path)
        if archive.md5 is not None and (digest := digests(file, "md5")[0]) != archive.md5:
            raise ArchiveError(
                f"the file at {archive.url} is not the official {archive.file}: its MD5 is "
                f"{digest}, not {archive.md5}",
                where=path,
                remedy=f"run the same command again; or {by_hand(archive)}",
            )

    Download(
        url=archive.url,
        target=path,
        error=ArchiveError,
        by_hand=by_hand(archive),
        size=archive.size,
        sha256=archive.sha256,
        check=check,
        attempts=attempts,
    ).run()
    return path


def by_hand(archive: Archive) -> str:
    """How to get an archive by hand, as an imperative without a full stop."""
    others = f" or as {' or '.join(archive.other_names)}" if archive.other_names else ""
    hint = f" ({archive.how})" if archive.how else ""
    return f"get {archive.file} from {archive.page}{hint} and put it there under this name{others}"


def verify(archive: Archive, path: Path, *, pinned: bool = True) -> ManifestArchive:
    """Decide by this module's rule whether a file is the official archive.

    Args:
        archive: what the file should be.
        path: the file.
        pinned: whether to compare it with its pin, if it has one.

    Raises:
        ArchiveError: empty, truncated, a web page, not an archive, damaged, or not the pinned file.
        SettingsError: the pins cannot be read.
    """
    try:
        size = path.stat().st_size
        archive_format(path)
        sha256, md5 = digests(path, "sha256", "md5" if archive.md5 else "sha256")
    except OSError as error:
        raise ArchiveError(
            f"cannot read the archive of {archive.title}: {error.strerror}", where=path
        ) from error
    official, compared = None, ""
    if archive.sha256 is not None:
        official, compared = sha256 == archive.sha256, f"SHA-256 ({sha256})"
    elif archive.md5 is not None:
        official, compared = md5 == archive.md5, f"MD5 ({md5})"
    if official is False and size == archive.size:
        raise ArchiveError(
            f"{path.name} is damaged: it has the official size, but another {compared}",
            where=path,
            remedy=f"delete it and get it again: {archive.url or archive.page}",
        )
    name = archive.file if archive.replaces else path.name
    found = ManifestArchive(file=name, sha256=sha256, bytes=size, official=official)
    if pinned and official is None and not check_pin(path, found, archive.key):
        official = False
    if official is False:
        _log.warning(
            "%s is not the official archive of %s: it has %d bytes, not %s; "
            "results will say so (official: false)",
            path,
            archive.title,
            size,
            archive.size or "those of the published or pinned file",
        )
    return found.model_copy(update={"official": False if archive.replaces else official})
