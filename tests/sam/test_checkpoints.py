"""Reading and writing checkpoints; every kind of failure has its own message."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch

from naslora.core.errors import CheckpointError
from naslora.methods.registry import adapt
from naslora.sam.backbones import BACKBONES
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path, randomise):
    sam = build_sam("tiny", 64, decoder="original")
    randomise(sam)
    path = tmp_path / "folder" / "sam.pth"
    save_checkpoint(sam, path)
    return sam, path


def failure(path, backbone="tiny"):
    before = build_sam(backbone, 64)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(before, path)
    assert caught.value.remedy
    assert caught.value.where == path
    return caught.value.what


def test_round_trip(saved):
    sam, path = saved
    other = build_sam("tiny", 64, decoder="original")
    digest = load_checkpoint(other, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    for name, value in sam.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    save_checkpoint(other, path.with_name("again.pth"))
    assert path.with_name("again.pth").read_bytes() == path.read_bytes()


def test_metas_code_loads_what_we_save(saved, meta_sam):
    sam, path = saved
    theirs = meta_sam("tiny", 64)
    theirs.load_state_dict(torch.load(path, weights_only=True), strict=True)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    expected = theirs(
        [{"image": images[0].float(), "original_size": (64, 64)}], multimask_output=False
    )
    close = (sam(images).masks[0, :1] - expected[0]["low_res_logits"][0]).abs().max()
    assert close <= 1e-5 * expected[0]["low_res_logits"].abs().max().clamp_min(1)


def test_we_load_what_metas_code_saves(tmp_path, meta_sam):
    theirs = meta_sam("tiny", 64)
    torch.save(theirs.state_dict(), tmp_path / "meta.pth")
    sam = build_sam("tiny", 64)
    load_checkpoint(sam, tmp_path / "meta.pth")
    assert torch.equal(
        sam.mask_decoder.mask_tokens.weight, theirs.mask_decoder.mask_tokens.weight[:1]
    )


@pytest.mark.parametrize("options", [{}, {"classes": 3, "mask_tokens": 2}])
def test_semantic_decoders_round_trip_to_another_size(tmp_path, randomise, options):
    sam = build_sam("tiny", 64, **options)
    randomise(sam)
    save_checkpoint(sam, tmp_path / "sam.pth")
    other = build_sam("tiny", (96, 128), **options)
    load_checkpoint(other, tmp_path / "sam.pth")
    ours, theirs = (dict(s.mask_decoder.named_parameters()) for s in (sam, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_old_format_is_read(saved):
    sam, path = saved
    torch.save(sam.state_dict(), path, _use_new_zipfile_serialization=False)
    other = build_sam("tiny", 64, decoder="original")
    load_checkpoint(other, path)
    assert torch.equal(other.image_encoder.pos_embed, sam.image_encoder.pos_embed)


def test_not_under_a_method(saved):
    sam, path = saved
    adapt(sam, "bitfit")
    with pytest.raises(ValueError, match="before bitfit is put on"):
        load_checkpoint(sam, path)


def test_missing(tmp_path):
    assert failure(tmp_path / "no.pth") == "checkpoint not found: no.pth"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated(saved, share):
    _, path = saved
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert failure(path).startswith("sam.pth is truncated: it ends after ")


def test_truncated_in_the_old_format(saved):
    sam, path = saved
    torch.save(sam.state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:10_000])
    assert "cannot be read as a checkpoint" in failure(path)


def test_web_page(tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_text("\n <!DOCTYPE html><html><body>Please sign in</body></html>")
    assert "is a web page" in failure(path)


def test_noise(tmp_path):
    path = tmp_path / "noise.pth"
    path.write_bytes(bytes(range(256)) * 10)
    assert "neither a file of torch.save nor of safetensors" in failure(path)


def message(path, official=None):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(build_sam("tiny", 64), path, official)
    return str(caught.value)


def test_a_file_of_something_else(tmp_path):
    """The message has none of torch's advice, and does not ask to delete the user's file."""
    (tmp_path / "README.md").write_text("# {a project}\n" * 50)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("image.txt", "x")
    for name in ("README.md", "images.zip"):
        text = message(tmp_path / name, official=tmp_path)
        assert "neither a file of torch.save nor of safetensors" in text
        assert "give another file" in text
        assert "delete" not in text


@pytest.mark.parametrize("old", [True, False])
def test_torchs_own_message_is_not_shown(tmp_path, old):
    path = tmp_path / "other.pth"
    torch.save({"a": Path("x")}, path, _use_new_zipfile_serialization=not old)
    text = message(path)
    assert "holds objects other than tensors" in text
    assert "weights_only" not in text
    assert "delete" not in text


def test_only_an_official_file_in_its_folder_is_fetched_again(tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_text("something else")
    assert "delete it and fetch it again: naslora fetch --backbone vit_b" in message(path, tmp_path)
    assert "delete" not in message(path, tmp_path / "elsewhere")


def test_official_name_with_another_hash(saved):
    _, path = saved
    path = path.rename(path.with_name("sam_vit_b_01ec64.pth"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"begins with {digest[:6]}, not with ec2df6" in failure(path)


def test_another_backbone(saved):
    _, path = saved
    assert failure(path, "small") == "sam.pth is a checkpoint of tiny, not of small"


def test_unknown_backbone(saved):
    sam, path = saved
    state = {n: v for n, v in sam.state_dict().items() if ".blocks.3." not in n}
    torch.save(state, path)
    tiny = BACKBONES["tiny"]
    found = f"width {tiny.embed_dim}, depth 3, patches of {tiny.patch_size}"
    assert f"an unknown backbone ({found}" in failure(path)


def test_not_a_sam(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    assert "holds no SAM" in failure(tmp_path / "other.pth")


def test_not_a_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    assert "holds no SAM: it has no image encoder" in failure(tmp_path / "other.pth")
    torch.save([torch.zeros(3)], tmp_path / "other.pth")
    assert "it is a list, not a dict of weights" in failure(tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["mask_decoder.mask_tokens.weight", "image_encoder.neck.0.weight"])
def test_a_weight_is_missing(saved, name):
    sam, path = saved
    state = sam.state_dict()
    del state[name]
    torch.save(state, path)
    what = failure(path)
    assert what.startswith("the weights in sam.pth do not fit SAM tiny")
    assert name in what


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").write_text, ("done",))

    torch.save({"weight": Harm()}, tmp_path / "other.pth")
    assert "cannot be read as a checkpoint" in failure(tmp_path / "other.pth")
    assert not (tmp_path / "harm").exists()


def test_only_a_plain_sam_is_saved(tmp_path):
    sam = build_sam("tiny", 64)
    sam.image_encoder.blocks[0].prompts = torch.nn.Parameter(torch.zeros(2, 64))
    sam.image_encoder.blocks[0].norm1.bias = None
    with pytest.raises(ValueError, match=r"this one has image_encoder.blocks.0.prompts"):
        save_checkpoint(sam, tmp_path / "sam.pth")
    del sam.image_encoder.blocks[0].prompts
    with pytest.raises(ValueError, match=r"this one lacks image_encoder.blocks.0.norm1.bias"):
        save_checkpoint(sam, tmp_path / "sam.pth")
    assert not list(tmp_path.iterdir())
