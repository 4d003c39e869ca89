"""The registry of methods, and the one way to put a method on a SAM."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from naslora.sam.building import Sam
from torch import nn

from naslora.errors import SettingsError

Merge = Literal["exact", "approximate", "none"]
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
        merge: whether the layers fold back into a plain SAM, and how well.
        trains_decoder: whether the mask decoder is tuned too, as every row of the paper does.
    """

    name: str
    title: str
    settings: type[Any]
    apply: Apply
    identity: bool = True
    merge: Merge = "none"
    trains_decoder: bool = True

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


def register(
    name: str,
    *,
    title: str,
    settings: type[Any],
    identity: bool = True,
    merge: Merge = "none",
    trains_decoder: bool = True,
) -> Callable[[Apply], Apply]:
    """Register `apply(sam, settings)` as a method; see `Method` for the arguments."""

    def decorate(apply: Apply) -> Apply:
        if name in _METHODS:
            raise ValueError(f"a method named {name!r} is registered already")
        _METHODS[name] = Method(name, title, settings, apply, identity, merge, trains_decoder)
        return apply

    return decorate


def get_method(name: str) -> Method:
    """Look a method up.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in _METHODS:
        raise SettingsError(f"no method named {name!r}; there are {', '.join(_METHODS)}")
    return _METHODS[name]


def method_names() -> list[str]:
    """Names of all registered methods."""
    return list(_METHODS)


@dataclass(frozen=True)
class Adaptation:
    """What was put on a SAM: enough to put it on a fresh one again."""

    method: str
    settings: dict[str, Any]
    seed: int


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
    sam.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        chosen.apply(sam, parsed)
    if chosen.trains_decoder:
        sam.mask_decoder.requires_grad_(True)
        sam.mask_decoder.iou_prediction_head.requires_grad_(False)
    sam.adaptation = Adaptation(method, dataclasses.asdict(parsed), seed)
    return sam.adaptation


def trainable_parameters(sam: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that an optimiser may change, by name."""
    return {name: p for name, p in sam.named_parameters() if p.requires_grad}
