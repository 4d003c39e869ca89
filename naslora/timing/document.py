"""Measurements of speed and memory, as a file that tables and figures read without torch."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from naslora.core.documents import Document, parse_document
from naslora.core.errors import RecordError
from naslora.core.files import fingerprint, write_json
from naslora.core.wording import counted
from naslora.study.layout import Layout
from naslora.study.records import Provenance
from naslora.study.settings import Study

SCHEMA_VERSION: Literal[1] = 1
PassName = Literal["training", "searching", "inference"]
Form = Literal["merged", "collapsed", "as trained"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
# The settings of training that the time of an iteration depends on.
_TRAINING = ("batch_size", "precision", "accelerator", "gradient_checkpointing", "threads")
_ARCHITECTURE = ("alternation", "every_n_steps")


class Timed(Document):
    """One kind of pass with batches of one size.

    Attributes:
        status: `done`, `out of memory` or `diverged`.
        seconds: per image, one number per repeat; empty unless done.
    """

    status: str
    seconds: list[Positive]

    @model_validator(mode="after")
    def _consistent(self) -> Timed:
        if (self.status == "done") != bool(self.seconds):
            raise ValueError("seconds belong to passes that are done, and to no others")
        return self

    @property
    def rates(self) -> tuple[float, ...]:
        """Images per second, one number per repeat."""
        return tuple(1 / seconds for seconds in self.seconds)


class Pass(Document):
    """One kind of pass.

    Attributes:
        batches: by batch size.
        peak_bytes: peak memory with the study's batch size; None if it was not measured.
    """

    batches: dict[Count, Timed]
    peak_bytes: Count | None = None

    def best(self) -> tuple[int, Timed] | None:
        """The batch size with the highest median rate; None if none is done."""
        done = [(size, timed) for size, timed in self.batches.items() if timed.seconds]
        return min(done, key=lambda pair: statistics.median(pair[1].seconds), default=None)


class Measurement(Document):
    """Time and memory of one method.

    Attributes:
        settings: of the method, where they differ from its defaults.
        passes: `training` updates w only; `searching` updates alpha too, for methods that have it;
            `inference` is the forward pass of the whole model.
        inference_form: whether the method was merged into plain layers for inference, or its cells
            were collapsed.
        adapter_bytes: size of the file of saved weights.
    """

    method: str
    title: str
    settings: dict[str, Any]
    passes: dict[PassName, Pass]
    inference_form: Form
    adapter_bytes: Count

    @model_validator(mode="after")
    def _whole(self) -> Measurement:
        if not {"training", "inference"} <= set(self.passes):
            raise ValueError(f"{self.method} needs both training and inference")
        return self


class Timing(Document):
    """Time and memory of the methods of a study on one machine.

    Attributes:
        hardware: a name for the hardware that can be part of a file name.
        fingerprint: of the settings that it depends on, see `timing_fingerprint`.
        images_per_epoch: training images of ISIC 2017.
        settings: of the protocol, and those of training that the cost depends on.
        memory: what `peak_bytes` measures.
        load_average: the machine's load average over one minute, at the start and at the end; the
            latter includes this process.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    study: str
    hardware: str
    fingerprint: str = ""
    backbone: str
    image_size: Count
    batch_size: Count
    images_per_epoch: Count
    settings: dict[str, Any]
    data: str
    memory: str
    methods: list[Measurement]
    load_average: tuple[float, float]
    wall_time_s: Positive
    provenance: Provenance

    @model_validator(mode="after")
    def _whole(self) -> Timing:
        for measurement in self.methods:
            for name, one in measurement.passes.items():
                if self.batch_size not in one.batches:
                    raise ValueError(f"{name} of {measurement.method} lacks the study's batch size")
        return self

    def of(self, method: str) -> Measurement | None:
        """A method's measurement; None if it was not timed."""
        return next((m for m in self.methods if m.method == method), None)


def hardware_tag(hardware: Mapping[str, Any]) -> str:
    """A name for a provenance's hardware that can be part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", hardware_title(hardware).lower()).strip("-")


def hardware_title(hardware: Mapping[str, Any]) -> str:
    """The GPU, or the processor and the number of threads that were used."""
    if "gpu" in hardware:
        return str(hardware["gpu"])
    threads = hardware["threads"]
    return f"{hardware['processor']}, {counted(threads, 'thread')}"


def timed_settings(study: Study) -> dict[str, Any]:
    """The settings of the protocol, and those of training that an iteration's cost depends on."""
    training = study.training.model_dump(mode="json")
    architecture = training["architecture"]
    return {
        "timing": study.timing.model_dump(mode="json"),
        "training": {name: training[name] for name in _TRAINING},
        "architecture": {name: architecture[name] for name in _ARCHITECTURE},
    }


def timing_fingerprint(study: Study) -> str:
    """SHA-256 over the settings that a study's timing depends on."""
    methods = {name: study.run(study.tasks[0], name, 0).method_sha256 for name in study.methods}
    return fingerprint(
        {
            "settings": timed_settings(study),
            "sam": {"backbone": study.sam.backbone, "image_size": study.sam.image_size},
            "methods": methods,
            "method_settings": {m: study.method_settings.get(m, {}) for m in study.methods},
        }
    )


def write_timing(path: Path, timing: Timing) -> None:
    """Write measurements, whole or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    write_json(path, timing.model_dump(mode="json"))


def read_timings(study: Study) -> tuple[dict[str, Timing], dict[str, str]]:
    """The measurements in a study's folder that are of its model and batch size.

    Returns:
        The measurements by file name, those on a GPU first; and why other files are left out.
    """
    found: dict[str, Timing] = {}
    problems: dict[str, str] = {}
    for path in sorted(Layout.of(study).timing.glob("*.json")):
        try:
            found[path.name] = _of_study(path, study)
        except RecordError as error:
            problems[path.name] = error.what
    on_gpu = {name: t for name, t in found.items() if "gpu" in t.provenance.hardware}
    return {**on_gpu, **found}, problems


def read_timing(path: Path) -> Timing:
    """Read measurements.

    Raises:
        RecordError: the file is missing, damaged, or of an unknown schema version.
    """
    again = "time the methods again: naslora time"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecordError("timing not found", where=path, remedy=again) from None
    return parse_document(data, Timing, path, "timing", again, RecordError)


def _of_study(path: Path, study: Study) -> Timing:
    timing = read_timing(path)
    model = (timing.backbone, timing.image_size, timing.batch_size)
    wanted = (study.sam.backbone, study.sam.image_size, study.training.batch_size)
    if model != wanted:
        raise RecordError(
            f"of {_model(*model)}, but the study now has {_model(*wanted)}", where=path
        )
    return timing


def _model(backbone: str, size: int, batch: int) -> str:
    return f"SAM {backbone} at {size} px in batches of {batch}"
