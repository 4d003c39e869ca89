"""Adapter files: their metadata, which is validated before a model is built, and their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from safetensors import SafetensorError, safe_open
from torch import Tensor

from naslora.core.documents import Document, Sha256, parse_document
from naslora.core.errors import StateError

METADATA_KEY = "naslora"
_Side = Annotated[int, Field(ge=1, le=8192)]
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_INTEGERS = {"I64": torch.int64}  # counters of batch normalisation


class _Part(Document):
    model_config = ConfigDict(strict=True)


class ModelSpec(_Part):
    """The SAM that an adapter fits; see `naslora.sam.building.build_sam`."""

    backbone: str
    image_size: tuple[_Side, _Side]
    decoder: Literal["semantic", "original"]
    classes: Annotated[int, Field(ge=1, le=256)]
    mask_tokens: Annotated[int, Field(ge=1, le=1024)]
    hypernetworks: Literal["shared", "per_token"]


class BaseWeights(_Part):
    """The weights that an adapter was trained on.

    Attributes:
        file: name of the checkpoint file, without its folder; None for weights from no file.
        file_sha256: SHA-256 of that file.
        weights_sha256: of the weights by the dtype that they are rounded to; see
            `naslora.methods.base_weights`.
    """

    file: str | None
    file_sha256: Sha256 | None
    weights_sha256: dict[str, Sha256]


class AdapterMetadata(_Part):
    """Metadata of an adapter file.

    Attributes:
        method: name in the registry.
        settings: all settings of the method.
        seed: of the new layers' initialisation.
        model: the SAM that it fits.
        base: the weights that it was trained on; None for a method that starts from random ones.
        image_side: median of the longer sides in pixels of the training images; None if unknown.
    """

    schema_version: Literal[2] = 2
    method: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=100)]
    settings: dict[str, Any]
    seed: Annotated[int, Field(ge=0, lt=2**64)]
    model: ModelSpec
    base: BaseWeights | None
    image_side: Annotated[int, Field(ge=1)] | None = None


class TensorSpec(_Part):
    """Shape and dtype of a tensor in a file."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    shape: tuple[int, ...]
    dtype: torch.dtype


def read_metadata(path: Path) -> AdapterMetadata:
    """Read the metadata of an adapter file.

    Raises:
        StateError: the file is missing, damaged, not an adapter, or of another schema version.
    """
    with _opened(path) as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        raise StateError(
            "this safetensors file holds no adapter", where=path, remedy="give one saved by naslora"
        )
    return parse_document(
        text.encode(), AdapterMetadata, path, "adapter", "train the method again", StateError
    )


def read_tensor_specs(path: Path) -> dict[str, TensorSpec]:
    """Shapes and dtypes of the tensors in an adapter file, which are not loaded.

    Raises:
        StateError: the file is missing or damaged, or has a dtype that no adapter has.
    """
    found = {}
    with _opened(path) as file:
        for name in file.keys():  # noqa: SIM118
            view = file.get_slice(name)
            dtype = (_FLOATS | _INTEGERS).get(view.get_dtype())
            if dtype is None:
                raise StateError(
                    f"{name} has dtype {view.get_dtype()}, which no adapter has",
                    where=path,
                    remedy="give a file saved by naslora",
                )
            found[name] = TensorSpec(shape=tuple(view.get_shape()), dtype=dtype)
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of an adapter file, on the CPU.

    Raises:
        StateError: the file is missing or damaged, or a value is not finite.
    """
    with _opened(path) as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise StateError(
                f"{name} holds values that are not finite",
                where=path,
                remedy="train the method again",
            )
    return tensors


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StateError("there is no such adapter file", where=path) from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"cannot read the adapter: {error}", where=path) from None
