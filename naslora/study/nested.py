"""Settings as nested mappings: dotted keys, and deltas that are merged level by level."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from naslora.core.errors import SettingsError
from naslora.core.registry import did_you_mean

# Mappings whose keys the user chooses, so that new keys are allowed.
_OPEN = {"variants", "generated", "method_settings", "network_tasks", "task_training"}


def merge(
    base: dict[str, Any], delta: Mapping[str, Any], source: str, at: str = ""
) -> dict[str, Any]:
    """`base` with the values of `delta`, level by level; a variant that is None is left out.

    Args:
        base: contains all known keys.
        delta: the values that differ.
        source: where `delta` comes from, for messages.
        at: dotted path of `base`, with a final dot.

    Raises:
        SettingsError: `delta` has a key that `base` lacks.
    """
    merged = dict(base)
    for key, value in delta.items():
        path = f"{at}{key}"
        top = path.partition(".")[0]
        if key not in base and top not in _OPEN:
            known = [f"{at}{name}" for name in base]
            raise SettingsError(
                f"unknown setting {path} in {source}", remedy=did_you_mean(path, known)
            )
        old = base.get(key)
        if path in _OPEN and not value:
            merged[key] = {}  # none at all, such as no variants
        elif at == "variants." and value is None:
            if merged.pop(key, None) is None:
                raise SettingsError(
                    f"no variant {key} that {source} could leave out",
                    remedy=f"there are {', '.join(base) or 'none'}",
                )
        elif isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = merge(old, value, source, f"{path}.")
        else:
            merged[key] = value
    return merged


def without(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the keys that `others` has too, level by level."""
    left = {}
    for key, value in values.items():
        other = others.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            left[key] = without(value, other)
        elif key not in others:
            left[key] = value
    return left


def nest(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Turn dotted keys into nested mappings; later keys win over earlier ones."""
    nested: dict[str, Any] = {}
    for key, value in pairs:
        first, dot, rest = str(key).partition(".")
        below = {rest: value} if dot else value
        if isinstance(below, Mapping):
            old = nested.get(first)
            before = old.items() if isinstance(old, dict) else ()
            below = nest([*before, *below.items()])
        nested[first] = below
    return nested
