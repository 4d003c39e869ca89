"""From archives to a prepared task: find or generate, verify, unpack, audit, split, manifest."""

from __future__ import annotations

import logging
from pathlib import Path

from naslora.data.archives import Archive, load_archives, obtain, verify
from naslora.data.audit import Audit, Source, audit
from naslora.data.audit_report import audit_json, audit_markdown
from naslora.data.benchmark import Benchmark, get_benchmark
from naslora.data.generator import generated_mark
from naslora.data.manifest import Manifest, ManifestArchive, ManifestSample, write_manifest
from naslora.data.unpack import unpack, whole_folder
from naslora.errors import SettingsError
from naslora.files import sha256, write_json, write_text
from naslora.layout import Layout
from naslora.settings import CONFIG_FOLDER, Study

# Far from the small seeds of pretraining, which draws from the same generators.
_GENERATOR_SEED = 1_000_003
_log = logging.getLogger(__name__)


def generate_archives(study: Study, task: str) -> list[Path]:
    """Generate the archives of a task that the study lists in `generated`.

    The same study gives the same bytes; archives that hold them already are not touched. Each
    says in its comment that it is generated, wherever it is found later.

    Raises:
        SettingsError: the study generates no such task, or no such benchmark exists.
        DiskError: the folder cannot be written to.
    """
    if task not in study.generated:
        raise SettingsError(
            f"study {study.study} generates no images for {task}",
            remedy=f"set generated.{task} to a number of images",
        )
    folder = Layout.of(study).archives / task
    return get_benchmark(task).generate(folder, study.generated[task], _GENERATOR_SEED)


def prepare(study: Study, task: str, config: Path = CONFIG_FOLDER) -> Manifest:
    """Prepare a task: its unpacked archives, its audit report and, last, its manifest.

    Preparing again gives the same files. After an error the old results are as they were; when
    the new ones differ, the old manifest goes before the first of them is replaced, so that a
    manifest never describes files of another preparation.

    Raises:
        SettingsError: no such benchmark, or config/archives.yaml is invalid.
        ArchiveError: an archive is missing, damaged or unsafe.
        AuditError: images and masks do not form a usable data set. The full report is then in
            the study's logs.
        DiskError: a folder cannot be written to.
    """
    layout = Layout.of(study)
    benchmark = get_benchmark(task)
    used = _archives(study, benchmark, config)
    generated = any(generated_mark(path) for _, path, _ in used)
    root = layout.prepared(task)
    with whole_folder(root) as folder:
        for key, path, _ in used:
            unpack(path, folder / key)
        source = _source(generated, [archive for _, _, archive in used])
        listing = benchmark.samples(folder)
        result = audit(benchmark, folder, listing, study.data.split_seed, source)
        log = layout.log("audit", task)
        if result.errors:
            write_text(log, audit_markdown(result))
            result.check(used[0][1], log)
        manifest = _manifest(result, [archive for _, _, archive in used], study, generated)
        layout.manifest(task).unlink(missing_ok=True)
    _report(result)
    write_json(layout.audit(task), audit_json(result))
    write_text(layout.audit(task).with_suffix(".md"), audit_markdown(result))
    write_manifest(layout.manifest(task), manifest)
    return manifest


def _archives(
    study: Study, benchmark: Benchmark, config: Path
) -> list[tuple[str, Path, ManifestArchive]]:
    """Key, file and hash of every archive of a benchmark, generated or found."""
    known = load_archives(config)
    if unknown := [key for key in benchmark.archives if key not in known]:
        raise SettingsError(
            f"no archive {unknown[0]!r}, which {benchmark.title} is made of",
            where=config / "archives.yaml",
        )
    archives = {key: known[key] for key in benchmark.archives}
    if benchmark.name in study.generated:
        folder = Layout.of(study).archives / benchmark.name
        generate_archives(study, benchmark.name)
        return [(key, folder / a.file, _generated(a, folder)) for key, a in archives.items()]
    paths = {key: obtain(archive, study.archives) for key, archive in archives.items()}
    return [(key, path, verify(archives[key], path)) for key, path in paths.items()]


def _generated(archive: Archive, folder: Path) -> ManifestArchive:
    path = folder / archive.file
    return ManifestArchive(
        file=archive.file, sha256=sha256(path), bytes=path.stat().st_size, official=False
    )


def _source(generated: bool, archives: list[ManifestArchive]) -> Source:
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
    if result.source == "other":
        _log.warning(
            "%s: not the official archives: %d of %d pairs",
            result.benchmark.title,
            len(result.pairs),
            total,
        )
    for finding in result.oddities:
        _log.info("%s: %s (%d)", result.benchmark.title, finding.text, len(finding.items))
