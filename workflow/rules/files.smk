# The files of jobs: what rules take, and what the targets ask for.
from functools import cache
from pathlib import Path

from naslora.analysis.document import PRETRAINED, RANDOM, TABLE_MODELS
from naslora.data.archives.catalogue import find
from naslora.data.archives.sources import choose
from naslora.study.records import CONTROLS
from naslora.report.figures.catalogue import figure_paths, figures_of
from naslora.report.tables.catalogue import TABLES, table_paths, tables_of
from naslora.sam.backbones import BACKBONES

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


def official_checkpoint():
    known = BACKBONES[study.sam.backbone].checkpoint
    if known is None:
        raise WorkflowError(
            f"the backbone {study.sam.backbone} has no official checkpoint\n"
            "  what to do: set sam.checkpoint to pretrained, or to a file of your own"
        )
    return study.sam.checkpoints / known.name


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
    """The names of the tables that are made of timings, alone or with records."""
    return [name for name in tables_of(study) if not TABLES[name].from_records]


def timing_tables():
    return [path for name in timing_table_names() for path in table_paths(study, name)]


def timings():
    """Of the machine that the pipeline runs on, and of others that were timed by hand.

    In a copy that holds records alone, those that came with them.
    """
    there = sorted(layout.timing.glob("*.json"))
    return there if records_alone() else sorted({*there, TIMED_HERE})


def figures(weights=None):
    """The files of the figures that need weights and images, of those that do not, or of all."""
    names = figures_of(study, weights=weights)
    return [path for name in names for path in figure_paths(study, name)]


def shown(paths, kind):
    """The same files; `snakemake --report` shows those that a browser can."""
    options = {"caption": f"../report/{kind}.rst", "category": f"{kind}s"}
    visible = {"figure": ".png", "table": ".csv"}[kind]
    return [report(p, **options) if p.suffix == visible else p for p in paths]


def drawable_figures():
    """A copy of the results may hold records alone, or have no images to draw pictures of."""
    whole = not records_alone() and not images_missing()
    return figures() if whole else figures(weights=False)


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
