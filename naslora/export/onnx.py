"""ONNX: a model from images to scores that runs without torch."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from naslora.core.errors import SettingsError, StateError
from naslora.core.files import disk_errors
from naslora.methods.conv_lora import ConvolutionExperts
from naslora.sam.building import Sam
from naslora.sam.inference import semantic_probabilities

TOLERANCE = 1e-3  # of a score, which lies in [0, 1] for a binary task
_LARGEST = 1_800_000_000  # bytes of weights in the file itself; the format's limit is 2 GiB


class Scores(nn.Module):
    """Maps images (B, 3, H, W), float in 0..255, to probabilities (B, 1, H, W) or K class scores.

    Args:
        sam: in evaluation mode. Tensors that do not depend on the images are computed once.
    """

    positions: Tensor
    dense: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, sam: Sam):
        super().__init__()
        self.size = sam.image_size
        self.encoder = sam.image_encoder
        self.decoder = sam.mask_decoder
        dense = sam.prompt_encoder.no_mask_embed.weight.detach()[:, :, None, None]
        self.register_buffer("positions", sam.positions())
        self.register_buffer("dense", dense)
        self.register_buffer("mean", sam.pixel_mean.clone())
        self.register_buffer("std", sam.pixel_std.clone())

    def forward(self, images: Tensor) -> Tensor:
        embeddings = self.encoder((images - self.mean) / self.std)
        prediction = self.decoder.predict(embeddings, self.positions, self.dense)
        return semantic_probabilities(prediction, self.size)


def write_onnx(sam: Sam, out: Path, images: Sequence[Tensor], log: Callable[[str], None]) -> Path:
    """Write a SAM as an ONNX model, and compare onnxruntime's outputs with torch's.

    The model takes `images`, float32 (B, 3, H, W) in 0..255 at the training size, with any B, and
    returns `scores` (B, K, H, W): foreground probabilities (K = 1) or a score for each class. More
    than 1.8 GB of weights are written to a second file beside it, with the suffix `.data`.

    Args:
        sam: in float32 on the CPU; its layers may be adapted.
        out: the file to write.
        images: batches (B, 3, H, W) to compare on; noise by default.
        log: called with the difference that was found.

    Raises:
        SettingsError: a package that exporting needs is not installed.
        StateError: outputs differ by more than `TOLERANCE`; nothing is written.
        DiskError: the file cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise SettingsError(
            f"the package {error.name} is not installed", remedy="pip install 'naslora[export]'"
        ) from None
    sam = copy.deepcopy(sam).eval().requires_grad_(False)
    sam.image_encoder.attention_backend = "folded"  # one product for a query's logits
    model = Scores(sam).eval()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 3, *sam.image_size), generator=generator)
    noise[1] //= 4  # a dark and a bright image: routers choose other experts
    noise[2] = 255 - noise[2] // 4
    # Several batch sizes: the batch is the only dynamic dimension.
    batches = [batch.float() for batch in [*images, noise[:1], noise, noise[:2]]]
    handles = [
        module.register_forward_pre_hook(_prepare)
        for module in model.modules()
        if isinstance(module, ConvolutionExperts)
    ]
    with torch.no_grad():
        # Before the export, so that layers have computed their constants for this size.
        expected = [model(batch) for batch in batches]
    for handle in handles:
        handle.remove()
    weights = sum(t.nbytes for t in model.state_dict().values())
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        file = folder / out.name
        program = torch.onnx.export(
            model,
            (batches[-1],),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
        assert program is not None
        program.model.metadata_props.update(_metadata(sam))
        with disk_errors(out):
            program.save(str(file), external_data=weights > _LARGEST)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        differences = []
        for batch, scores in zip(batches, expected, strict=True):
            (found,) = session.run(None, {"images": batch.numpy()})
            differences.append((torch.from_numpy(found) - scores).abs().max())
        difference = torch.stack(differences).max().item()  # NaN if any of them is
        if not difference <= TOLERANCE:
            raise StateError(
                f"onnxruntime's scores differ from torch's by up to {difference:.2g}",
                where=out,
                remedy="report this, with the versions of torch, onnxscript and onnxruntime",
            )
        log(f"onnxruntime's scores differ from torch's by at most {difference:.1e}")
        with disk_errors(out):
            for part in sorted(folder.iterdir(), key=lambda part: part.name == out.name):
                part.replace(out.parent / part.name)  # the model last: it refers to the weights
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out


def _prepare(experts: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(experts, ConvolutionExperts)
    experts.prepare_export(inputs[0])


def _metadata(sam: Sam) -> dict[str, str]:
    height, width = sam.image_size
    return {
        "images": f"float32 (B, 3, {height}, {width}), RGB in 0..255, resized without keeping the"
        " aspect ratio",
        "scores": "foreground probability; above 0.5 is foreground"
        if sam.classes == 1
        else f"scores of {sam.classes} classes, background first; the highest wins",
        "backbone": sam.backbone,
    }
