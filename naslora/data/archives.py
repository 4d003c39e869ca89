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

import hashlib
import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from naslora.data.manifest import ManifestArchive, Sha256
from naslora.data.unpack import archive_format
from naslora.errors import ArchiveError, SettingsError
from naslora.files import sha256, whole_file
from naslora.settings import CONFIG_FOLDER, Settings, read_yaml

_CHUNK = 1 << 18
_TIMEOUT_S = 60
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
    if archive.access == "manual":
        raise ArchiveError(
            f"the archive of {archive.title} is missing, and needs a login or a browser to get "
            f"(terms: {archive.licence})",
            where=path,
            remedy=f"get {archive.file} from {archive.page}, put it there under this very name, "
            "then run the same command again",
        )
    _download(archive, path)
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


def _download(archive: Archive, path: Path) -> None:
    """Stream a file to `path`, under a temporary name until it is whole and verified."""
    assert archive.url is not None  # the model's validator
    by_hand = (
        f"check the network and run the same command again, or get {archive.file} from "
        f"{archive.page} and put it there"
    )
    digest = hashlib.sha256()
    got = 0
    with whole_file(path) as temporary:
        try:
            response = urllib.request.urlopen(archive.url, timeout=_TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            raise ArchiveError(
                f"cannot download {archive.title} from {urlsplit(archive.url).netloc}: {error}",
                where=path,
                remedy=by_hand,
            ) from error
        with response, temporary.open("wb") as file, _progress() as progress:
            length = response.headers.get("Content-Length")
            total = int(length) if length else archive.size
            task = progress.add_task(archive.file, total=total)
            while True:
                try:
                    chunk = response.read(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise ArchiveError(
                        f"the download of {archive.file} broke off after {got} bytes: {error}",
                        where=path,
                        remedy=by_hand,
                    ) from error
                if not chunk:
                    break
                file.write(chunk)
                digest.update(chunk)
                got += len(chunk)
                progress.update(task, completed=got)
        if total is not None and got < total:
            raise ArchiveError(
                f"the download of {archive.file} broke off after {got} of {total} bytes",
                where=path,
                remedy=by_hand,
            )
        archive_format(temporary, name=path)
        if archive.sha256 is not None and digest.hexdigest() != archive.sha256:
            raise ArchiveError(
                f"the file at {archive.url} is not the official {archive.file}: "
                f"its SHA-256 is {digest.hexdigest()}, not {archive.sha256}",
                where=path,
                remedy=f"see {archive.page} for a new version, and do not use this one unchecked",
            )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
