from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from naslora.methods.names import NETWORK_NAMES
from naslora.study.layout import Layout
from naslora.study.settings import Study

ROOT = Path(__file__).parents[2]
MOMENTS = str(Path(__file__).with_name("moments.py"))
TASK = "kvasir"
Forked = Callable[[list[str]], int]


class Run:
    """A run of a variant. Each attempt trains it in a process of its own.

    Args:
        study: with images and backbone.
        variant: what to train.
        options: the command-line options that select the study.
        monkeypatch: of the test.
        forked: runs a command.
    """

    def __init__(
        self,
        study: Study,
        variant: str,
        options: list[str],
        monkeypatch: pytest.MonkeyPatch,
        forked: Forked,
    ):
        self.study = study
        self.layout = Layout.of(study)
        self.folder = self.layout.run(TASK, variant, 0)
        self.receipt = self.layout.receipt(TASK, variant, 0)
        self.note = self.layout.attempt(TASK, variant, 0)
        self.command = ["train", "--task", TASK, "--variant", variant, *options]
        self._variant = variant
        self._monkeypatch = monkeypatch
        self._forked = forked

    def attempt(self, fault: str = "", *more: str) -> int:
        """Train in a process of its own, in which a fault may occur; returns the exit code."""
        self._monkeypatch.setenv("NASLORA_TEST_FAULT", fault)
        return self._forked([*self.command, *more])

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def outcome(self) -> tuple[bytes, dict[str, Any]]:
        """The bytes of the weights, and the receipt without times and memory."""
        receipt = json.loads(self.receipt.read_text(encoding="utf-8"))
        for name in ("attempts", "wall_time_s", "peak_memory_bytes"):
            del receipt[name]
        for name in ("workers", "checkpoint_minutes"):
            del receipt["settings"]["training"][name]
        for epoch in receipt["history"]:
            del epoch["seconds"]
        return self.layout.adapter(TASK, self._variant, 0).read_bytes(), receipt


@pytest.fixture
def new_run(
    copied: Callable[..., Study],
    options: Callable[..., list[str]],
    forked: Forked,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Run]:
    """A run of a variant in a folder of its own, with settings of its training."""
    monkeypatch.chdir(ROOT)

    def make(variant: str, folder: str, **training: Any) -> Run:
        overrides = {
            "methods": [MOMENTS] if variant in NETWORK_NAMES else [variant, MOMENTS],
            "networks": [variant] if variant in NETWORK_NAMES else [],
            "sam": {"image_size": 32, "checkpoint": "pretrained"},
            "training": {
                "epochs": 2,
                "decay_start": 0.5,
                "architecture": {"start_epoch": 1},
                **training,
            },
        }
        study = copied(overrides, folder=folder)
        return Run(study, variant, options(study, overrides), monkeypatch, forked)

    return make
