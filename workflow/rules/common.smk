import os
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import snakemake_logger_plugin_naslora as naslora_logger
import yaml
from snakemake.logging import logger
from snakemake.shell import shell

from naslora.analysis.document import (
    PRETRAINED,
    RANDOM,
    TABLE_MODELS,
    analysis_fingerprint,
)
from naslora.data.archives import find
from naslora.data.manifest import read_manifest
from naslora.data.sources import choose
from naslora.errors import NasloraError
from naslora.files import fingerprint
from naslora.history import History
from naslora.layout import Layout
from naslora.needs import MEMORY_MB
from naslora.report.figures import FIGURES, figure_paths, figures_from
from naslora.report.products import TABLES, table_paths, tables_of
from naslora.sam.official import official_checkpoints
from naslora.server import ADDRESS, start_server
from naslora.settings import load_study
from naslora.timing.document import timing_fingerprint

# The rules rerun when a setting that they depend on changes, and only then: each has a param with
# the fingerprint of exactly these settings. What names the study to the command must not trigger
# anything itself. Snakemake ignores params of functions that take `output`: so does `study_options`.

CONTROLS = ("control_blank", "control_mean_mask")
TRAINING_MINUTES = {
    "tiny": 30,
    "small": 240,
    "vit_b": 720,
    "vit_l": 1440,
    "vit_h": 2880,
}
EVALUATION_MINUTES = {
    "tiny": 15,
    "small": 60,
    "vit_b": 120,
    "vit_l": 120,
    "vit_h": 240,
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
    if task in study.generated:
        return settings | {"generated": study.generated[task]}
    manifest = layout.manifest(task)
    recorded = (
        {archive.file: archive.bytes for archive in read_manifest(manifest).archives}
        if manifest.is_file()
        else {}
    )
    chosen = choose(study, task, recorded=recorded).archives
    sizes = {a.file: archive_size(a, recorded) for a in chosen}
    return settings | {"archives": sizes}


overrides = read_values(config)
study = clearly(load_study, overrides=overrides)
layout = Layout.of(study)
history = History(layout)
if workflow.is_main_process:
    clearly(history.settle)
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
FIND_COMMAND = f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}; '
shell.prefix(FIND_COMMAND)


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


##### files #####

# What this pipeline timed; others in the folder are named after their hardware.
TIMED_HERE = layout.timing / "pipeline.json"


def generated_archives(wildcards):
    if wildcards.task in study.generated:
        return [ancient(layout.archives / wildcards.task)]
    return []


def images(wildcards):
    """A copy of the results has manifests and no images; there, each job sees to those it needs.

    Were they an input to be made first, everything that was made from them would be made again.
    """
    folder = layout.prepared(wildcards.task)
    copied = layout.manifest(wildcards.task).is_file() and not folder.exists()
    return [] if copied else [ancient(folder)]


def starting_weights(wildcards):
    """The SAM that a run adapts; a missing file of a user's own is left for the command to miss."""
    if study.sam.checkpoint == "pretrained":
        return [layout.backbone()]
    if study.sam.checkpoint == "official":
        return [ancient(official_checkpoint())]
    return [file for file in [study.sam.checkpoint] if Path(file).is_file()]


@cache
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


def records():
    return [layout.record(*run) for run in study.runs()] + [
        layout.record(task, control, 0) for task in study.tasks for control in CONTROLS
    ]


def record_tables():
    """The names of the tables that are made of records alone."""
    return [name for name in tables_of(study) if TABLES[name].from_records]


def tables():
    return [path for name in record_tables() for path in table_paths(study, name)]


def analysed_run(wildcards):
    """The run that an analysis is of, if it is of one."""
    if wildcards.model in (RANDOM, PRETRAINED):
        return []
    return [layout.receipt(wildcards.task, wildcards.model, wildcards.seed)]


def analyses():
    """Of Table 4's models; in a copy that holds records alone, those that came with them."""
    task, seed = study.analysis_task, study.seeds[0]
    models = [
        model
        for model in TABLE_MODELS
        if model in (RANDOM, PRETRAINED) or model in study.run_names(task)
    ]
    paths = [layout.analysis(task, model, seed) for model in models]
    return [path for path in paths if path.exists()] if records_alone() else paths


