"""The results of an analysis as a JSON document, which tables and figures read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from naslora.core.documents import Document, parse_document
from naslora.core.errors import RecordError
from naslora.core.files import fingerprint, write_json
from naslora.study.layout import Layout
from naslora.study.records import Provenance, Status
from naslora.study.settings import Study

SCHEMA_VERSION: Literal[1] = 1
Scale = Literal["native", "224"]
SCALES: tuple[Scale, ...] = get_args(Scale)
RANDOM, PRETRAINED = "random", "sam"
# The rows of Table 4: key to the paper's name.
TABLE_MODELS = {
    RANDOM: "Randomly initialised ViT",
    PRETRAINED: "SAM ViT",
    "nas_lora": "NAS-LoRA",
}
Finite = Annotated[float, Field(allow_inf_nan=False)]


class LayerStatistics(Document):
    """An encoder of L blocks on square images of one size; means over images.

    Attributes:
        image_size: side of the input in pixels.
        grid: side of the map in patches.
        windows: per block the side of its windows in patches; 0 where attention is global.
        uniform_distance: attention distance of uniform attention over the map, pixels.
        distance: mean attention distance per block and head, pixels; mean over images.
        distance_by_image: mean attention distance per block and image, pixels; mean over heads.
        amplitude: relative log amplitude (natural logarithm) of the input of the first block and
            of each block's output, at evenly spaced frequencies from 0 to pi; mean over images.
        amplitude_by_image: relative log amplitude of the last block's output, per image.
    """

    image_size: int
    grid: int
    windows: list[int]
    uniform_distance: Finite
    distance: list[list[Finite]]
    distance_by_image: list[list[Finite]]
    amplitude: list[list[Finite]]
    amplitude_by_image: list[list[Finite]]

    @model_validator(mode="after")
    def _consistent(self) -> LayerStatistics:
        depth = len(self.windows)
        if {len(self.distance), len(self.distance_by_image)} != {depth}:
            raise ValueError("there must be one list of attention distances per block")
        if len(self.amplitude) != depth + 1:
            raise ValueError(
                "there must be one log amplitude per block, and one of the first block's input"
            )
        if {len(block) for block in self.distance_by_image} != {len(self.amplitude_by_image)}:
            raise ValueError("all statistics must have the same number of images")
        return self


class Analysis(Document):
    """Attention distances and log amplitudes of one model on a choice of images.

    Attributes:
        status: of the model's training run; only a run that is `done` has statistics.
        model: `random`, `sam`, or a method or variant of the study.
        seed: of the random initialisation, or of the run.
        fingerprint: of the settings that the numbers depend on, see `analysis_fingerprint`.
        checkpoint_sha256: of the weights that it started from; None for random weights.
        adapter_sha256: of the run's weights.
        images: ids of the images, in their order.
        scales: by image size: "native" is the study's, "224" a map of 14 x 14 patches.
        merge_errors: by layer and branch, the relative error of the best linear layer in place of
            the cell on these images: |B c(z) - B M z| / |B c(z)|, with M by least squares. Empty
            for a model without cells.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Status
    message: str | None = None
    study: str
    task: str
    model: str
    seed: int
    backbone: str
    settings: dict[str, Any]
    fingerprint: str
    checkpoint_sha256: str | None
    adapter_sha256: str | None
    manifest_sha256: str
    images: list[str]
    scales: dict[Scale, LayerStatistics]
    merge_errors: dict[str, Finite] = Field(default_factory=dict)
    wall_time_s: float
    provenance: Provenance

    @model_validator(mode="after")
    def _whole(self) -> Analysis:
        if set(self.scales) != (set(SCALES) if self.status == "done" else set()):
            raise ValueError(
                "a run that is done needs statistics at both image sizes, any other run none"
            )
        return self


def analysis_fingerprint(study: Study, task: str, model: str, seed: int) -> str:
    """SHA-256 over the settings that an analysis depends on, without folders."""
    settings: dict[str, Any] = {"analysis": study.analysis.model_dump(mode="json"), "task": task}
    if model in (RANDOM, PRETRAINED):
        settings |= {
            "model": model,
            "seed": seed,
            "sam": study.sam.model_dump(mode="json", exclude={"checkpoints"}),
            "data": study.data.model_dump(mode="json"),
        }
        if model == PRETRAINED and study.sam.checkpoint == "pretrained":
            settings["pretraining"] = study.pretraining.model_dump(mode="json")
    else:
        settings["run"] = study.run(task, model, seed).fingerprint()
    return fingerprint(settings)


def write_analysis(path: Path, analysis: Analysis) -> None:
    """Write an analysis, atomically.

    Raises:
        DiskError: the file cannot be written.
    """
    write_json(path, analysis.model_dump(mode="json"))


def read_analysis(study: Study, task: str, model: str, seed: int) -> Analysis:
    """Read an analysis of a study, made with its present settings.

    Raises:
        RecordError: it is missing, damaged, of an unknown schema version, of another model, or was
            made with other settings.
    """
    path = Layout.of(study).analysis(task, model, seed)
    again = f"naslora analyse --study {study.study} --model {model} --task {task} --seed {seed}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecordError("analysis not found", where=path, remedy=f"run {again}") from None
    analysis = parse_document(data, Analysis, path, "analysis", f"run {again}", RecordError)
    own = (analysis.study, analysis.task, analysis.model, analysis.seed)
    if own != (study.study, task, model, seed):
        raise RecordError(f"this analysis is of {' '.join(map(str, own))}", where=path)
    if analysis.fingerprint != analysis_fingerprint(study, task, model, seed):
        raise RecordError(
            "this analysis was made with other settings than the study has now",
            where=path,
            remedy=f"run {again}",
        )
    return analysis
