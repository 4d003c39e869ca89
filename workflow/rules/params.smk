# What a job depends on. The rules rerun when a setting that they depend on changes, and only then:
# each has a param with the fingerprint of exactly these settings. What names the study to the
# command must not trigger anything itself. Snakemake ignores params of functions that take
# `output`: so does `study_options`.
from naslora.analysis.document import analysis_fingerprint
from naslora.data.archives.catalogue import find
from naslora.data.manifest import read_manifest
from naslora.data.archives.sources import choose
from naslora.data.own.benchmark import OwnData, source_bytes
from naslora.core.files import fingerprint, sha256
from naslora.timing.document import timing_fingerprint


def archive_size(archive, recorded):
    """Bytes of an archive: as found, as a manifest recorded, or as it will be downloaded."""
    if archive.access == "http" and archive.size is None:
        return None
    if path := find(archive, study.archives):
        return path.stat().st_size
    known = [recorded[name] for name in archive.names if name in recorded]
    return known[0] if known else archive.size


def data_settings(task):
    """What a task's images depend on. Archives are told apart by size, not by where they lie."""
    settings = {"data": study.data.model_dump(mode="json")}
    if task in study.task_files:
        settings["benchmark"] = sha256(study.task_files[task])
    if task in study.generated:
        return settings | {"generated": study.generated[task]}
    manifest = layout.manifest(task)
    recorded = (
        {archive.file: archive.bytes for archive in read_manifest(manifest).archives}
        if manifest.is_file()
        else {}
    )
    choice = choose(study, task, recorded=recorded)
    sizes = {a.file: archive_size(a, recorded) for a in choice.archives}
    if isinstance(choice.benchmark, OwnData):
        own = choice.benchmark.description
        there = own.data.exists()
        sizes[own.data.name] = (
            source_bytes(own) if there else recorded.get(own.data.name)
        )
    return settings | {"archives": sizes}


data_fingerprints = {
    task: fingerprint(clearly(data_settings, task)) for task in study.tasks
}


def study_options(wildcards, output):
    return STUDY_OPTIONS


def data_fingerprint(wildcards):
    return data_fingerprints[wildcards.task]


def backbone_fingerprint(wildcards):
    """Pretraining runs on the training's device, and shares no more with it."""
    return fingerprint(
        {
            "sam": study.sam.model_dump(mode="json", exclude={"checkpoints"}),
            "pretraining": study.pretraining.model_dump(mode="json"),
            "machine": study.training.model_dump(mode="json", include={"accelerator"}),
        }
    )


def run_fingerprint(wildcards):
    run = clearly(study.run, wildcards.task, wildcards.variant, int(wildcards.seed))
    return run.fingerprint()


def evaluation_fingerprint(wildcards):
    return fingerprint(study.evaluation.model_dump(mode="json"))


def controls_fingerprint(wildcards):
    """Controls are evaluated as runs are, on masks of the training images' size."""
    return fingerprint(
        {
            "evaluation": study.evaluation.model_dump(mode="json"),
            "image_size": study.sam.image_size,
        }
    )


def analysed_settings(wildcards):
    return clearly(
        analysis_fingerprint,
        study,
        wildcards.task,
        wildcards.model,
        int(wildcards.seed),
    )


def timing_settings(wildcards):
    return clearly(timing_fingerprint, study)


def timing_selection(wildcards):
    """The rows of a table of timings, and the schedule that its notes speak of."""
    training = study.training
    return fingerprint(
        {
            "methods": study.methods,
            "schedule": [training.epochs, training.architecture.start_epoch],
        }
    )


def selection_fingerprint(wildcards):
    """The rows, columns and seeds of a table."""
    return fingerprint(
        {
            "tasks": study.tasks,
            "runs": study.runs(),
        }
    )
