"""Checks of a study's archives and of its SAM checkpoint."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from naslora.core.errors import CheckpointError, NasloraError
from naslora.core.files import gigabytes, sha256
from naslora.data.archives.acquire import official_status
from naslora.data.archives.bundles import find_bundle
from naslora.data.archives.catalogue import Archive, find, verify
from naslora.data.archives.pins import Pin, read_pins
from naslora.data.archives.sources import Choice, choose
from naslora.data.archives.unpack import archive_format, file_names
from naslora.data.manifest import read_manifest
from naslora.doctor.check import Check, short
from naslora.results.freshness import Freshness
from naslora.sam.backbones import BACKBONES
from naslora.sam.file_head import check_file_head
from naslora.sam.official import check_hash, find_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study

# A file smaller than this share of the approximate size is not complete.
_REDUCED = 0.8


def data_checks(study: Study, verifying: bool, config: Path = CONFIG_FOLDER) -> list[Check]:
    """Checks of every task's images.

    Args:
        study: the study.
        verifying: whether to read the archives whole, for their hashes.
        config: the folder of archives.yaml.

    Raises:
        SettingsError: no such benchmark, or a file in `config` is invalid.
    """
    checks, fresh = [], Freshness(study, config)
    for task in study.tasks:
        try:
            checks += _task(study, task, verifying, config, fresh)
        except NasloraError as error:
            checks.append(Check.of("data", task, error))
    return checks


def _task(study: Study, task: str, verifying: bool, config: Path, fresh: Freshness) -> list[Check]:
    layout = Layout.of(study)
    if task in study.generated:
        finding = f"{study.generated[task]} images are generated here; no archive is needed"
        return [Check("data", task, "note", finding)]
    checks = []
    recorded: list[str] = []
    prepared = layout.manifest(task).is_file() and layout.prepared(task).is_dir()
    evaluated = not prepared and _is_evaluated(study, task, fresh)
    if prepared:
        manifest = read_manifest(layout.manifest(task))
        recorded = [archive.file for archive in manifest.archives]
        finding = f"prepared: {len(manifest.samples)} images"
        if manifest.generated or any(a.official is False for a in manifest.archives):
            what = "generated" if manifest.generated else "not the official archives"
            checks.append(Check("data", task, "warning", f"{finding}, {what}"))
        else:
            checks.append(Check("data", task, "ok", finding))
    elif evaluated:
        checks.append(Check("data", task, "ok", "all runs are done, without their images here"))
    choice = choose(study, task, config, recorded)
    for archive in choice.archives:
        check = _archive(choice, archive, study, verifying)
        if (prepared or evaluated) and check.state == "problem":
            why = "while the task is prepared" if prepared else "for runs that are done"
            finding = f"{check.finding}; not needed {why}"
            check = Check("data", check.name, "warning", finding, check.remedy)
        checks.append(check)
    return checks


def _is_evaluated(study: Study, task: str, fresh: Freshness) -> bool:
    """Whether nothing is left to train or evaluate on a task, as in a copy of results."""
    runs = [run for run in study.runs() if run[0] == task]
    return fresh.controls(task) and all(fresh.record(*run) for run in runs)


def _archive(choice: Choice, archive: Archive, study: Study, verifying: bool) -> Check:
    name = archive.title
    path = find_bundle(archive, study.archives) if choice.is_bundle else None
    path = path or find(archive, study.archives)
    if path is None:
        return _missing(choice, archive, study)
    try:
        pin = read_pins(path.parent).get(archive.key, {}).get(path.name)
        # A file larger than its pin is another file; `verify` gives the details.
        if verifying or (pin is not None and path.stat().st_size > pin.bytes):
            record = verify(archive, path)
            kind = official_status(archive, record)
            bad = record.official is False
            finding = f"{short(path)}, {gigabytes(record.bytes)}, {kind}"
        else:
            kind, bad = _glance(archive, path, pin)
            finding = f"{short(path)}, {gigabytes(path.stat().st_size)}{kind}"
        next(file_names(path), None)  # a RAR file may need a program that is not installed
    except OSError as error:
        return Check("data", name, "problem", f"{short(path)}: {error.strerror}")
    except NasloraError as error:
        return Check.of("data", name, error)
    if choice.caveat and choice.is_bundle:
        finding = f"{finding}; {choice.caveat}"
    return Check("data", name, "warning" if bad else "ok", finding)


def _glance(archive: Archive, path: Path, pin: Pin | None) -> tuple[str, bool]:
    """Compare size and format, not the hash; returns a remark, and whether to warn."""
    size = path.stat().st_size
    archive_format(path)
    wanted = archive.size or (pin.bytes if pin else None)
    if archive.replaces:
        return ", a bundle, not official", True
    if wanted is not None and size != wanted:
        whose = "official" if archive.size else "pinned"
        return f" instead of {gigabytes(wanted)}: not the {whose} archive", True
    if wanted is None and archive.rough_size and size < _REDUCED * archive.rough_size:
        return f" instead of about {gigabytes(archive.rough_size)}: a reduced copy?", True
    return "", False


def _missing(choice: Choice, archive: Archive, study: Study) -> Check:
    if archive.url is not None:
        size = archive.size or archive.rough_size
        much = f", {'' if archive.size else 'about '}{gigabytes(size)}" if size else ""
        finding = f"not here; will be downloaded from {urlsplit(archive.url).netloc}{much}"
        return Check("data", archive.title, "note", finding)
    place = short(study.archives / archive.file)
    others = f" (or {', '.join(archive.other_names)})" if archive.other_names else ""
    remedy = f"get it from {archive.page} and put it there; naslora data says how"
    if choice.bundle is not None:
        remedy += f", and what {choice.bundle.title} offers instead without a login"
    finding = f"missing: {place}{others}; terms: {archive.licence}"
    return Check("data", archive.title, "problem", finding, remedy)


def checkpoint_check(study: Study, verifying: bool) -> Check:
    """Check of the weights that the study starts from."""
    sam = study.sam
    name = f"SAM {sam.backbone}"
    if sam.checkpoint == "pretrained":
        here = Layout.of(study).backbone().is_file()
        finding = "is here" if here else f"will be trained in {study.pretraining.steps} steps"
        return Check("model", name, "ok" if here else "note", f"own small backbone, {finding}")
    if sam.checkpoint == "random":
        return Check("model", name, "warning", "random weights, as sam.checkpoint says")
    known = BACKBONES[sam.backbone].checkpoint
    try:
        path = find_checkpoint(sam.checkpoint, sam.backbone, sam.checkpoints)
    except CheckpointError as error:
        if sam.checkpoint != "official" or known is None:
            return Check.of("model", name, error)
        finding = f"not here; {known.name} will be downloaded, {gigabytes(known.bytes)}"
        return Check("model", name, "note", finding)
    size = path.stat().st_size
    finding = f"{short(path)}, {gigabytes(size)}"
    if known is not None and sam.checkpoint == "official" and size != known.bytes:
        finding = f"{finding}, {size:,} bytes instead of {known.bytes:,}: truncated or another file"
        return Check("model", name, "problem", finding, "delete it and run naslora fetch")
    try:
        check_file_head(path, sam.checkpoints)
        if verifying:
            check_hash(path, sha256(path), sam.checkpoints)
    except CheckpointError as error:
        return Check.of("model", name, error)
    except OSError as error:
        return Check("model", name, "problem", f"{short(path)}: {error.strerror}")
    return Check("model", name, "ok", finding)
