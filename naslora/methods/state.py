"""Adapter files of a few MB: saving what a method trained, and loading it into a SAM."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from naslora.core.errors import CheckpointError, SettingsError, StateError
from naslora.core.files import canonical_json, write_bytes
from naslora.core.wording import first_of
from naslora.methods.adapter_file import (
    METADATA_KEY,
    AdapterMetadata,
    ModelSpec,
    TensorSpec,
    read_metadata,
    read_tensor_specs,
    read_tensors,
)
from naslora.methods.base_weights import check_base, describe_base
from naslora.methods.registry import (
    Adaptation,
    adapt,
    adaptation_of,
    get_method,
    trainable_parameters,
)
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import load_checkpoint


def save_adapter(sam: Sam, path: Path, image_side: int | None = None) -> None:
    """Write trainable parameters and the method's buffers, with everything `load_adapter` needs.

    This is a safetensors file with JSON under "naslora" in its metadata; see
    `naslora.methods.adapter_file.AdapterMetadata`.

    Args:
        sam: an adapted SAM.
        path: the file to write.
        image_side: median of the longer sides in pixels of the training images, if known; much
            larger images are predicted in tiles.

    Raises:
        StateError: the SAM carries no method, or its cells are collapsed.
        DiskError: the file cannot be written.
    """
    adaptation = adaptation_of(sam)
    if adaptation is None:
        raise StateError(
            "this SAM carries no method to save", where=path, remedy="save before merging"
        )
    if adaptation.collapsed:
        raise StateError("the cells are collapsed", where=path, remedy="save before collapsing")
    tensors = {name: tensor.detach().contiguous() for name, tensor in adapter_state(sam).items()}
    pretrained = get_method(adaptation.method).pretrained
    metadata = AdapterMetadata(
        method=adaptation.method,
        settings=adaptation.settings,
        seed=adaptation.seed,
        model=_model(sam),
        base=describe_base(sam, tensors) if pretrained else None,
        image_side=image_side,
    )
    write_bytes(path, save(tensors, {METADATA_KEY: canonical_json(metadata.model_dump())}))


def load_adapter(sam: Sam, path: Path) -> None:
    """Put a saved method on a SAM; its predictions are then those of the SAM that was saved.

    Args:
        sam: a fresh SAM with the same pre-trained weights, or one with the same method on it.
            After an error it may be partly adapted: build it again.
        path: a file that `save_adapter` wrote.

    Raises:
        StateError: the file is missing, damaged or not an adapter; or it belongs to another
            backbone, image size, number of classes, decoder, method or pre-trained weights; or its
            tensors do not fit.
    """
    metadata = read_metadata(path)
    specs = read_tensor_specs(path)
    for name, value in _model(sam):
        saved = getattr(metadata.model, name)
        if saved != value:
            raise StateError(
                f"this adapter was saved with {name} {_text(saved)}, but the model has"
                f" {_text(value)}",
                where=path,
                remedy=f"build the SAM with {name} {_text(saved)}",
            )
    carried = adaptation_of(sam)
    if carried is not None:
        _check_same_method(carried, metadata, path)
        _check_shapes(adapter_state(sam), specs, path)
    else:
        # First on a meta copy: settings that do not fit the file's tensors may ask for more memory
        # than there is.
        on_meta = _meta_copy(sam)
        with torch.device("meta"):
            _adapt(on_meta, metadata, path)
        _check_shapes(adapter_state(on_meta), specs, path)
    if metadata.base is not None:
        check_base(sam, metadata.base, specs, path)
    tensors = read_tensors(path)
    if carried is None:
        _adapt(sam, metadata, path)
    with torch.no_grad():
        for name, tensor in adapter_state(sam).items():
            tensor.copy_(tensors[name])


def load_adapted_sam(path: Path, checkpoint: Path | None = None) -> Sam:
    """Build the SAM that an adapter was saved from, as its metadata describe it, for inference.

    Args:
        path: a file that `save_adapter` wrote.
        checkpoint: the pre-trained weights that the method was put on; not read for a method that
            starts from random weights.

    Returns:
        An adapted SAM in evaluation mode, in single precision, on the CPU.

    Raises:
        StateError: the adapter is missing, damaged, of a method that is not registered, or was
            trained on weights that differ from the checkpoint's.
        CheckpointError: the checkpoint is missing, damaged or of another backbone.
    """
    metadata = read_metadata(path)
    model = metadata.model
    try:
        method = get_method(metadata.method)
    except SettingsError as error:
        raise StateError(f"cannot restore the method: {error}", where=path) from None
    if method.pretrained and checkpoint is None:
        raise CheckpointError(
            f"{method.title} was trained on a pre-trained {model.backbone}, and no checkpoint is"
            " given",
            where=path,
            remedy="give the checkpoint that it was trained on as well",
        )
    try:
        with torch.random.fork_rng(devices=[]):  # all weights in use are loaded below
            sam = build_sam(**dict(model))
    except ValueError as error:
        raise StateError(f"the SAM of this adapter cannot be built: {error}", where=path) from None
    if method.pretrained and checkpoint is not None:
        load_checkpoint(sam, checkpoint)
    load_adapter(sam, path)
    return sam.eval()


def adapter_state(sam: Sam) -> dict[str, Tensor]:
    """The tensors that training changes in an adapted SAM: trainable parameters and buffers.

    The tensors are those of the model, by their names in its `state_dict`.
    """
    adaptation = adaptation_of(sam)
    assert adaptation is not None
    names = {*trainable_parameters(sam), *adaptation.buffers}
    return {name: tensor for name, tensor in sam.state_dict().items() if name in names}


def _model(sam: Sam) -> ModelSpec:
    return ModelSpec(
        backbone=sam.backbone,
        image_size=sam.image_size,
        decoder=sam.decoder,
        classes=sam.classes,
        mask_tokens=sam.mask_decoder.mask_tokens.num_embeddings,
        hypernetworks=sam.mask_decoder.hypernetworks,
    )


def _meta_copy(sam: Sam) -> Sam:
    """A copy of a SAM on the meta device."""
    tensors: dict[int, Tensor] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad)
        for p in sam.parameters()
    }
    tensors |= {id(b): torch.empty_like(b, device="meta") for b in sam.buffers()}
    return copy.deepcopy(sam, tensors)


def _adapt(sam: Sam, metadata: AdapterMetadata, path: Path) -> None:
    try:
        adapt(sam, metadata.method, metadata.settings, metadata.seed)
    except SettingsError as error:
        raise StateError(f"cannot restore the method: {error}", where=path) from None


def _check_same_method(carried: Adaptation, metadata: AdapterMetadata, path: Path) -> None:
    if not get_method(carried.method).pretrained and carried.seed != metadata.seed:
        raise StateError(
            f"this adapter was initialised from seed {metadata.seed}, but the model from seed"
            f" {carried.seed}",
            where=path,
            remedy="load it onto a fresh SAM",
        )
    same = json.loads(canonical_json(carried.settings))
    if (carried.method, same) != (metadata.method, metadata.settings) or carried.collapsed:
        raise StateError(
            f"this adapter is {metadata.method} with settings {metadata.settings}, but the"
            f" model carries {carried.method} with {same}",
            where=path,
            remedy="load it onto a fresh SAM",
        )


def _check_shapes(state: Mapping[str, Tensor], saved: Mapping[str, TensorSpec], path: Path) -> None:
    """Check that an adapter file has the tensors that the model needs.

    Raises:
        StateError: a tensor is missing or unexpected, or has another shape or dtype.
    """
    if missing := sorted(set(state) - set(saved)):
        raise StateError(f"tensors are missing: {first_of(missing)}", where=path)
    if extra := sorted(set(saved) - set(state)):
        raise StateError(f"the model has no place for {first_of(extra)}", where=path)
    for name, tensor in state.items():
        spec = saved[name]
        if spec.shape != tuple(tensor.shape):
            raise StateError(
                f"{name} has shape {list(spec.shape)}, but the model needs {list(tensor.shape)}",
                where=path,
            )
        if spec.dtype.is_floating_point != tensor.dtype.is_floating_point:
            raise StateError(
                f"{name} has dtype {spec.dtype}, but the model needs {tensor.dtype}",
                where=path,
            )


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
