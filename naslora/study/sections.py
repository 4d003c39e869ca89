"""The sections of a study's settings, with their types and ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from naslora.core.validation import Settings
from naslora.nas.settings import OptimiserSettings
from naslora.sam.backbones import BACKBONES
from naslora.sam.backends import AttentionBackend

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
# Numbers that torch accepts as a seed.
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class SamSettings(Settings):
    """The SAM that methods adapt.

    Attributes:
        backbone: a key of `naslora.sam.backbones.BACKBONES`.
        image_size: side of the square that images are resized to, in pixels; a multiple of the
            backbone's patch size.
        checkpoint: official, shipped, pretrained (by this study), random, or a file.
        checkpoints: folder of official checkpoints.
        decoder: the paper's semantic decoder, or Meta's original one.
        mask_tokens, hypernetworks: see `naslora.sam.building.build_sam`.
        attention: see `naslora.sam.image_encoder.ImageEncoderViT.attention_backend`.
    """

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

    Attributes:
        objective: losses of prompted masks, of masks without a prompt, or of both.
        start: a checkpoint to start from; random weights by default.
        scenes: number of scenes, which are drawn once.
        steps: number of steps; 0 if the study pretrains nothing.
        batch_size: scenes per step.
        prompts: prompts per scene.
        learning_rate: the highest learning rate of AdamW.
        weight_decay: the weight decay of AdamW.
        warm_up: steps over which the learning rate rises.
        validation_scenes: held-out scenes that are scored every `validate_every` steps.
        checkpoint_minutes: minutes between checkpoints; 0 for one after every step.
        seed: the random seed of the weights, the scenes and their order.
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
    seed: Seed

    def recorded(self) -> dict[str, Any]:
        """The settings that the weights depend on, as the JSON file beside them holds them.

        Of the path of the checkpoint to start from, only the file name is kept.
        """
        start = None if self.start is None else self.start.name
        return {**self.model_dump(mode="json", exclude={"checkpoint_minutes"}), "start": start}


class DataSettings(Settings):
    """The data of a study."""

    split_seed: Seed


class TrainingSettings(OptimiserSettings):
    """Training of a run.

    Attributes:
        class_weights: weights of the classes in the losses, the background first: none, by their
            share of the training images, or as listed; see `naslora.training.class_weights`.
        validate_every_n_epochs: epochs between validations; 0 for none.
        validation_images: maximum number of validation images; None for all.
        select: the epoch whose weights are kept: the last, or that of the best validation score.
        patience: epochs without a better validation score after which training stops; None for
            never.
        checkpoint_minutes: minutes between checkpoints; 0 for one after every step.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    horizontal_flip: Fraction
    lambda_seg: Annotated[float, Field(ge=0)]
    lambda_cls: Annotated[float, Field(ge=0)]
    no_object_weight: Annotated[float, Field(ge=0)]
    class_weights: Literal["balanced"] | list[Annotated[float, Field(ge=0)]] | None
    validate_every_n_epochs: Annotated[int, Field(ge=0)]
    validation_images: Annotated[int, Field(ge=1)] | None
    select: Literal["last", "best"]
    patience: Annotated[int, Field(ge=1)] | None
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"]
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    gradient_checkpointing: bool
    devices: Annotated[int, Field(ge=1)]
    num_nodes: Annotated[int, Field(ge=1)]
    threads: Annotated[int, Field(ge=1)]
    workers: Annotated[int, Field(ge=0)]
    checkpoint_minutes: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _some_class_counts(self) -> TrainingSettings:
        if isinstance(self.class_weights, list) and not any(self.class_weights):
            raise ValueError("class_weights must have at least one weight above 0")
        return self

    @model_validator(mode="after")
    def _validation_is_there(self) -> TrainingSettings:
        if not self.validate_every_n_epochs and (self.select == "best" or self.patience):
            raise ValueError("select: best and patience need validate_every_n_epochs above 0")
        return self


class EvaluationSettings(Settings):
    """Evaluation on test sets.

    Attributes:
        size: compare masks at the images' own size ("native") or at the model's input size.
        batch_size: images per forward pass.
    """

    size: Literal["native", "input"]
    batch_size: Annotated[int, Field(ge=1)]


class AnalysisSettings(Settings):
    """Analysis of encoders (Table 4).

    Attributes:
        task: the task whose images are analysed; by default the study's first.
        images: number of test images.
        seed: the random seed of the choice of images.
    """

    task: Name | None
    images: Annotated[int, Field(ge=1)]
    seed: Seed


class TimingSettings(Settings):
    """Measurements of speed and memory (Table 5).

    Attributes:
        steps: measured iterations of a turn.
        warm_up: iterations at the start of each turn that are not measured.
        repeats: turns of each method.
        batch_sizes: images per step that are measured.
    """

    steps: Annotated[int, Field(ge=1)]
    warm_up: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=1)]
    batch_sizes: list[Annotated[int, Field(ge=1)]]
