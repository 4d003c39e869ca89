"""Settings from Snakemake's `--config`, as options of the commands in jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml


def read_config(value: Any) -> Any:
    """Settings from `--config`, in which Snakemake leaves nested values as text."""
    if isinstance(value, Mapping):
        return {key: read_config(item) for key, item in value.items()}
    if isinstance(value, list):
        return [read_config(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def study_options(study: str, overrides: Mapping[str, Any]) -> list[str]:
    """The options that select the study and its settings in a `naslora` command.

    Args:
        study: its name.
        overrides: nested settings that win over the study's.
    """
    settings = {key: value for key, value in overrides.items() if key != "study"}
    pairs = [word for pair in _pairs(settings) for word in ("--set", pair)]
    return ["--study", study, *pairs]


def flow_yaml(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _pairs(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as `dotted.key=value`, the values in YAML."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={flow_yaml(value)}"
