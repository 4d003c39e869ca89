"""Preparing a task: find or generate archives, verify, unpack, audit, split, write the manifest."""

from __future__ import annotations

import logging
from pathlib import Path

from naslora.core.errors import ManifestError
from naslora.core.files import disk_errors, whole_folder, write_json, write_text
from naslora.core.locking import exclusive
from naslora.data.archives.bundles import recode_masks
from naslora.data.archives.pins import pin_all
from naslora.data.archives.sources import Choice, Files, choose, collect, generated_files
from naslora.data.archives.unpack import unpack
from naslora.data.audit.checks import Audit, Source, audit, describe
from naslora.data.audit.report import audit_json, audit_markdown
from naslora.data.benchmarks.contract import Benchmark
from naslora.data.benchmarks.listing import Finding, Listing
from naslora.data.generated import generate_archives
from naslora.data.manifest import (
    Manifest,
    ManifestArchive,
    ManifestSample,
    benchmark_sha256,
    write_manifest,
)
from naslora.data.own.benchmark import OwnData
from naslora.study.layout import Layout
from naslora.study.settings import CONFIG_FOLDER, Study
from naslora.synthetic.archive import generated_mark

_log = logging.getLogger(__name__)


def prepare(study: Study, task: str, config: Path = CONFIG_FOLDER) -> Manifest:
    """Prepare a task: its unpacked archives, its audit report and, last, its manifest.

    Preparing again gives the same files. After an error the old results are unchanged. The old
    manifest is deleted before the first file is replaced, so that a manifest never describes files
    of another preparation.

    Raises:
        SettingsError: no such benchmark, or config/archives.yaml is invalid.
        ArchiveError: an archive is missing, damaged or unsafe.
        AuditError: images and masks do not form a usable data set. The full report is then in
            the study's logs.
        DiskError: a folder cannot be written to.
    """
    layout = Layout.of(study)
    choice = choose(study, task, config)
    benchmark = choice.benchmark
    used = _files(choice, study, config)
    generated = any(generated_mark(path) for path, _ in used.values())
    root = layout.prepared(task)
    with whole_folder(root) as folder:
        listing, archives = _filled(choice, used, folder)
        source = _source(benchmark, generated, archives)
        result = audit(benchmark, folder, listing, study.data.split_seed, source)
        log = layout.log("audit", task)
        if result.errors:
            write_text(log, audit_markdown(result))
            result.check(_where(benchmark, used), log)
        if used and not generated and (choice.is_bundle or len(result.pairs) == choice.pairs):
            unpublished = {a.key for a in choice.archives if not a.has_published_hash}
            pin_all({key: used[key] for key in used if key in unpublished})
        manifest = _manifest(result, archives, study, generated)
        layout.manifest(task).unlink(missing_ok=True)
    _report(result)
    write_json(layout.audit(task), audit_json(result))
    write_text(layout.audit(task).with_suffix(".md"), audit_markdown(result))
    write_manifest(layout.manifest(task), manifest)
    return manifest


def prepared_images(study: Study, manifest: Manifest, config: Path = CONFIG_FOLDER) -> Path:
    """The folder of a task's images, which are unpacked again if only their manifest exists.

    Copies of results come without images. Of several processes that call this, one unpacks and the
    others wait.

    Raises:
        SettingsError: config/archives.yaml is invalid.
        ArchiveError: an archive is missing, damaged or unsafe.
        ManifestError: the archives are not those that the manifest was made from.
        DiskError: a folder cannot be written to.
    """
    root = Layout.of(study).prepared(manifest.task)
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(root), exclusive(root):
        if not root.is_dir():
            _log.warning("%s: only the manifest is here; unpacking the images", manifest.task)
            choice = choose(study, manifest.task, config, {a.file for a in manifest.archives})
            used = _files(choice, study, config)
            _check_same(manifest, [archive for _, archive in used.values()], study)
            with whole_folder(root) as folder:
                _, archives = _filled(choice, used, folder)
                _check_same(manifest, archives, study)
                manifest.verify(folder)
    return root


