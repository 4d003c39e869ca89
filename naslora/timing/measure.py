"""Table 5's protocol: time and memory of a study's methods on this machine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from naslora.core.wording import counted
from naslora.data.benchmarks.contract import get_benchmark
from naslora.methods.registry import load_method_files
from naslora.sam.building import Sam
from naslora.study.layout import Layout
from naslora.study.provenance import provenance
from naslora.study.settings import Study
from naslora.timing.document import (
    Measurement,
    Pass,
    PassName,
    Timed,
    Timing,
    hardware_tag,
    timed_settings,
    timing_fingerprint,
    write_timing,
)
from naslora.timing.memory import training_peak, what_is_measured
from naslora.timing.protocol import Call, DroppedError, alternate
from naslora.timing.subjects import Subject, random_batch, random_sam, searches
from naslora.training.device import launch_fabric

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TASK = "isic2017"  # the number of its training images defines an epoch
DATA = (
    "random weights, and images and labels of noise in the model's input size: neither changes "
    "what a pass costs. Reading images is not timed; copying them to the device is."
)
_Key = tuple[str, PassName]


def time_methods(
    study: Study, output: Path | None = None, log: Callable[[str], None] = lambda line: None
) -> Path:
    """Time every method of a study on this machine, and write the measurements.

    All methods take turns in one process: training of w, training of w and alpha for methods that
    have it, and inference; with the study's batch size, and with those in the settings. No image
    and no checkpoint is read. Other programs on the machine distort the numbers.

    Args:
        study: its settings under `timing` give the numbers of iterations and repeats.
        output: the file; by default named after the hardware, in the study's folder of timings.
        log: called with lines about progress.

    Returns:
        The path of the file.

    Raises:
        SettingsError: this machine lacks the accelerator.
        DiskError: the file cannot be written.
    """
    began, load = time.perf_counter(), _load_average()
    load_method_files(study.method_files.values())
    fabric = launch_fabric(study.training.model_copy(update={"devices": 1, "num_nodes": 1}))
    session = _Session(study, fabric, log)
    methods = session.measure()
    with fabric.autocast():
        about = provenance(fabric.device, session.base)
    timing = Timing(
        study=study.study,
        hardware=hardware_tag(about.hardware),
        fingerprint=timing_fingerprint(study),
        backbone=study.sam.backbone,
        image_size=study.sam.image_size,
        batch_size=study.training.batch_size,
        images_per_epoch=get_benchmark(TASK).expected["train"],
        settings=timed_settings(study),
        data=DATA,
        memory=what_is_measured(fabric.device),
        methods=methods,
        load_average=(load, _load_average()),
        wall_time_s=time.perf_counter() - began,
        provenance=about,
    )
    path = output or Layout.of(study).timing / f"{timing.hardware}.json"
    write_timing(path, timing)
    return path


class _Session:
    """The measurements of one process.

    Attributes:
        base: the SAM that the methods adapt; set by `measure`.
    """

    base: Sam

    def __init__(self, study: Study, fabric: Fabric, log: Callable[[str], None]):
        self._study = study
        self._fabric = fabric
        self._log = log
        settings = study.timing
        self._batch_sizes = dict.fromkeys((study.training.batch_size, *settings.batch_sizes))
        self._searching = {m for m in study.methods if searches(study, m)}
        self._timed: dict[_Key, dict[int, Timed]] = defaultdict(dict)

    def measure(self) -> list[Measurement]:
        methods = self._study.methods
        peaks = {key: self._peak(key) for method in methods for key in self._trainings(method)}
        self._log("memory is measured")
        self.base = random_sam(self._study, self._fabric)
        subjects = {m: Subject(self._study, m, self._fabric, self.base) for m in methods}
        for size in self._batch_sizes:
            self._time_training(subjects, size)
        sizes = {method: subject.finalize() for method, subject in subjects.items()}
        for size in self._batch_sizes:
            self._time_inference(subjects, size)
        return [
            Measurement(
                method=method,
                title=subject.title,
                settings=self._study.method_settings.get(method, {}),
                passes={
                    key[1]: Pass(batches=self._timed[key], peak_bytes=peaks.get(key))
                    for key in (*self._trainings(method), (method, "inference"))
                },
                inference_form=subject.form,
                adapter_bytes=sizes[method],
            )
            for method, subject in subjects.items()
        ]

    def _trainings(self, method: str) -> list[_Key]:
        plain: list[_Key] = [(method, "training")]
        return [*plain, (method, "searching")] if method in self._searching else plain

    def _peak(self, key: _Key) -> int | None:
        """Peak memory; None for a method that cannot be trained, which is then not timed either.

        On a CPU, a method that does not fit into memory would kill this process.
        """
        method, name = key
        try:
            return training_peak(self._study, method, self._fabric, searching=name == "searching")
        except DroppedError as problem:
            for size in self._batch_sizes:
                self._timed[key][size] = Timed(status=problem.status, seconds=[])
            return None

    def _time_training(self, subjects: Mapping[str, Subject], size: int) -> None:
        batch = random_batch(self._study, size)
        calls: dict[_Key, tuple[Call, int]] = {}
        for method, subject in subjects.items():
            for key in self._trainings(method):
                if size not in self._timed[key]:
                    calls[key] = subject.training(batch, searching=key[1] == "searching")
        self._time(calls, size)
        self._log(f"training is timed, {counted(size, 'image')} per batch")

    def _time_inference(self, subjects: Mapping[str, Subject], size: int) -> None:
        images, _ = random_batch(self._study, size)
        calls: dict[_Key, tuple[Call, int]] = {
            (method, "inference"): (subject.inference(images), size)
            for method, subject in subjects.items()
        }
        self._time(calls, size)
        self._log(f"inference is timed, {counted(size, 'image')} per batch")

    def _time(self, calls: Mapping[_Key, tuple[Call, int]], size: int) -> None:
        """Time calls with batches of a size; each comes with the number of images it processes."""
        settings = self._study.timing
        found = alternate(
            {key: call for key, (call, _) in calls.items()},
            steps=settings.steps,
            warm_up=settings.warm_up,
            repeats=settings.repeats,
            synchronise=self._synchronise,
        )
        for key, turns in found.items():
            seconds = [value / calls[key][1] for value in turns.seconds]
            self._timed[key][size] = Timed(status=turns.status, seconds=seconds)

    def _synchronise(self) -> None:
        device = self._fabric.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()


def _load_average() -> float:
    return psutil.getloadavg()[0]