def timing_table_names():
    """The names of the tables that are made of timings."""
    return [name for name in tables_of(study) if not TABLES[name].from_records]


def timing_tables():
    return [path for name in timing_table_names() for path in table_paths(study, name)]


def timings():
    """Of the machine that the pipeline runs on, and of others that were timed by hand.

    In a copy that holds records alone, those that came with them.
    """
    there = sorted(layout.timing.glob("*.json"))
    return there if records_alone() else sorted({*there, TIMED_HERE})


def figures(*sources):
    """The files of figures that are made from one of these; of all figures without any."""
    names = figures_from(*sources) if sources else FIGURES
    return [path for name in names for path in figure_paths(study, name)]


def shown(paths, kind):
    """The same files; `snakemake --report` shows those that a browser can."""
    options = {"caption": f"../report/{kind}.rst", "category": f"{kind}s"}
    visible = (".csv", ".png")
    return [p if p.suffix not in visible else report(p, **options) for p in paths]


def drawable_figures():
    """A copy of the results may hold records alone, or have no images to draw pictures of."""
    whole = not records_alone() and not images_missing()
    return figures() if whole else figures("records", "analyses")


def images_missing():
    """Whether some task's images are not here, and neither are archives to unpack them from."""
    return any(
        layout.manifest(task).is_file()
        and not layout.prepared(task).exists()
        and task not in study.generated
        and not all(find(a, study.archives) for a in choose(study, task).archives)
        for task in study.tasks
    )


def records_alone():
    return any(
        layout.record(*run).exists() and not layout.receipt(*run).exists()
        for run in study.runs()
    )


##### resources #####


def growing(amount):
    """An amount that grows with each attempt of a job that was killed for asking too little."""

    def grown(wildcards, attempt):
        return amount * attempt

    return grown


MEMORY = growing(MEMORY_MB[study.sam.backbone])
GPUS = 0 if study.training.accelerator == "cpu" else study.training.devices


def whole_machine(wildcards):
    """Nothing runs beside a job that takes all cores; in SLURM, a job's cores are its own.

    Such a job has to go first, since it would wait for all cores to be idle.
    """
    return workflow.resource_settings.cores or study.training.threads


def alone(wildcards):
    """For `sbatch`. Jobs on a node's other GPUs hardly matter; on its cores they do."""
    return None if GPUS else "--exclusive"


##### hooks #####


def name_jobs(workflow):
    """Tell our progress lines what each job is; executors need not say so."""
    jobs = list(workflow.dag.needrun_jobs())
    groups = {
        group.jobid: [job.jobid for job in group]
        for group in map(workflow.dag.get_job_group, jobs)
        if group is not None
    }
    names = {job.jobid: (job.rule.name, *map(str, job.wildcards)) for job in jobs}
    naslora_logger.name_jobs(names, groups)


def share_imports():
    """Let the jobs of this machine fork from one process that has imported torch already.

    The process ends with this one: it waits for the end of its standard input.
    """
    if os.environ.get(ADDRESS):
        return
    try:
        _, os.environ[ADDRESS] = start_server()
    except OSError as error:
        logger.debug(f"jobs import everything themselves: {error}")


def write_partial_tables():
    """After a failure: tables and status of the records that there are, if some are missing."""
    there = [path.exists() for path in records()]
    if any(there) and not all(there):
        names = " ".join(record_tables())
        shell("naslora table {STUDY_OPTIONS} {names} > /dev/null")
        logger.warning(
            f"some runs are missing; how they stand: {table_paths(study, 'status')[-1]}"
        )


def announce_results():
    pictures = [path for path in figures() if path.suffix == ".png"]
    written = (*tables(), *timing_tables())
    made = [path for path in (*written, *pictures) if path.exists()]
    logger.info(
        "\n".join(
            [f"results of study {study.study}:", *(f"  {path}" for path in made)]
        ),
        extra={"result": True},
    )
