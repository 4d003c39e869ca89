"""Manifests: which files make up a prepared task, in which split, with their hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from naslora.core.documents import Document, Sha256, parse_document
from naslora.core.errors import ManifestError
from naslora.core.files import sha256, write_json
from naslora.core.wording import first_of
from naslora.study.settings import Study

SCHEMA_VERSION: Final = 1
_REMEDY = "prepare the task again"


class ManifestArchive(Document):
    """An archive that the task was prepared from.

    `official` is None where no hash is published to compare with.
    """

    file: str
    sha256: Sha256
    bytes: int
    official: bool | None


class ManifestSample(Document):
    """An image and its mask: paths in the prepared folder, size in pixels when upright."""

    id: str
    split: str
    image: str
    mask: str
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    image_sha256: Sha256
    mask_sha256: Sha256


class Manifest(Document):
    """A prepared task. Samples are sorted by id; the file holds no times and no absolute paths.

    `generated` says whether an archive holds generated images. `generated_images` is the number
    that the study generates, None if it generates none. `benchmark_sha256` is the hash of the file
    that defines the benchmark, None for a benchmark of this package.

    The SHA-256 of the file's bytes is "the manifest hash" of receipts and records.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    classes: list[str]
    test_sets: list[str]
    generated: bool
    generated_images: int | None = None
    benchmark_sha256: Sha256 | None = None
    archives: list[ManifestArchive]
    split_seed: int
    samples: list[ManifestSample]

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        ids = [sample.id for sample in self.samples]
        if ids != sorted(set(ids)):
            raise ValueError("samples must be sorted by id, each id once")
        known = set(self.splits)
        if unknown := {sample.split for sample in self.samples} - known:
            raise ValueError(f"unknown splits: {sorted(unknown)}")
        # Some benchmarks, such as Leaf, have no validation images; reduced archives may lack a
        # test set.
        missing = known - {"val"} - {sample.split for sample in self.samples}
        whole = self.generated or all(archive.official for archive in self.archives)
        if missing and (whole or "train" in missing or not self.evaluated):
            raise ValueError(f"splits without samples: {sorted(missing)}")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of all splits: "train", "val" and the test sets, in this order."""
        return tuple(dict.fromkeys(("train", "val", *self.test_sets)))

    @property
    def evaluated(self) -> list[str]:
        """Names of the test sets that have samples, in the benchmark's order."""
        filled = {sample.split for sample in self.samples}
        return [name for name in self.test_sets if name in filled]

    def of(self, split: str) -> list[ManifestSample]:
        """The samples of a split, sorted by id.

        Raises:
            ManifestError: there is no such split.
        """
        if split not in self.splits:
            raise ManifestError(
                f"task {self.task} has no split {split!r}; it has {', '.join(self.splits)}"
            )
        return [sample for sample in self.samples if sample.split == split]

    def verify(self, root: Path) -> None:
        """Check that every file is there; contents are not read.

        Raises:
            ManifestError: files are missing; names the first ten.
        """
        files = [name for sample in self.samples for name in (sample.image, sample.mask)]
        missing = [name for name in files if not (root / name).is_file()]
        if missing:
            raise ManifestError(
                f"{len(missing)} of {len(files)} files of task {self.task} are missing: "
                f"{first_of(missing, 10)}",
                where=root,
                remedy=_REMEDY,
            )


def benchmark_sha256(study: Study, task: str) -> str | None:
    """The hash of the file that a task's benchmark comes from, None for the package's own."""
    return sha256(study.task_files[task]) if task in study.task_files else None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    write_json(path, manifest.model_dump(mode="json"))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestError: it is missing, damaged, or of an unknown schema version.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(
            "manifest not found",
            where=path,
            remedy="run the step that writes it: naslora prepare",
        ) from None
    return parse_document(data, Manifest, path, "manifest", _REMEDY, ManifestError)
