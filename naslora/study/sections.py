"""The sections of a study's settings, with their types and ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from naslora.core.validation import Settings
from naslora.sam.backbones import BACKBONES, AttentionBackend

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SamSettings(Settings):
    backbone: str
    image_size: Annotated[int, Field(ge=32)]
    checkpoint: str
    checkpoints: Path
    decoder: Literal["semantic", "original"]
    mask_tokens: Annotated[int, Field(ge=1)]
    hypernetworks: Literal["shared", "per_token"]
    attention: Literal["auto"] | AttentionBackend

    @field_validator("backbone")
    @classmethod
    def _known(cls, backbone: str) -> str:
        if backbone not in BACKBONES:
            raise ValueError(f"no such backbone; there are {', '.join(BACKBONES)}")
        return backbone

    @field_validator("image_size")
    @classmethod
    def _whole_patches(cls, size: int, info: ValidationInfo) -> int:
        if backbone := BACKBONES.get(info.data.get("backbone", "")):
            backbone.grid((size, size))
        return size


class PretrainingSettings(Settings):
    """Training of a small backbone on generated scenes, as SAM was trained.

    `prompts` and `objective`: see `naslora.training.pretraining.run`.
    """

    objective: Literal["promptable", "prompt_free", "both"]
    start: Path | None
    scenes: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=1)]
    prompts: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warm_up: Annotated[int, Field(ge=0)]
    validation_scenes: Annotated[int, Field(ge=1)]
    validate_every: Annotated[int, Field(ge=1)]
    precision: Literal["32-true", "bf16-mixed"]
    threads: Annotated[int, Field(ge=1)]
    checkpoint_minutes: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class DataSettings(Settings):
    split_seed: int


class ArchitectureSettings(Settings):
    """Stage 2 of Algorithm 1: the optimiser of the architecture parameters alpha."""

    start_epoch: Annotated[int, Field(ge=0)]
    alternation: Literal["stage_wise", "simultaneous"]
    data: Literal["batch", "val", "held_out"]
    every_n_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _data_is_used(self) -> ArchitectureSettings:
        if self.alternation == "simultaneous" and self.data != "batch":
            raise ValueError("simultaneous steps share one batch, so data must be batch")
        return self


class TrainingSettings(Settings):
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    horizontal_flip: Fraction
    lambda_seg: Annotated[float, Field(ge=0)]
    lambda_cls: Annotated[float, Field(ge=0)]
    no_object_weight: Annotated[float, Field(ge=0)]
    architecture: ArchitectureSettings
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    gradient_checkpointing: bool
    devices: Annotated[int, Field(ge=1)]
    num_nodes: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=0)]
    checkpoint_minutes: Annotated[float, Field(ge=0)]


class EvaluationSettings(Settings):
    size: Literal["native", "input"]
    batch_size: Annotated[int, Field(ge=1)]


class AnalysisSettings(Settings):
    """Table 4, and whose images its figures show."""

    task: Name | None
    images: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]


class TimingSettings(Settings):
    """Table 5: each method has so many turns (`repeats`) of so many iterations (`steps`)."""

    steps: Annotated[int, Field(ge=1)]
    warm_up: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=1)]
    batch_sizes: list[Annotated[int, Field(ge=1)]]
