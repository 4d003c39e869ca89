from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from naslora.core.errors import DivergedError, SettingsError
from naslora.core.files import sha256
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.training import pretraining
from naslora.training.pretraining import _rate, pretrain

Copy = Callable[..., Study]


def test_the_same_settings_give_the_same_weights(prepared_study: Study, copied: Copy) -> None:
    study = copied()
    before = sha256(Layout.of(study).backbone())
    Layout.of(study).backbone().unlink()
    torch.rand(5)
    pretrain(study)
    assert sha256(Layout.of(study).backbone()) == before
    other = copied({"pretraining": {"images": 8, "epochs": 1, "seed": 1}})
    pretrain(other)
    assert sha256(Layout.of(other).backbone()) != before


def test_all_but_the_unused_parts_are_trained(prepared_study: Study) -> None:
    torch.manual_seed(prepared_study.pretraining.seed)
    size = prepared_study.sam.image_size
    fresh, trained = build_sam("tiny", size), build_sam("tiny", size)
    load_checkpoint(trained, Layout.of(prepared_study).backbone())
    moved = {
        name
        for (name, old), new in zip(fresh.named_parameters(), trained.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    still = {name for name, _ in fresh.named_parameters()} - moved
    assert "image_encoder.patch_embed.proj.weight" in moved
    assert "mask_decoder.mask_tokens.weight" in moved
    assert any(name.startswith("mask_decoder.iou_prediction_head") for name in still)
    assert {name.split(".")[0] for name in still} <= {"mask_decoder", "prompt_encoder"}


def test_longer_pretraining_learns(copied: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(copied({"pretraining": {"images": 16, "epochs": 6}}))
    lines = [line for line in capsys.readouterr().out.splitlines() if "  loss " in line]
    values = [float(line.split("loss ")[1].split()[0]) for line in lines]
    assert len(values) == 6
    assert values[-1] < 0.9 * values[0]


def test_images_are_not_those_of_the_runs(prepared_study: Study) -> None:
    images, labels = pretraining._draw(prepared_study)
    assert images.shape == (8, 3, 64, 64)
    assert labels.shape == (8, 64, 64)
    assert set(labels.unique().tolist()) == {0, 1}
    from naslora.data.dataset import SegmentationDataset
    from naslora.data.manifest import read_manifest

    layout = Layout.of(prepared_study)
    manifest = read_manifest(layout.manifest("kvasir"))
    known = {image.numpy().tobytes() for image in images}
    for split in manifest.splits:
        dataset = SegmentationDataset(manifest, layout.prepared("kvasir"), split, 64)
        assert not known & {dataset[i][0].numpy().tobytes() for i in range(len(dataset))}


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [_rate(step, 100) for step in range(101)]
    assert rates.index(max(rates)) in (9, 10)
    assert 0 < rates[0] < rates[5] < rates[9] <= 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)
    assert _rate(0, 1) == 1


def test_divergence_leaves_no_checkpoint(copied: Copy) -> None:
    changes = {"images": 16, "epochs": 2, "batch_size": 4, "learning_rate": 1e30}
    study = copied({"pretraining": changes})
    backbone = Layout.of(study).backbone()
    backbone.unlink()
    with pytest.raises(DivergedError, match="pretraining diverged") as caught:
        pretrain(study)
    assert "pretraining.learning_rate" in (caught.value.remedy or "")
    assert list(backbone.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["images", "epochs"])
def test_nothing_to_train_on(copied: Copy, name: str) -> None:
    study = copied({"pretraining": {"images": 8, "epochs": 1, name: 0}})
    with pytest.raises(SettingsError, match=r"pretraining\.images or pretraining\.epochs is 0"):
        pretrain(study)
