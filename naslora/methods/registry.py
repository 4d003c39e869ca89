"""The registry of methods, and the one way to put a method on a SAM."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import naslora.methods
from naslora.core.errors import SettingsError
from naslora.sam.building import Sam

MergeMode = Literal["exact", "collapsed", "dense"]
Apply = Callable[[Sam, Any], None]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: the key in settings, records and file names.
        title: the name in tables.
        settings: a frozen dataclass; its defaults are the paper's values.
        apply: puts the method's layers into a SAM whose parameters are all frozen.
        identity: whether the adapted SAM starts with the outputs of the SAM it adapts.
        merges: the modes of `naslora.methods.merge.merge` that it has. "exact" leaves a plain
            SAM with the same outputs; "collapsed" faster layers with the same outputs; "dense" a
            plain SAM with nearly the same outputs.
        trains_decoder: whether the mask decoder is tuned too, as every row of the paper does.
        pretrained: whether it starts from a checkpoint; if not, from random weights.
    """

    name: str
    title: str
    settings: type[Any]
    apply: Apply
    identity: bool = True
    merges: tuple[MergeMode, ...] = ()
    trains_decoder: bool = True
    pretrained: bool = True

    def parse(self, values: Mapping[str, Any]) -> Any:
        """Make the settings dataclass from plain values.

        Raises:
            SettingsError: a name is unknown, or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(self.settings)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise SettingsError(
                    f"{self.name} has no setting {name!r}",
                    remedy=f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}",
                )
        try:
            return self.settings(**values)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"invalid setting of {self.name}: {error}") from None


_METHODS: dict[str, Method] = {}
_FILES: set[Path] = set()


def register(
    name: str,
    *,
    title: str,
    settings: type[Any],
    identity: bool = True,
    merges: tuple[MergeMode, ...] = (),
    trains_decoder: bool = True,
    pretrained: bool = True,
) -> Callable[[Apply], Apply]:
    """Register `apply(sam, settings)` as a method; see `Method` for the arguments."""

    def decorate(apply: Apply) -> Apply:
        if name in _METHODS:
            raise ValueError(f"a method named {name!r} is registered already")
        _METHODS[name] = Method(
            name, title, settings, apply, identity, merges, trains_decoder, pretrained
        )
        return apply

    return decorate


def get_method(name: str) -> Method:
    """Look a method up.

    Raises:
        SettingsError: there is none of that name.
    """
    _discover()
    if name not in _METHODS:
        near = difflib.get_close_matches(name, _METHODS, n=1)
        known = f"there are {', '.join(method_names())}"
        raise SettingsError(
            f"no method named {name!r}", remedy=f"did you mean {near[0]}?" if near else known
        )
    return _METHODS[name]


def method_names() -> list[str]:
    """Names of all registered methods, sorted."""
    _discover()
    return sorted(_METHODS)


def load_method_files(paths: Iterable[Path]) -> None:
    """Register methods of Python files outside this package; again changes nothing.

    A file is run like a module of this package, and registers one method, named like it.

    Raises:
        SettingsError: there is no such file, it does not register that method, or the name is
            taken.
    """
    _discover()
    for path in (path.absolute() for path in paths):
        if path not in _FILES:
            _load_method_file(path)
            _FILES.add(path)


def _load_method_file(path: Path) -> None:
    if path.stem in _METHODS:
        raise SettingsError(
            f"there is a method named {path.stem} already", where=path, remedy="rename the file"
        )
    if not path.is_file():
        raise SettingsError("method file not found", where=path)
    name = f"{naslora.methods.__name__}.{path.stem}"
    if name in sys.modules:  # such as layers, which the file itself may need
        raise SettingsError(
            f"naslora has a module {name} already", where=path, remedy="rename the file"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
        if path.stem not in _METHODS:
            raise SettingsError(
                f"this file registers no method named {path.stem}",
                where=path,
                remedy=f'put @register("{path.stem}", ...) on its apply function',
            )
    except BaseException:
        del sys.modules[name]
        raise


@cache
def _discover() -> None:
    """Import every module of this package, so that each registers its method."""
    for module in pkgutil.iter_modules(naslora.methods.__path__, f"{naslora.methods.__name__}."):
        importlib.import_module(module.name)


@dataclass(frozen=True)
class Adaptation:
    """What was put on a SAM: enough to put it on a fresh one again.

    Attributes:
        method: the name in the registry.
        settings: all settings, in full.
        seed: that the new layers were initialised from.
        buffers: names of the persistent buffers that the method added.
        collapsed: whether cells were replaced by their inference form.
    """

    method: str
    settings: dict[str, Any]
    seed: int
    buffers: tuple[str, ...] = ()
    collapsed: bool = False


def adapt(
    sam: Sam, method: str, settings: Mapping[str, Any] | None = None, seed: int = 0
) -> Adaptation:
    """Freeze a SAM, put a method on it, and free what the method trains.

    New layers are initialised from `seed` alone, whatever random numbers were drawn before.

    Raises:
        SettingsError: the method or one of its settings is unknown or invalid.
        ValueError: this SAM is adapted already.
    """
    if sam.adaptation is not None:
        raise ValueError(f"this SAM carries {sam.adaptation.method} already")
    chosen = get_method(method)
    parsed = chosen.parse(settings or {})
    before = _persistent_buffers(sam)
    sam.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the generators of all devices for good.
        torch.default_generator.manual_seed(seed)
        chosen.apply(sam, parsed)
    sam.train(sam.training)  # new layers start in training mode, whatever the SAM is in
    if chosen.trains_decoder:
        sam.mask_decoder.requires_grad_(True)
        sam.mask_decoder.iou_prediction_head.requires_grad_(False)
    added = tuple(sorted(_persistent_buffers(sam) - before))
    adaptation = Adaptation(method, dataclasses.asdict(parsed), seed, added)
    sam.adaptation = adaptation
    return adaptation


def adaptation_of(sam: Sam) -> Adaptation | None:
    """What a method put on this SAM, if any did."""
    adaptation: Adaptation | None = sam.adaptation
    return adaptation


def trainable_parameters(sam: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that an optimiser may change, by name."""
    return {name: p for name, p in sam.named_parameters() if p.requires_grad}


def _persistent_buffers(model: nn.Module) -> set[str]:
    return set(model.state_dict()) - {name for name, _ in model.named_parameters()}
