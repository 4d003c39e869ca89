"""Decoder-only trains on embeddings that are made once, to the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from naslora.core.errors import ManifestError
from naslora.data.dataset import SegmentationDataset
from naslora.data.manifest import read_manifest
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.training import embeddings, loaders
from naslora.training.device import launch_fabric
from naslora.training.embeddings import embed, embedded_images
from naslora.training.train import train

TASK, METHOD = "kvasir", "decoder_only"
Copy = Callable[..., Study]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that an encoder sees."""
    seen: list[int] = []
    encode = Sam.encode

    def counting(sam: Sam, images: torch.Tensor) -> torch.Tensor:
        seen.extend([1] * len(images))
        return encode(sam, images)

    monkeypatch.setattr(Sam, "encode", counting)
    return seen


def outcome(study: Study, variant: str = METHOD) -> tuple[bytes, list[dict[str, float]]]:
    receipt = train(study, TASK, variant, 0)
    losses = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in receipt.history]
    return Layout.of(study).adapter(TASK, variant, 0).read_bytes(), losses


def count(study: Study, split: str) -> int:
    return len(read_manifest(Layout.of(study).manifest(TASK)).of(split))


def both_flips(images: SegmentationDataset) -> dict[str, Any]:
    return {"indices": range(len(images)), "flips": [False, True], "passes": 3}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_kept_embeddings_change_no_bit(
    copied: Copy, monkeypatch: pytest.MonkeyPatch, precision: str, encoded: list[int]
) -> None:
    settings = {"methods": [METHOD], "training.epochs": 3, "training.precision": precision}
    kept = outcome(copied(settings, folder="kept"))
    images, held = (count(copied(settings, folder="kept"), split) for split in ("train", "val"))
    assert len(encoded) == 1 + 2 * images + 1 + held, "an example, then both flips of each image"
    encoded.clear()
    monkeypatch.setattr(loaders, "embedded_images", lambda *_, **__: None)
    made_anew = outcome(copied(settings, folder="anew"))
    assert len(encoded) == 3 * (images + held)
    assert kept == made_anew


@pytest.mark.parametrize(
    ("settings", "variants"),
    [
        ({"training.epochs": 2}, 0),  # as many passes over the images as it would save
        ({"training.epochs": 2, "training.horizontal_flip": 0.0}, 1),
        ({"training.epochs": 2, "training.horizontal_flip": 1.0}, 1),
        ({"training.epochs": 3}, 2),
    ],
)
def test_only_what_is_used_is_kept(copied: Copy, settings: dict[str, Any], variants: int) -> None:
    study = copied({**settings, "methods": [METHOD]})
    outcome(study)
    files = list(Layout.of(study).resized(TASK).glob("embedded-train-*"))
    assert len(files) == (variants > 0)
    if variants:
        embeddings = variants * count(study, "train")
        assert files[0].stat().st_size == 64 + embeddings * (4 + 4 * 64 * (64 // 8) ** 2)


def test_other_seeds_use_the_same_file_and_other_weights_another(
    copied: Copy, encoded: list[int]
) -> None:
    settings = {"methods": [METHOD], "seeds": [0, 1], "training.epochs": 3}
    study = copied(settings)
    train(study, TASK, METHOD, 0)
    encoded.clear()
    train(study, TASK, METHOD, 1)
    assert len(encoded) == 2, "the examples alone"
    encoded.clear()
    train(copied({**settings, "sam.checkpoint": "random"}), TASK, METHOD, 1)
    assert len(encoded) == 2 + 2 * count(study, "train") + count(study, "val")


def test_a_trained_encoder_has_none(copied: Copy) -> None:
    study = copied({"methods": ["lora"], "training.epochs": 3})
    outcome(study, "lora")
    assert not list(Layout.of(study).resized(TASK).glob("embedded-*"))


def test_an_embedding_depends_on_its_image_alone(copied: Copy, adapted: Any) -> None:
    fabric, run, sam, images = adapted(copied({"methods": [METHOD], "training.epochs": 3}))
    path = Layout.of(copied({"methods": [METHOD]})).resized(TASK) / "embedded.arrays"
    kept = embedded_images(fabric, run, sam, images, path, **both_flips(images))
    assert kept is not None
    batch = torch.stack([images[i][0] for i in (3, 1, 2)])
    for position, index in enumerate((3, 1, 2)):
        assert torch.equal(embed(fabric, sam, batch)[position], kept[index, False][0])
        assert torch.equal(embed(fabric, sam, batch.flip(-1))[position], kept[index, True][0])
    assert torch.equal(kept[2, True][1], images[2][1].flip(-1))
    assert not torch.equal(kept[2, True][0], kept[2, False][0])


def test_a_damaged_file_is_said_to_be_damaged(copied: Copy, adapted: Any) -> None:
    study = copied({"methods": [METHOD], "training.epochs": 3})
    made = adapted(study)
    path = Layout.of(study).resized(TASK) / "embedded.arrays"
    embedded_images(*made, path, **both_flips(made[3]))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    kept = embedded_images(*made, path, **both_flips(made[3]))
    assert kept is not None
    with pytest.raises(ManifestError, match="image embeddings is damaged"):
        kept[len(made[3]) - 1, True]


@pytest.fixture
def adapted() -> Callable[[Study], Any]:
    from naslora.methods.registry import adapt
    from naslora.training.initial import initial_sam

    def make(study: Study) -> Any:
        run, layout = study.run(TASK, METHOD, 0), Layout.of(study)
        fabric = launch_fabric(run.training)
        sam, _ = initial_sam(study, classes=1, seed=0)
        adapt(sam, METHOD)
        manifest = read_manifest(layout.manifest(TASK))
        images = SegmentationDataset(manifest, layout.prepared(TASK), "train", study.sam.image_size)
        assert embeddings.has_fixed_embeddings(fabric, sam)
        return fabric, run, sam, images

    return make
