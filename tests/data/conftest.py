from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from naslora.data.archives.catalogue import Archive, find, load_archives
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.prepare import prepare
from naslora.study.layout import Layout
from naslora.study.records import read_record
from naslora.study.settings import Study, load_study

ROOT = Path(__file__).parents[2]
Files = dict[str, bytes]


def encode(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pair(index: int, size: tuple[int, int] = (24, 20)) -> tuple[bytes, bytes]:
    """JPEG bytes of a noise image and of a mask with one white rectangle; size is (W, H)."""
    width, height = size
    rng = np.random.default_rng(index)
    image = rng.integers(0, 255, (height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[4:12, 3:11] = 255
    return encode(image), encode(mask)


def kvasir_files(count: int = 12) -> Files:
    files = {}
    for index in range(count):
        image, mask = pair(index)
        files[f"Kvasir-SEG/images/id{index:02}.jpg"] = image
        files[f"Kvasir-SEG/masks/id{index:02}.jpg"] = mask
    return files


def zipped(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def unzipped(path: Path) -> Files:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def tree(folder: Path) -> list[str]:
    """Every file and folder below, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The helpers above, which test modules cannot import from here."""
    return SimpleNamespace(
        root=ROOT,
        encode=encode,
        pair=pair,
        kvasir_files=kvasir_files,
        zipped=zipped,
        unzipped=unzipped,
        tree=tree,
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study that looks for archives in tmp_path/archives and writes to tmp_path/results."""
    (tmp_path / "archives").mkdir()
    places = {"archives": tmp_path / "archives", "results": tmp_path / "results"}
    return load_study("sample", places, ROOT / "config")


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archives.yaml with one entry, kvasir_seg, and returns its folder."""

    def write(**changes: object) -> Path:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        entry = {**KVASIR, **changes}
        text = yaml.safe_dump({"kvasir_seg": {k: v for k, v in entry.items() if v is not None}})
        (folder / "archives.yaml").write_text(text)
        return folder

    return write


KVASIR = {
    "title": "Kvasir-SEG",
    "file": "kvasir-seg.zip",
    "access": "manual",
    "page": "https://example.org/kvasir",
    "licence": "research only",
    "citation": "Jha et al.",
}


@pytest.fixture
def archive() -> Callable[..., Archive]:
    return lambda **changes: Archive.model_validate({"key": "kvasir_seg", **KVASIR, **changes})


@pytest.fixture
def real(study: Study, tmp_path: Path) -> Callable[[str], SimpleNamespace]:
    """Prepares a task from real archives, where they are, and evaluates both controls on it.

    Returns its manifest, its audit, the kinds of its findings, and the controls' records.
    """

    def run(task: str) -> SimpleNamespace:
        folder = Path(os.environ.get("NASLORA_ARCHIVES", ROOT / "data" / "archives"))
        known = load_archives(ROOT / "config")
        for key in get_benchmark(task).archives:
            if find(known[key], folder) is None:
                pytest.skip(f"no {known[key].file} in {folder}; set NASLORA_ARCHIVES to its folder")
        from naslora.evaluation.controls import evaluate_controls

        config = shutil.copytree(ROOT / "config", tmp_path / "real config")  # takes the pins
        used = study.model_copy(update={"archives": folder})
        manifest = prepare(used, task, config)
        audit = json.loads(Layout.of(used).audit(task).read_text())
        records = [read_record(path) for path in evaluate_controls(used, task)]
        return SimpleNamespace(
            manifest=manifest,
            audit=audit,
            kinds={finding["kind"] for finding in audit["findings"]},
            controls={record.variant: record for record in records},
        )

    return run
