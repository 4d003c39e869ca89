"""The registry of methods, and `adapt`, which applies one to a SAM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from naslora.core.errors import SettingsError
from naslora.core.registry import Registry
from naslora.core.validation import Settings, readable_errors
from naslora.methods.names import METHOD_NAMES, NETWORK_NAMES
from naslora.sam.building import Sam

MergeMode = Literal["exact", "collapsed", "dense"]
Apply = Callable[[Sam, Any], None]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: the key in settings, records and file names.
        title: the name in tables.
        settings: a class of settings; its defaults are the paper's values.
        apply: puts the method's layers into a SAM whose parameters are all frozen.
        identity: whether the adapted SAM starts with the outputs of the SAM it adapts.
        merges: the modes of `naslora.methods.merge.merge` that it supports. "exact" gives a plain
            SAM with the same outputs; "collapsed", faster layers with the same outputs; "dense", a
            plain SAM with nearly the same outputs.
        trains_decoder: whether the mask decoder is tuned too, as every row of the paper does.
        pretrained: whether it starts from a checkpoint; if not, from random weights.
    """

    name: str
    title: str
    settings: type[Settings]
    apply: Apply
    identity: bool = True
    merges: tuple[MergeMode, ...] = ()
    trains_decoder: bool = True
    pretrained: bool = True

    def parse(self, values: Mapping[str, Any]) -> Settings:
        """Make the settings from plain values.

        Raises:
            SettingsError: a name is unknown, or a value is out of range.
        """
        with readable_errors(f"invalid settings of {self.name}", self.settings):
            return self.settings.model_validate(dict(values))


METHODS: Registry[Method] = Registry(
    "method",
    {name: f"naslora.methods.{name}" for name in METHOD_NAMES}
    | dict.fromkeys(NETWORK_NAMES, "naslora.methods.networks"),
    '@register("NAME", ...)',
)


def register(
    name: str,
    *,
    title: str,
    settings: type[Settings],
    identity: bool = True,
    merges: tuple[MergeMode, ...] = (),
    trains_decoder: bool = True,
    pretrained: bool = True,
) -> Callable[[Apply], Apply]:
    """Register `apply(sam, settings)` as a method; see `Method` for the arguments."""
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise TypeError(
            f"the settings of {name} must be a subclass of {Settings.__module__}.Settings"
        )

    def decorate(apply: Apply) -> Apply:
        METHODS.register(
            name,
            Method(name, title, settings, apply, identity, merges, trains_decoder, pretrained),
        )
        return apply

    return decorate


def get_method(name: str) -> Method:
    """Look up a method.

    Raises:
        SettingsError: there is no method of that name.
    """
    return METHODS.get(name)


def method_names() -> list[str]:
    """Names of all methods, in the order of Table 1; those of a user's own files last.

    Networks other than SAM are registered too, but not listed here.
    """
    return [name for name in METHODS.names() if name not in NETWORK_NAMES]


def load_method_files(paths: Iterable[Path]) -> None:
    """Register methods of Python files outside this package; see `Registry.load_file`.

    Raises:
        SettingsError: a file does not exist or does not register a method of its name, or the name
            is taken.
    """
    for path in paths:
        METHODS.load_file(path)


@dataclass(frozen=True)
class Adaptation:
    """A method as applied to a SAM, with everything needed to apply it to another one.

    Attributes:
        method: the name in the registry.
        settings: all settings, defaults included.
        seed: of the new layers' initialisation.
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
    """Freeze a SAM, apply a method to it, and unfreeze what the method trains.

    New layers are initialised only from `seed`, whatever random numbers were drawn before.

    Raises:
        SettingsError: the method or one of its settings is unknown or invalid.
        ValueError: this SAM is adapted already.
    """
    if sam.adaptation is not None:
        raise ValueError(f"this SAM carries {sam.adaptation.method} already")
    chosen = get_method(method)
    parsed = chosen.parse(settings or {})
    before = _persistent_buffers(sam)
    required = {name: p.requires_grad for name, p in sam.named_parameters()}
    sam.requires_grad_(False)
    try:
        with seeded_init(seed):
            chosen.apply(sam, parsed)
    except SettingsError:
        for name, parameter in sam.named_parameters():
            parameter.requires_grad_(required.get(name, True))
        raise
    sam.train(sam.training)  # new layers start in training mode, whatever the SAM is in
    if chosen.trains_decoder:
        sam.mask_decoder.requires_grad_(True)
        for part in sam.mask_decoder.unused_without_prompts():
            part.requires_grad_(False)
    added = tuple(sorted(_persistent_buffers(sam) - before))
    adaptation = Adaptation(method, parsed.model_dump(), seed, added)
    sam.adaptation = adaptation
    return adaptation


def adaptation_of(sam: Sam) -> Adaptation | None:
    """The method that was applied to this SAM; None for a plain one."""
    adaptation: Adaptation | None = sam.adaptation
    return adaptation


def trainable_parameters(sam: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that an optimiser may change, by name."""
    return {name: p for name, p in sam.named_parameters() if p.requires_grad}


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Draw weights from a seed only, in float32 under any default dtype.

    The global random state is restored afterwards.
    """
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the generators of all devices for good.
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def _persistent_buffers(model: nn.Module) -> set[str]:
    return set(model.state_dict()) - {name for name, _ in model.named_parameters()}
