"""Image embeddings of an encoder that is not trained, computed once instead of in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
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
from naslora.sam.fingerprint import weights_sha256
from naslora.study.provenance import hardware
from naslora.study.settings import RunSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def has_fixed_embeddings(fabric: Fabric, sam: Sam) -> bool:
    """Whether an image's embedding stays the same in all steps of a run of one process."""
    trained = any(parameter.requires_grad for parameter in sam.image_encoder.parameters())
    return not trained and fabric.world_size == 1


@torch.no_grad()
def embed(fabric: Fabric, sam: Sam, images: Tensor) -> Tensor:
    """Embed images (B, 3, S, S) one by one, as (B, C, S/p, S/p), in the run's precision.

    Images are embedded one by one, since matrix products of another height may round differently.
    An embedding then depends only on its image, and is the same, bit for bit, whether it was
    stored or is computed with its batch. All have the same memory layout, on which the last bits
    depend too.
    """
    with fabric.autocast():
        return torch.cat([sam.encode(image[None]) for image in images]).contiguous()


class EmbeddedImages(Dataset[tuple[Tensor, Tensor]]):
    """Embeddings with the labels of their images, indexed by (index, flip) pairs.

    Args:
        images: the images and labels.
        file: embeddings as bytes, all those of the first flip in `flips`, then of the next.
        indices: of the images that are in the file.
        flips: the values of flip that are in the file.
        dtype: of the embeddings.
        shape: of one embedding.
    """

    def __init__(
        self,
        images: SegmentationDataset,
        file: ArrayFile,
        indices: Sequence[int],
        flips: Sequence[bool],
        dtype: torch.dtype,
        shape: tuple[int, ...],
    ):
        self._images, self._file = images, file
        keys = ((index, flip) for flip in flips for index in indices)
        self._places = {key: place for place, key in enumerate(keys)}
        self._dtype, self._shape = dtype, shape

    def __getitem__(self, key: tuple[int, bool]) -> tuple[Tensor, Tensor]:
        index, flip = key
        embedding = torch.from_numpy(self._file[self._places[key]])
        labels = self._images[index][1]
        return (
            embedding.view(self._dtype).view(self._shape),
            labels.flip(-1) if flip else labels,
        )


def embedded_images(
    fabric: Fabric,
    run: RunSettings,
    sam: Sam,
    images: SegmentationDataset,
    path: Path,
    *,
    indices: Sequence[int],
    flips: Sequence[bool],
    passes: int,
) -> EmbeddedImages | None:
    """The embeddings of images, from a file that is written first if it does not exist.

    The result is None if embeddings change during the run, if the run passes over the images no
    more often than they are embedded here, so that nothing is saved, or if the disk is too small.

    Args:
        fabric: device and precision.
        run: the settings.
        sam: on its device, in its precision, with the method on it.
        images: the images of a split.
        path: the file, which all seeds share.
        indices: of the images that are needed.
        flips: whether they are needed as they are, mirrored, or both.
        passes: how often the run passes over the images.
    """
    if not has_fixed_embeddings(fabric, sam) or passes <= len(flips):
        return None

    def embedding(index: int, flip: bool) -> Tensor:
        image = images[index][0].to(fabric.device)
        return embed(fabric, sam, (image.flip(-1) if flip else image)[None])[0].cpu()

    keys = [(index, flip) for flip in flips for index in indices]

    def as_bytes(position: int) -> Bytes:
        tensor = embedding(*keys[position]).contiguous()
        return np.asarray(tensor.view(-1).view(torch.uint8).numpy())

    example = embedding(*keys[0])
    with fabric.autocast():
        about = hardware(fabric.device, sam)
    key = fingerprint(
        {
            "images": images.key(),
            "indices": list(indices),
            "encoder": weights_sha256(sam.image_encoder),
            "flips": list(flips),
            "precision": run.training.precision,
            "hardware": about,
            "versions": [__version__, torch.__version__],
        }
    )
    file = array_file(
        path,
        key,
        len(keys),
        (example.numel() * example.element_size(),),
        as_bytes,
        noun="image embeddings",
        without="images are embedded in every epoch",
        threads=0,
    )
    if file is None:
        return None
    return EmbeddedImages(images, file, indices, flips, example.dtype, tuple(example.shape))
