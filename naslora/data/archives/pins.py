"""Pins: hashes of archives that were used first, where nobody publishes one.

`archives.lock.json`, beside `archives.yaml`, is to be committed: it holds the SHA-256 of the first
archive of each file name from which a whole benchmark was prepared. Whoever prepares it later, on
this machine or another, has the same file or gets an error.

A pin comes from a real archive whose pairs are as many as the benchmark has; generated archives and
reduced copies are never pinned. A smaller file than the pinned one is taken for a reduced copy and
treated like one of a set with a published hash: it may be used, the manifest says `official:
false`, and it is refused if it turns out to hold the whole benchmark after all.

Preparing writes the pins, also as a job of the workflow, several of which may do so at once. No
rule has the lock file as input or output, so that a new pin reruns nothing. Where the folder of
settings cannot be written to, a warning says so, and the images are prepared all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from naslora.core import files
from naslora.core.errors import ArchiveError, DiskError, SettingsError
from naslora.core.locking import exclusive
from naslora.core.validation import Settings
from naslora.data.manifest import ManifestArchive, Sha256
from naslora.study.settings import CONFIG_FOLDER

_log = logging.getLogger(__name__)


class Pin(Settings):
    """What is known of an archive file since its first use."""

    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256


# Key of archives.yaml -> file name -> pin. One set may be had as a RAR and as a zip file.
Pins = dict[str, dict[str, Pin]]
_PINS = TypeAdapter(Pins)


def pin_file(config: Path = CONFIG_FOLDER) -> Path:
    """The committed lock file."""
    return config / "archives.lock.json"


def read_pins(config: Path = CONFIG_FOLDER) -> Pins:
    """All pins; none if there is no lock file yet.

    Raises:
        SettingsError: the lock file is damaged.
    """
    path = pin_file(config)
    try:
        text = path.read_text(encoding="utf-8")
        # Empty while another process is about to write the first pin.
        return _PINS.validate_python(json.loads(text or "{}"))
    except FileNotFoundError:
        return {}
    except (ValueError, ValidationError) as error:
        raise SettingsError(
            f"the pins of archives cannot be read: {str(error).splitlines()[0]}",
            where=path,
            remedy="take the file from the repository again",
        ) from None


def check_pin(path: Path, archive: ManifestArchive, key: str, config: Path) -> bool:
    """Compare an archive with its pin.

    Args:
        path: the file.
        archive: its record.
        key: its key in archives.yaml.
        config: the folder of the lock file.

    Returns:
        Whether it is the pinned file, or there is no pin; False for a smaller file.

    Raises:
        ArchiveError: it is another file, and not smaller.
        SettingsError: the lock file is damaged.
    """
    pin = read_pins(config).get(key, {}).get(path.name)
    if pin is None or archive.sha256 == pin.sha256:
        return True
    if archive.bytes < pin.bytes:
        return False
    raise _changed(path, archive, pin, key, config)


def pin_all(used: Mapping[str, tuple[Path, ManifestArchive]], config: Path) -> list[str]:
    """Pin the archives that a whole benchmark was prepared from, or compare them with their pins.

    Args:
        used: key to file and record of each archive that has no published hash.
        config: the folder of the lock file.

    Returns:
        The keys of new pins. None where the lock file cannot be written: another may pin them.

    Raises:
        ArchiveError: one of them is not the pinned file.
        SettingsError: the lock file is damaged.
    """
    new = _unpinned(used, read_pins(config), config)
    if not new:
        return []
    path = pin_file(config)
    names = ", ".join(used[key][0].name for key in new)
    try:
        with files.disk_errors(path), exclusive(path):
            pins = read_pins(config)
            for key in _unpinned(used, pins, config):
                file, archive = used[key]
                pin = Pin(bytes=archive.bytes, sha256=archive.sha256)
                pins.setdefault(key, {})[file.name] = pin
            files.write_json(path, _PINS.dump_python(pins, mode="json"))
    except DiskError as error:
        _log.warning("%s could not be pinned: %s", names, error)
        return []
    _log.warning("pinned %s in %s; commit this file", names, path)
    return new


def _unpinned(
    used: Mapping[str, tuple[Path, ManifestArchive]], pins: Pins, config: Path
) -> list[str]:
    new = []
    for key, (path, archive) in used.items():
        pin = pins.get(key, {}).get(path.name)
        if pin is None:
            new.append(key)
        elif archive.sha256 != pin.sha256:
            raise _changed(path, archive, pin, key, config)
    return new


def _changed(
    path: Path, archive: ManifestArchive, pin: Pin, key: str, config: Path
) -> ArchiveError:
    return ArchiveError(
        f"{path.name} is not the file that was pinned when it was first used: it has "
        f"{archive.bytes:,} bytes and SHA-256 {archive.sha256[:12]}…, the pinned file "
        f"{pin.bytes:,} bytes and {pin.sha256[:12]}…",
        where=path,
        remedy=f"put the pinned file back; if the change is deliberate, delete {key}: {path.name} "
        f"in {pin_file(config)} and run the same command again",
    )