def _check_same(manifest: Manifest, archives: list[ManifestArchive], study: Study) -> None:
    """Compare archives with those of a manifest; user-supplied images are compared after copying.

    Raises:
        ManifestError: they differ.
    """
    found = sorted(archive.sha256 for archive in archives)
    if found and found != sorted(archive.sha256 for archive in manifest.archives):
        raise ManifestError(
            f"the archives of {manifest.task} are not those of its manifest",
            where=Layout.of(study).manifest(manifest.task),
            remedy=f"bring the archives back: {_names(manifest)}; or prepare the task again",
        )


def _names(manifest: Manifest) -> str:
    return ", ".join(f"{a.file} (SHA-256 {a.sha256[:12]}…)" for a in manifest.archives)


def _filled(choice: Choice, used: Files, folder: Path) -> tuple[Listing, list[ManifestArchive]]:
    """Unpack all archives of a task to a folder, or copy user-supplied images; list what is there.

    Returns:
        The listing, and the records of the archives or of the source.
    """
    if isinstance(choice.benchmark, OwnData):
        source = choice.benchmark.import_pairs(folder)
        return choice.benchmark.samples(folder), [source]
    from_mac = []
    for key, (path, _) in used.items():
        unpacked = unpack(path, folder / key)
        if unpacked.from_mac:
            from_mac.append(f"{unpacked.from_mac} in {path.name}")
    listing = choice.benchmark.samples(folder)
    if from_mac:
        text = "files that macOS adds to archives (__MACOSX, ._*), ignored"
        listing.findings.append(Finding("from_mac", "oddity", text, from_mac))
    if choice.is_bundle:
        samples, findings = recode_masks(choice.benchmark, folder, listing.samples)
        listing = Listing(samples, [*listing.findings, *findings], listing.left_out)
    return listing, [archive for _, archive in used.values()]


def _files(choice: Choice, study: Study, config: Path) -> Files:
    """File and hash of every archive of a task, generated or found."""
    if choice.benchmark.name not in study.generated:
        return collect(choice, study)
    generate_archives(study, choice.benchmark.name, config)
    return generated_files(choice, study)


def _where(benchmark: Benchmark, used: Files) -> Path:
    """The archive, or the source of user-supplied images, for messages."""
    if isinstance(benchmark, OwnData):
        return benchmark.description.data
    return next(path for path, _ in used.values())


def _source(benchmark: Benchmark, generated: bool, archives: list[ManifestArchive]) -> Source:
    if isinstance(benchmark, OwnData):
        return "own"
    if generated:
        return "generated"
    if any(archive.official is False for archive in archives):
        return "other"
    return "official" if all(archive.official for archive in archives) else "unknown"


def _manifest(
    result: Audit, archives: list[ManifestArchive], study: Study, generated: bool
) -> Manifest:
    split_of = {id_: split for split, ids in result.splits.items() for id_ in ids}
    return Manifest(
        task=result.benchmark.name,
        classes=list(result.benchmark.classes),
        test_sets=list(result.benchmark.test_sets),
        generated=generated,
        generated_images=study.generated.get(result.benchmark.name),
        benchmark_sha256=benchmark_sha256(study, result.benchmark.name),
        archives=archives,
        split_seed=study.data.split_seed,
        samples=[
            ManifestSample(
                id=pair.sample.id,
                split=split_of[pair.sample.id],
                image=pair.sample.image,
                mask=pair.sample.mask,
                width=pair.width,
                height=pair.height,
                image_sha256=pair.image_sha256,
                mask_sha256=pair.mask_sha256,
            )
            for pair in result.pairs
        ],
    )


def _report(result: Audit) -> None:
    total = sum(result.benchmark.expected.values())
    if result.source == "own":
        for finding in result.oddities:
            _log.warning("%s: %s", result.benchmark.title, describe(finding, named=3))
    if result.source == "other":
        _log.warning(
            "%s: not the official archives: %d of %d pairs",
            result.benchmark.title,
            len(result.pairs),
            total,
        )
