"""Image embeddings of an encoder that is not trained, made once instead of in every epoch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from naslora import __version__
from naslora.core.arrays import ArrayFile, Bytes, array_file
from naslora.core.files import fingerprint
from naslora.data.dataset import SegmentationDataset
from naslora.sam.building import Sam
from naslora.study.provenance import hardware
from naslora.study.settings import RunSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_NAME = "embedded-{size}.arrays"


def has_fixed_embeddings(fabric: Fabric, sam: Sam) -> bool:
    """Whether an image's embedding stays the same in all steps of a run of one process."""
    trained = any(parameter.requires_grad for parameter in sam.image_encoder.parameters())
    return not trained and fabric.world_size == 1


@torch.no_grad()
def embed(fabric: Fabric, sam: Sam, images: Tensor) -> Tensor:
    """Embed images (B, 3, S, S) one by one, as (B, C, S/p, S/p), in the run's precision.

    One by one, since matrix products of another height may round differently: so an embedding
    depends on its image alone, and it is the same, bit for bit, whether it was kept or is made
    with its batch. In one layout in memory, which moves the last bits too.
    """
    with fabric.autocast():
        return torch.cat([sam.encode(image[None]) for image in images]).contiguous()


class EmbeddedImages(Dataset[tuple[Tensor, Tensor]]):
    """Embeddings with the labels of their images, indexed by (index, flip) pairs.

    Args:
        images: the images and labels.
        file: embeddings as bytes, all those of the first flip in `flips`, then of the next.
        flips: the values of flip that there are.
        dtype: of the embeddings; `shape` is that of one.
    """

    def __init__(
        self,
        images: SegmentationDataset,
        file: ArrayFile,
        flips: list[bool],
        dtype: torch.dtype,
        shape: tuple[int, ...],
    ):
        self._images, self._file, self._flips = images, file, flips
        self._dtype, self._shape = dtype, shape

    def __getitem__(self, key: tuple[int, bool]) -> tuple[Tensor, Tensor]:
        index, flip = key
        stored = self._file[self._flips.index(flip) * len(self._images) + index]
        embedding = torch.from_numpy(stored).view(self._dtype).view(self._shape)
        labels = self._images[index][1]
        return embedding, labels.flip(-1) if flip else labels


def embedded_images(
    fabric: Fabric, run: RunSettings, sam: Sam, images: SegmentationDataset, folder: Path
) -> EmbeddedImages | None:
    """The embeddings of all images, from a file that is written first if it is not there.

    None where they change as the run goes on, where the run has no more epochs than an image has
    ways to be flipped, so that it saves nothing, or where the disk is too small.

    Args:
        fabric: device and precision.
        run: the settings.
        sam: on its device, in its precision, with the method on it.
        images: of the split that is trained on.
        folder: of the file, for all seeds.
    """
    probability = run.training.horizontal_flip
    flips = [flip for flip, there in ((False, probability < 1), (True, probability > 0)) if there]
    if not has_fixed_embeddings(fabric, sam) or run.training.epochs <= len(flips):
        return None

    def embedding(index: int, flip: bool) -> Tensor:
        image = images[index][0].to(fabric.device)
        return embed(fabric, sam, (image.flip(-1) if flip else image)[None])[0].cpu()

    def as_bytes(position: int) -> Bytes:
        flip, index = divmod(position, len(images))
        tensor = embedding(index, flips[flip]).contiguous()
        return np.asarray(tensor.view(-1).view(torch.uint8).numpy())

    example = embedding(0, flips[0])
    with fabric.autocast():
        about = hardware(fabric.device, sam)
    key = fingerprint(
        {
            "images": images.key(),
            "encoder": _digest(sam),
            "flips": flips,
            "precision": run.training.precision,
            "hardware": about,
            "versions": [__version__, torch.__version__],
        }
    )
    file = array_file(
        folder / _NAME.format(size=run.sam.image_size),
        key,
        len(images) * len(flips),
        (example.numel() * example.element_size(),),
        as_bytes,
        noun="image embeddings",
        without="images are embedded in every epoch",
        threads=0,
    )
    if file is None:
        return None
    return EmbeddedImages(images, file, flips, example.dtype, tuple(example.shape))


def _digest(sam: Sam) -> str:
    """SHA-256 over the encoder's weights, whatever checkpoint, seed and method they are from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(sam.image_encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
