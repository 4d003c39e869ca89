"""Adapt a SAM to user-supplied images with one method."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from naslora.core.errors import DivergedError, RecordError
from naslora.core.files import whole_file
from naslora.data.audit.saved import read_audit
from naslora.data.benchmarks.contract import get_benchmark
from naslora.data.manifest import Manifest, read_manifest
from naslora.data.prepare import prepare
from naslora.evaluation.controls import evaluate_controls
from naslora.evaluation.names import main_metric, metric_name
from naslora.evaluation.receipts import is_trained
from naslora.evaluation.runs import ADAPTER_NAME
from naslora.evaluation.train_and_evaluate import train_and_evaluate
from naslora.own.study import FitOptions, make_study
from naslora.report.figures.catalogue import write_figures
from naslora.report.page.build import write_report
from naslora.results.aggregate import aggregate
from naslora.results.verdict import judge
from naslora.study.layout import Layout
from naslora.study.records import Record, read_receipt
from naslora.study.settings import Study


@dataclass(frozen=True)
class Fit:
    """The result of `fit`.

    Attributes:
        folder: the folder of the run, for `naslora predict`.
        scores: the scores on the held-out images by metric, as tables show them.
        best_control: title and main score of the best control, which does not use the image.
        gain: by how much the run's main score is better than the best control's.
        interval: the 95 % interval of the gain over test images; None where the metric cannot be
            resampled.
        learnt: whether the main score is significantly better: the interval lies above 0.
        summary: a sentence that says so.
        report: an HTML page with curves, scores, and the best and worst images.
    """

    folder: Path
    scores: dict[str, float]
    best_control: tuple[str, float]
    gain: float
    interval: tuple[float, float] | None
    learnt: bool
    summary: str
    report: Path


def fit(
    data: Path,
    out: Path,
    method: str = "nas_pc_lora",
    options: FitOptions | None = None,
    log: Callable[[str], None] = print,
) -> Fit:
    """Adapt a SAM to user-supplied images: split, audit, train, evaluate, report.

    The run is a study of one task, with the same steps as the benchmarks. Ctrl-C saves and stops
    it; the same call resumes it.

    Args:
        data: a folder with `images` and `masks`; a CSV file with the columns image and mask, and
            perhaps split and group; or a COCO JSON file.
        out: the folder of the run: a new one, or that of an earlier, equal call.
        method: a method by name, or the file of one from outside the package.
        options: backbone, image size, training, and how masks are read.
        log: called with lines to print.

    Raises:
        AuditError: the images are not a data set, or masks are ambiguous; it says how to fix this.
            Or the file of an earlier call's audit is damaged.
        SettingsError: a setting is invalid, or `out` holds another run.
        DivergedError: a loss was not finite.
        StoppedError: the run was stopped; it has been saved.
    """
    options = options or FitOptions()
    study, _ = make_study(data, out, [method], [options.seed], options, log)
    (task,), (name,) = study.tasks, study.methods
    layout, seed = Layout.of(study), options.seed
    manifest = _prepared(study, task, log)
    log(f"{len(manifest.samples)} images prepared; audit: {layout.audit(task).with_suffix('.md')}")
    if is_trained(study, task, name, seed):
        log("this run has been trained already; its scores are recomputed")
    record = train_and_evaluate(study, task, name, seed)
    if record.status == "diverged":
        raise DivergedError(
            record.message or "the run diverged",
            where=layout.record(task, name, seed),
            remedy="repeat the command in another folder, with a lower learning rate",
        )
    evaluate_controls(study, task)
    write_figures(study, ["figureC1", "gallery"], allow_empty=True)
    report = write_report(study)
    adapter, target = layout.adapter(task, name, seed), out.absolute() / ADAPTER_NAME
    with whole_file(target) as temporary:
        shutil.copyfile(adapter, temporary)
    result = _judged(study, record, out.absolute(), report)
    receipt = read_receipt(layout.receipt(task, name, seed))
    log(f"trained {receipt.trainable_parameters:,} of {receipt.total_parameters:,} parameters")
    for metric, value in result.scores.items():
        log(f"  {metric:12} {value:6.1f}")
    log(result.summary)
    return result


def _prepared(study: Study, task: str, log: Callable[[str], None]) -> Manifest:
    """The manifest of the task, which is made unless an earlier call has made it."""
    layout = Layout.of(study)
    manifest, audit = layout.manifest(task), layout.audit(task)
    if not (manifest.is_file() and audit.is_file() and layout.prepared(task).is_dir()):
        return prepare(study, task)
    for finding in read_audit(audit).findings:  # which the first call printed as it prepared them
        log(f"audit: {finding.text} ({len(finding.items)})")
    return read_manifest(manifest)


def _judged(study: Study, record: Record, out: Path, report: Path) -> Fit:
    """Compare a run with the controls on the first test set's main metric.

    Raises:
        RecordError: the record or those of the controls cannot be used.
    """
    (task,), (method,) = study.tasks, study.methods
    benchmark = get_benchmark(task)
    test_set, main = benchmark.test_sets[0], main_metric(benchmark.metrics)
    verdict = judge(aggregate(study).comparisons.of(task, test_set, main), method)
    if verdict is None:
        raise RecordError(
            "there is no score to compare with those of the controls",
            where=Layout.of(study).records,
            remedy="repeat the command in another folder",
        )
    values = record.metrics[test_set]
    named = {key: metric_name(key) for key in values}
    return Fit(
        folder=out,
        scores={named[key].title: named[key].scale * value for key, value in values.items()},
        best_control=(verdict.control, verdict.control_score),
        gain=verdict.gain,
        interval=verdict.interval,
        learnt=verdict.sign > 0,
        summary=verdict.sentence,
        report=report,
    )
