"""Save what a method trained, a few MB, and put it on a fresh SAM by one call."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from naslora.core.errors import CheckpointError, SettingsError, StateError
from naslora.core.files import canonical_json, write_bytes
from naslora.methods.registry import (
    Adaptation,
    adapt,
    adaptation_of,
    get_method,
    trainable_parameters,
)
from naslora.sam.building import Sam, build_sam
from naslora.sam.checkpoints import load_checkpoint

SCHEMA_VERSION = 1
_KEY = "naslora"
_PROBE_SIZE = 16


def save_adapter(sam: Sam, path: Path) -> None:
    """Write trainable parameters and the method's buffers, with all that `load_adapter` needs.

    The file is in the format of safetensors, with a JSON text in its metadata under "naslora".

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
    content = {
        "schema_version": SCHEMA_VERSION,
        "method": adaptation.method,
        "settings": adaptation.settings,
        "seed": adaptation.seed,
        "model": _model(sam),
        # A SAM that was trained whole needs no particular weights to start from.
        "probe": None if _is_trained_whole(sam) else _probe(sam),
    }
    write_bytes(path, save(tensors, {_KEY: canonical_json(content)}))


def load_adapter(sam: Sam, path: Path) -> None:
    """Put a saved method on a SAM; its predictions are then those of the SAM that was saved.

    Args:
        sam: a fresh SAM with the same pre-trained weights, or one with the same method on it.
            After an error it may be partly adapted: build it anew.
        path: what `save_adapter` wrote.

    Raises:
        StateError: the file is missing, damaged or no adapter; or it belongs to another backbone,
            image size, number of classes, decoder, method or pre-trained weights; or its tensors
            do not fit.
    """
    content = _content(path)
    for name, value in _model(sam).items():
        saved = content["model"].get(name)
        if saved != value:
            raise StateError(
                f"this adapter was saved with {name} {saved}, and the model has {value}",
                where=path,
                remedy=f"build the SAM with {name} {saved}",
            )
    _check_probe(sam, content["probe"], path)
    _adapt(sam, content, path)
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = adapter_state(sam)
    if missing := sorted(set(state) - set(tensors)):
        raise StateError(f"tensors are missing: {_some(missing)}", where=path)
    if extra := sorted(set(tensors) - set(state)):
        raise StateError(f"the model has no place for {_some(extra)}", where=path)
    for name, tensor in state.items():
        if tensors[name].shape != tensor.shape:
            raise StateError(
                f"{name} has shape {list(tensors[name].shape)}, and the model needs"
                f" {list(tensor.shape)}",
                where=path,
            )
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(tensors[name])


def load_adapted_sam(path: Path, checkpoint: Path | None = None) -> Sam:
    """Build the SAM that an adapter was saved from, for inference; the adapter says which it is.

    Args:
        path: what `save_adapter` wrote.
        checkpoint: the pre-trained weights that the method was put on. A method that starts from
            random weights needs none, and none is read.

    Returns:
        An adapted SAM in evaluation mode, in single precision, on the CPU.

    Raises:
        StateError: the adapter is missing, damaged, of a method that is not registered, or was
            trained on other weights than the checkpoint's.
        CheckpointError: the checkpoint is missing, damaged or of another backbone.
    """
    content = _content(path)
    model = {**content["model"], "image_size": tuple(content["model"]["image_size"])}
    try:
        method = get_method(content["method"])
    except SettingsError as error:
        raise StateError(f"cannot restore the method: {error}", where=path) from None
    if method.pretrained and checkpoint is None:
        raise CheckpointError(
            f"{method.title} was trained on a pre-trained {model['backbone']}, and no checkpoint is"
            " given",
            where=path,
            remedy="give the checkpoint that it was trained on as well",
        )
    with torch.random.fork_rng(devices=[]):  # no random weight that is used stays
        sam = build_sam(**model)
    if method.pretrained and checkpoint is not None:
        load_checkpoint(sam, checkpoint)
    load_adapter(sam, path)
    return sam.eval()


def adapter_state(sam: Sam) -> dict[str, Tensor]:
    """What training changes in an adapted SAM: its trainable parameters and the method's buffers.

    The tensors are those of the model, by their names in its `state_dict`.
    """
    adaptation = adaptation_of(sam)
    assert adaptation is not None
    names = {*trainable_parameters(sam), *adaptation.buffers}
    return {name: tensor for name, tensor in sam.state_dict().items() if name in names}


def _model(sam: Sam) -> dict[str, Any]:
    return {
        "backbone": sam.backbone,
        "image_size": list(sam.image_size),
        "decoder": sam.decoder,
        "classes": sam.classes,
        "mask_tokens": sam.mask_decoder.mask_tokens.num_embeddings,
        "hypernetworks": sam.mask_decoder.hypernetworks,
    }


def _is_trained_whole(sam: Sam) -> bool:
    return all(parameter.requires_grad for parameter in sam.image_encoder.parameters())


def _probe(sam: Sam) -> list[float]:
    """A few weights that no method changes but one that trains everything, to know a SAM again."""
    weight = sam.image_encoder.patch_embed.proj.weight
    return weight.detach().flatten()[:_PROBE_SIZE].float().tolist()


def _check_probe(sam: Sam, saved: list[float] | None, path: Path) -> None:
    # A SAM in bfloat16 is still the same SAM.
    if saved is not None and not torch.allclose(
        torch.tensor(_probe(sam)), torch.tensor(saved), rtol=1e-2, atol=1e-6
    ):
        raise StateError(
            "this adapter was trained on other pre-trained weights than the model has",
            where=path,
            remedy="load the same checkpoint into the SAM first",
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StateError("there is no such adapter file", where=path) from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"cannot read the adapter: {error}", where=path) from None


def _content(path: Path) -> dict[str, Any]:
    """All that an adapter file says beside its tensors."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_KEY)
    try:
        content = json.loads(text) if text is not None else None
    except json.JSONDecodeError as error:
        raise StateError(f"cannot read the adapter: {error}", where=path) from None
    if not isinstance(content, dict):
        raise StateError(
            "this safetensors file holds no adapter", where=path, remedy="give one saved by naslora"
        )
    if content.get("schema_version") != SCHEMA_VERSION:
        raise StateError(
            f"this adapter has schema version {content.get('schema_version')}, not"
            f" {SCHEMA_VERSION}",
            where=path,
        )
    return content


def _adapt(sam: Sam, content: dict[str, Any], path: Path) -> None:
    carried: Adaptation | None = adaptation_of(sam)
    if carried is None:
        try:
            adapt(sam, content["method"], content["settings"], content["seed"])
        except SettingsError as error:
            raise StateError(f"cannot restore the method: {error}", where=path) from None
        return
    if not get_method(carried.method).pretrained and carried.seed != content["seed"]:
        raise StateError(
            f"this adapter began from seed {content['seed']}, and the model from {carried.seed}",
            where=path,
            remedy="load it onto a fresh SAM",
        )
    same = json.loads(canonical_json(dataclasses.asdict(carried)["settings"]))
    if (carried.method, same) != (content["method"], content["settings"]) or carried.collapsed:
        raise StateError(
            f"this adapter is {content['method']} with settings {content['settings']}, and the"
            f" model carries {carried.method} with {same}",
            where=path,
            remedy="load it onto a fresh SAM",
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
