"""The official archives: what they are, where they come from, and whether a file is one of them.

The rule for a file that lies in the archives folder under the official name:

* its SHA-256 is the published one: it is official;
* nothing is published: `official` is unknown (None), and the hash is recorded all the same;
* it has the published size but another hash: damaged, an error;
* it has another size and another hash: if it is a whole archive, it may be used, as reduced
  copies of a data set are; the manifest records it with `official: false`, the user is told, and
  the audit compares its contents with the expected counts. If it is not whole (truncated, a web
  page, another format), it is an error. The checksum of every entry is checked in unpacking.

A file that this module downloads has no such freedom: it is official or an error.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from naslora.data.manifest import ManifestArchive, Sha256
from naslora.data.unpack import archive_format
from naslora.download import Download
from naslora.errors import ArchiveError, SettingsError
from naslora.files import sha256
from naslora.settings import CONFIG_FOLDER, Settings, read_yaml

_log = logging.getLogger(__name__)


class Archive(Settings):
    """An official archive.

    Attributes:
        file: the official file name.
        access: "http" for a plain download, "manual" behind a login or a browser.
        url: address of the file, for http access.
        page: where people read about the set and, for manual access, get it.
        size: bytes of the official file, and its sha256; None where unpublished.
    """

    title: str
    file: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    access: Literal["http", "manual"]
    url: str | None = None
    page: str
    size: Annotated[int, Field(gt=0)] | None = None
    sha256: Sha256 | None = None
    licence: str
    citation: str

    @model_validator(mode="after")
    def _has_url(self) -> Archive:
        if (self.access == "http") != (self.url is not None):
            raise ValueError("http access needs a url, manual access has none")
        return self


def load_archives(config: Path = CONFIG_FOLDER) -> dict[str, Archive]:
    """Read config/archives.yaml.

    Raises:
        SettingsError: it is missing, no valid YAML, or an entry is invalid.
    """
    path = config / "archives.yaml"
    archives = {}
    for key, entry in read_yaml(path).items():
        try:
            archives[key] = Archive.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([key, *map(str, first["loc"])])
            raise SettingsError(f"invalid archive: {place}: {first['msg']}", where=path) from None
    return archives


def obtain(archive: Archive, folder: Path) -> Path:
    """Find an archive in a folder, or download it there if it can be had without a login.

    Raises:
        ArchiveError: it is not there and has to be fetched by hand, or the download failed.
        DiskError: the folder cannot be written to.
    """
    path = folder / archive.file
    try:
        if path.exists():
            return path
    except OSError as error:
        raise ArchiveError(
            f"cannot look for {archive.file}: {error.strerror}", where=path
        ) from error
    if archive.url is None:
        raise ArchiveError(
            f"the archive of {archive.title} is missing, and needs a login or a browser to get "
            f"(terms: {archive.licence})",
            where=path,
            remedy=f"get {archive.file} from {archive.page}, put it there under this very name, "
            "then run the same command again",
        )
    Download(
        url=archive.url,
        target=path,
        error=ArchiveError,
        by_hand=f"get {archive.file} from {archive.page} and put it there",
        size=archive.size,
        sha256=archive.sha256,
        check=lambda file: archive_format(file, name=path),
    ).run()
    return path


def verify(archive: Archive, path: Path) -> ManifestArchive:
    """Tell an official archive from another whole one, by the rule of this module.

    Raises:
        ArchiveError: empty, truncated, a web page, no archive, or damaged.
    """
    try:
        size = path.stat().st_size
        archive_format(path)
        digest = sha256(path)
    except OSError as error:
        raise ArchiveError(
            f"cannot read the archive of {archive.title}: {error.strerror}", where=path
        ) from error
    official = None if archive.sha256 is None else digest == archive.sha256
    if official is False and size == archive.size:
        raise ArchiveError(
            f"{archive.file} is damaged: it has the official size, but another SHA-256 ({digest})",
            where=path,
            remedy=f"delete it and get it again: {archive.url or archive.page}",
        )
    if official is False:
        _log.warning(
            "%s is not the official archive of %s: %d bytes instead of %s; "
            "results will say so (official: false)",
            path,
            archive.title,
            size,
            archive.size or "the published",
        )
    return ManifestArchive(file=archive.file, sha256=digest, bytes=size, official=official)
