"""Pins: hashes of archives at their first use, where no hash is published.

`archives.lock.json`, in the folder of the archives, holds the SHA-256 of the first file of each
name that a task was prepared from. A later preparation from another file is an error. Copy the lock
file along with the archives to apply the same pins on another machine.

An archive is pinned if it is a bundle or has as many pairs as the benchmark. Archives with a
published hash, generated archives and reduced copies are not. A file that is smaller than the
pinned one counts as a reduced copy: it may be used, the manifest says `official: false`, and it is
refused if it turns out to hold the whole benchmark. If a data set was changed on purpose,
`naslora data --repin` pins the new file.

Preparing a task writes its pins; several jobs of the workflow may do so at once. The lock file is
no rule's input or output, so that a new pin reruns nothing. If the folder of archives cannot be
written to, a warning says so, and the images are prepared all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from naslora.core import files
from naslora.core.documents import Sha256
from naslora.core.errors import ArchiveError, DiskError, SettingsError
from naslora.core.locking import exclusive
from naslora.core.validation import Settings
from naslora.data.manifest import ManifestArchive

_log = logging.getLogger(__name__)


class Pin(Settings):
    """Size and hash of an archive file at its first use."""

    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256


# Key of archives.yaml -> file name -> pin. One data set may exist as a RAR and as a zip file.
Pins = dict[str, dict[str, Pin]]
_PINS = TypeAdapter(Pins)


def pin_file(folder: Path) -> Path:
    """The lock file of a folder of archives."""
    return folder / "archives.lock.json"


def read_pins(folder: Path) -> Pins:
    """All pins; none if there is no lock file yet.

    Raises:
        SettingsError: the lock file is damaged.
    """
    path = pin_file(folder)
    try:
        return _PINS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, ValidationError) as error:
        raise SettingsError(
            f"the pins of archives cannot be read: {str(error).splitlines()[0]}",
            where=path,
            remedy="restore this file; without it, the archives that are here now are pinned again",
        ) from None


def check_pin(path: Path, archive: ManifestArchive, key: str) -> bool:
    """Compare an archive with its pin.

    Args:
        path: the file; the lock file lies beside it.
        archive: its record.
        key: its key in archives.yaml.

    Returns:
        Whether it is the pinned file, or there is no pin; False for a smaller file.

    Raises:
        ArchiveError: it is another file, and not smaller.
        SettingsError: the lock file is damaged.
    """
    pin = read_pins(path.parent).get(key, {}).get(path.name)
    if pin is None or archive.sha256 == pin.sha256:
        return True
    if archive.bytes < pin.bytes:
        return False
    raise _changed(path, archive, pin, key)


def pin_all(used: Mapping[str, tuple[Path, ManifestArchive]]) -> list[str]:
    """Pin the archives that a task was prepared from, or compare them with their pins.

    Args:
        used: key to file and record of each archive that has no published hash.

    Returns:
        The keys of new pins, without those that the lock file could not be written for.

    Raises:
        ArchiveError: one of them is not the pinned file.
        SettingsError: the lock file is damaged.
    """
    new = []
    for key, (path, archive) in used.items():
        pin = read_pins(path.parent).get(key, {}).get(path.name)
        if pin is not None and pin.sha256 != archive.sha256:
            raise _changed(path, archive, pin, key)
        if pin is None:
            try:
                new += [key] if _write(path, archive, key, replacing=False) else []
            except DiskError as error:
                _log.warning("%s could not be pinned: %s", path.name, error)
    return new


def repin(path: Path, archive: ManifestArchive, key: str) -> None:
    """Pin a file in place of the one that was pinned under its name.

    Raises:
        DiskError: the lock file cannot be written.
        SettingsError: the lock file is damaged.
    """
    _write(path, archive, key, replacing=True)


def _write(path: Path, archive: ManifestArchive, key: str, *, replacing: bool) -> bool:
    """Write a pin; False if it is there already.

    Raises:
        ArchiveError: another file is pinned, and is not to be replaced.
    """
    lock = pin_file(path.parent)
    wanted = Pin(bytes=archive.bytes, sha256=archive.sha256)
    with files.disk_errors(lock), exclusive(lock):
        pins = read_pins(path.parent)
        pin = pins.get(key, {}).get(path.name)
        if pin == wanted:
            return False
        if pin is not None and not replacing:
            raise _changed(path, archive, pin, key)
        pins.setdefault(key, {})[path.name] = wanted
        files.write_json(lock, _PINS.dump_python(pins, mode="json"))
    _log.warning("pinned %s in %s", path.name, lock)
    return True


def _changed(path: Path, archive: ManifestArchive, pin: Pin, key: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} is not the file that was pinned when it was first used: it has "
        f"{archive.bytes:,} bytes and SHA-256 {archive.sha256[:12]}…, the pinned file "
        f"{pin.bytes:,} bytes and {pin.sha256[:12]}…",
        where=path,
        remedy="put the pinned file back; or, if the change is deliberate, pin this file: "
        f"naslora data --repin {key}, with the study's other options",
    )
