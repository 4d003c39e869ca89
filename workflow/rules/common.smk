import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from snakemake.logging import logger
from snakemake.shell import shell

from naslora.data.archives import load_archives
from naslora.data.benchmark import get_benchmark
from naslora.data.manifest import read_manifest
from naslora.errors import NasloraError
from naslora.files import fingerprint
from naslora.layout import Layout
from naslora.sam.official import official_checkpoints
from naslora.server import ADDRESS, start_server
from naslora.settings import load_study

# The rules rerun when a setting that they depend on changes, and only then: each has a param with
# the fingerprint of exactly these settings. What names the study to the command must not trigger
# anything itself. Snakemake ignores params of functions that take `output`: so does `study_options`.

TABLES = ("table1",)
FIGURES = ("outlines", "losses")
CONTROLS = ("control_blank", "control_mean_mask")
MEMORY_MB = {
    "tiny": 2000,
    "small": 4000,
    "vit_b": 16000,
    "vit_l": 32000,
    "vit_h": 64000,
}
TRAINING_MINUTES = {
    "tiny": 30,
    "small": 240,
    "vit_b": 720,
    "vit_l": 1440,
    "vit_h": 2880,
}


def read_values(value):
    """Settings from `--config`, where Snakemake leaves nested values as text."""
    if isinstance(value, Mapping):
        return {key: read_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [read_values(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def option_texts(settings, prefix=""):
    """Nested settings as `dotted.key=value` texts, the values in YAML."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from option_texts(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
            text = text.removesuffix("...\n").strip()
            yield f"{prefix}{key}={text}"


def clearly(function, *args, **kwargs):
    """Call, and end the workflow with no more than the message of an error made for people."""
    try:
        return function(*args, **kwargs)
    except NasloraError as error:
        raise WorkflowError(str(error)) from None


def task_archives(task):
    known = load_archives()
    return [known[key] for key in get_benchmark(task).archives]


def archive_size(archive, recorded):
    """Bytes of an archive: as found, as a manifest recorded, or as it will be downloaded."""
    path = study.archives / archive.file
    if archive.access == "http" and archive.size is None:
        return None
    if path.is_file():
        return path.stat().st_size
    return recorded.get(archive.file, archive.size)


def data_settings(task):
    """What a task's images depend on. Archives are told apart by size, not by where they lie."""
    settings = {"data": study.data.model_dump(mode="json")}
    if task in study.generated:
        return settings | {"generated": study.generated[task]}
    manifest = layout.manifest(task)
    recorded = (
        {archive.file: archive.bytes for archive in read_manifest(manifest).archives}
        if manifest.is_file()
        else {}
    )
    sizes = {a.file: archive_size(a, recorded) for a in archives[task]}
    return settings | {"archives": sizes}


overrides = read_values(config)
study = clearly(load_study, overrides=overrides)
layout = Layout.of(study)
archives = {task: clearly(task_archives, task) for task in study.tasks}
data_fingerprints = {
    task: fingerprint(clearly(data_settings, task)) for task in study.tasks
}
STUDY_OPTIONS = shlex.join(
    ["--study", study.study]
    + [
        word
        for text in option_texts(
            {key: value for key, value in overrides.items() if key != "study"}
        )
        for word in ("--set", text)
    ]
)

# Jobs find the command beside the Python that runs Snakemake, its environment activated or not.
shell.prefix(f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}; ')


##### params #####


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


def selection_fingerprint(wildcards):
    """The rows, columns and seeds of a table."""
    return fingerprint(
        {
            "tasks": study.tasks,
            "runs": study.run_names(),
            "seeds": study.seeds,
        }
    )


##### files #####


def generated_archives(wildcards):
    if wildcards.task in study.generated:
        return [ancient(layout.archives / wildcards.task)]
    return []


def starting_weights(wildcards):
    """The SAM that a run adapts; a missing file of a user's own is left for the command to miss."""
    if study.sam.checkpoint == "pretrained":
        return [layout.backbone()]
    if study.sam.checkpoint == "official":
        return [ancient(official_checkpoint())]
    return [file for file in [study.sam.checkpoint] if Path(file).is_file()]


def official_checkpoint():
    known = clearly(official_checkpoints)
    if study.sam.backbone not in known:
        raise WorkflowError(
            f"the backbone {study.sam.backbone} has no official checkpoint\n"
            "  what to do: set sam.checkpoint to pretrained, or to a file of your own"
        )
    return study.sam.checkpoints / known[study.sam.backbone].name


def manifests():
    return [layout.manifest(task) for task in study.tasks]


def runs():
    return [
        (task, variant, seed)
        for task in study.tasks
        for variant in study.run_names()
        for seed in study.seeds
    ]


def records():
    return [layout.record(*run) for run in runs()] + [
        layout.record(task, control, 0) for task in study.tasks for control in CONTROLS
    ]


def tables():
    return [
        layout.table(name, suffix) for name in TABLES for suffix in ("csv", "md", "tex")
    ]


def figures():
    return [layout.figure(name) for name in FIGURES]


def drawable_figures():
    """Figures need weights; a copy of the results that holds records alone has tables alone."""
    records_alone = any(
        layout.record(*run).exists() and not layout.receipt(*run).exists()
        for run in runs()
    )
    return [] if records_alone else figures()


##### resources #####


def growing(amount):
    """An amount that grows with each attempt of a job that was killed for asking too little."""

    def grown(wildcards, attempt):
        return amount * attempt

    return grown


MEMORY = growing(MEMORY_MB[study.sam.backbone])
GPUS = 0 if study.training.accelerator == "cpu" else study.training.devices


##### hooks #####


def check_scheduler(workflow):
    """Without `sbatch`, Snakemake would wait for ever."""
    if workflow.executor_plugin.name == "slurm" and shutil.which("sbatch") is None:
        raise WorkflowError(
            "this machine has no SLURM: the command sbatch is not on the PATH.\n"
            "  what to do: run on a cluster's login node, or here with --profile local"
        )


def share_imports(workflow):
    """Let the jobs of this machine fork from one process that has imported torch already.

    The process ends with this one: it waits for the end of its standard input.
    """
    if workflow.executor_plugin.name != "local" or os.environ.get(ADDRESS):
        return
    try:
        _, os.environ[ADDRESS] = start_server()
    except OSError as error:
        logger.debug(f"jobs import everything themselves: {error}")


def announce_results():
    made = [path for path in (*tables(), *figures()) if path.exists()]
    logger.info(
        "\n".join(
            [f"results of study {study.study}:", *(f"  {path}" for path in made)]
        ),
        extra={"result": True},
    )
