"""The jobs of a study: their inputs, and the files of the targets.

Snakemake gets inputs that make it run a job exactly if its result is missing or not up to date
(see `naslora.results.freshness`). A job whose result is not up to date gets one more input, a file
that is newer than the result. Inputs of a job that is up to date are marked `ancient` if they are
newer than its result, as may happen in copies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from snakemake.io import ancient

from naslora.analysis.document import PRETRAINED, RANDOM, TABLE_MODELS
from naslora.core.errors import DiskError, SettingsError
from naslora.core.files import disk_errors, write_json
from naslora.data.archives.catalogue import find
from naslora.data.archives.sources import choose
from naslora.report.figures.catalogue import figure_paths, figures_of
from naslora.report.tables.catalogue import TABLES, table_paths, tables_of
from naslora.results.freshness import Freshness
from naslora.sam.backbones import BACKBONES
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import Study

# What Snakemake's input functions return: paths, some marked `ancient`.
Files = list[Any]
# Snakemake's `Wildcards`, whose attributes are strings.
Wildcards = Any
# Files of batches are named after one seed, or `all`.
_SEED, _ALL_SEEDS = "seed", "all"


def seeds_option(seeds: str) -> str:
    """The option of `naslora batch` for the seeds in the name of a batch's file."""
    return "" if seeds == _ALL_SEEDS else f"--seed {seeds.removeprefix(_SEED)}"


class Jobs:
    """Inputs of the rules and files of the targets of a study.

    The methods that take wildcards are input functions of the rule of the same name.

    Args:
        study: the study.
        is_local: tells whether jobs run on this machine, where the start of each process costs
            time, or on a cluster, where more of them run in parallel. It is asked only when
            inputs are.

    Attributes:
        batched: whether all runs of a task, with one seed or all, are one job, as for the small
            backbones, whose runs take hardly longer than the start of a process.
        to_prepare: tasks that this run of the workflow prepares.
        needs_weights: whether one of its jobs needs the checkpoint that runs start from. Both are
            known once Snakemake has asked for the inputs of its jobs.
        timed: the file of the measurements that the pipeline makes; others in the folder are named
            after their hardware.
    """

    def __init__(self, study: Study, *, is_local: Callable[[], bool]):
        self._study = study
        self._layout = Layout.of(study)
        self._fresh = Freshness(study)
        single = study.training.devices * study.training.num_nodes == 1
        batched = BACKBONES[study.sam.backbone].batched
        self.batched = batched is not None and single
        self._by_task = batched == "task"
        self._is_local = is_local
        self.to_prepare: set[str] = set()
        self.needs_weights = False
        self.timed = self._layout.timing / "pipeline.json"

    # Rules.

    def prepare(self, wildcards: Wildcards) -> Files:
        task, fresh = wildcards.task, self._fresh.manifest(wildcards.task)
        if not fresh:
            self.to_prepare.add(task)
        return self._inputs(fresh, [self._layout.manifest(task)], [])

    def pretrain(self, wildcards: Wildcards) -> Files:
        return self._inputs(self._fresh.backbone(), [self._layout.backbone()], [])

    def train(self, wildcards: Wildcards) -> Files:
        run = (wildcards.task, wildcards.variant, int(wildcards.seed))
        needed = [self._layout.manifest(wildcards.task)]
        return self._with_weights(self._fresh.run(*run), self._layout.receipt(*run), needed)

    def evaluate(self, wildcards: Wildcards) -> Files:
        run = (wildcards.task, wildcards.variant, int(wildcards.seed))
        needed = [self._layout.receipt(*run), self._layout.manifest(wildcards.task)]
        return self._with_weights(self._fresh.record(*run), self._layout.record(*run), needed)

    def batch(self, wildcards: Wildcards) -> Files:
        needed = [self._layout.manifest(wildcards.task)]
        done = self._layout.batch(wildcards.task, wildcards.seeds)
        return self._with_weights(False, done, needed)

    def controls(self, wildcards: Wildcards) -> Files:
        task = wildcards.task
        records = [self._layout.record(task, control, 0) for control in CONTROLS]
        return self._inputs(self._fresh.controls(task), records, [self._layout.manifest(task)])

    def analyse(self, wildcards: Wildcards) -> Files:
        task, model, seed = wildcards.task, wildcards.model, int(wildcards.seed)
        needed = [self._layout.manifest(task)]
        if model not in (RANDOM, PRETRAINED):
            needed.append(self._layout.receipt(task, model, seed))
        analysis = self._layout.analysis(task, model, seed)
        return self._with_weights(self._fresh.analysis(task, model, seed), analysis, needed)

    def timing(self, wildcards: Wildcards) -> Files:
        return self._inputs(self._fresh.timing(self.timed), [self.timed], [])

    def tables(self, wildcards: Wildcards) -> Files:
        needed = [*self.records(), *self.analyses()]
        outputs = [*self.table_files(), self._layout.metrics]
        return self._product(self._layout.tables, self.record_tables(), outputs, needed)

    def timing_tables(self, wildcards: Wildcards) -> Files:
        needed = [*self.records(), *self.analyses(), *self.timings()]
        outputs = self.timing_table_files()
        return self._product(self._layout.tables, self.timing_table_names(), outputs, needed)

    def figures(self, wildcards: Wildcards) -> Files:
        needed = [*self.records(), *self.analyses(), *self.timings()]
        names, outputs = figures_of(self._study, weights=False), self.figure_files(weights=False)
        return self._product(self._layout.figures, names, outputs, needed)

    def pictures(self, wildcards: Wildcards) -> Files:
        names, outputs = figures_of(self._study, weights=True), self.figure_files(weights=True)
        return self._product(self._layout.figures, names, outputs, self.records())

    def report(self, wildcards: Wildcards) -> Files:
        needed = [
            *self.records(),
            *self.timings(),
            *self.table_files(),
            *self.timing_table_files(),
            *self._drawable_figures(),
        ]
        outputs = [self._layout.report]
        return self._product(self._layout.root, [self._layout.report.stem], outputs, needed)

    # Targets.

    def all_data(self, wildcards: Wildcards) -> Files:
        return [self._layout.manifest(task) for task in self._study.tasks]

    def all_runs(self, wildcards: Wildcards) -> Files:
        return [*self.records(), *self.analyses(), *self.timings()]

    def all_tables(self, wildcards: Wildcards) -> Files:
        # Records and timings are listed so that deleted ones are made again: Snakemake does not
        # recreate a missing file if everything that was made from it exists.
        return [
            *self.records(),
            *self.timings(),
            *self.table_files(),
            self._layout.metrics,
            *self.timing_table_files(),
            *self._drawable_figures(),
            self._layout.report,
        ]

    def all_figures(self, wildcards: Wildcards) -> Files:
        return list(self.figure_files())

    # Files.

    def records(self) -> list[Path]:
        """The records of all runs and controls; for a batch that must run, its marker file."""
        study, layout = self._study, self._layout
        runs = [(run, run[2]) for run in study.runs()]
        runs += [((t, c, 0), study.seeds[0]) for t in study.tasks for c in CONTROLS]
        return _once(
            self._batch(run[0], seed)
            if self.batched and not self._fresh.record(*run)
            else layout.record(*run)
            for run, seed in runs
        )

    def analyses(self) -> list[Path]:
        """The analyses of Table 4's models; in a copy of only the records, those that exist."""
        task, seed = self._study.analysis_task, self._study.seeds[0]
        models = analysed_models(self._study)
        paths = [self._layout.analysis(task, model, seed) for model in models]
        if self._records_alone():
            fresh = [self._fresh.analysis(task, model, seed) for model in models]
            return list(compress(paths, fresh))
        return _once(
            self._batch(task, seed)
            if self.batched and not self._fresh.analysis(task, model, seed)
            else path
            for model, path in zip(models, paths, strict=True)
        )

    def timings(self) -> list[Path]:
        """Measurements on this machine, and those on others that are in the folder."""
        there = sorted(self._layout.timing.glob("*.json"))
        return there if self._records_alone() else sorted({*there, self.timed})

    def record_tables(self) -> list[str]:
        """The names of the tables that are made from records only."""
        return [name for name in tables_of(self._study) if TABLES[name].from_records]

    def timing_table_names(self) -> list[str]:
        """The names of the tables that need time measurements, possibly besides records."""
        return [name for name in tables_of(self._study) if not TABLES[name].from_records]

    def table_files(self) -> list[Path]:
        return [p for name in self.record_tables() for p in table_paths(self._study, name)]

    def timing_table_files(self) -> list[Path]:
        return [p for name in self.timing_table_names() for p in table_paths(self._study, name)]

    def figure_files(self, *, weights: bool | None = None) -> list[Path]:
        """Files of the figures that need weights and images, of the other figures, or of all."""
        names = figures_of(self._study, weights=weights)
        return [path for name in names for path in figure_paths(self._study, name)]

    def official_checkpoint(self) -> Path:
        """The path of the official checkpoint of the study's backbone.

        Raises:
            SettingsError: there is none.
        """
        known = BACKBONES[self._study.sam.backbone].checkpoint
        if known is None:
            raise SettingsError(
                f"the backbone {self._study.sam.backbone} has no official checkpoint",
                remedy="choose another sam.checkpoint, for example a file of your own",
            )
        return self._study.sam.checkpoints / known.name

    def _batch(self, task: str, seed: int) -> Path:
        """The marker file of the batch with the runs of this seed."""
        all_seeds = self._by_task and self._is_local()
        return self._layout.batch(task, _ALL_SEEDS if all_seeds else f"{_SEED}{seed}")

    def _with_weights(self, fresh: bool, output: Path, needed: Sequence[Path]) -> Files:
        """Inputs of a job that starts from the study's checkpoint."""
        if not fresh:
            self.needs_weights = True
        return self._inputs(fresh, [output], [*needed, *self._weights()])

    def _weights(self) -> list[Path]:
        """The checkpoint that runs start from; a missing file of the user is not an input."""
        checkpoint = self._study.sam.checkpoint
        if checkpoint == "pretrained":
            return [self._layout.backbone()]
        if checkpoint == "official":
            return [self.official_checkpoint()]
        if checkpoint in ("shipped", "random") or not Path(checkpoint).is_file():
            return []
        return [Path(checkpoint)]

    def _drawable_figures(self) -> list[Path]:
        """All figures; without trained weights or images, those that need neither."""
        whole = not self._records_alone() and not self._images_missing()
        return self.figure_files() if whole else self.figure_files(weights=False)

    def _records_alone(self) -> bool:
        """Whether the results are a copy of records without their runs."""
        return any(
            self._fresh.record(*run) and not self._layout.receipt(*run).exists()
            for run in self._study.runs()
        )

    def _images_missing(self) -> bool:
        """Whether a prepared task has neither images here nor archives to unpack them from."""
        return any(
            self._layout.manifest(task).is_file()
            and not self._layout.prepared(task).exists()
            and task not in self._study.generated
            and not all(
                find(archive, self._study.archives)
                for archive in choose(self._study, task).archives
            )
            for task in self._study.tasks
        )

    def _product(
        self, folder: Path, names: Iterable[str], outputs: Sequence[Path], needed: Sequence[Path]
    ) -> Files:
        """Inputs of the job that makes tables, figures or the report."""
        fresh = (
            self._sources_fresh(timed=self.timed in needed)
            and all(path.exists() for path in needed)
            and all(self._fresh.product(folder, name) for name in names)
        )
        return self._inputs(fresh, outputs, needed)

    def _sources_fresh(self, timed: bool) -> bool:
        """Whether everything that tables and figures are made from is up to date."""
        study = self._study
        task, seed = study.analysis_task, study.seeds[0]
        return (
            all(self._fresh.record(*run) for run in study.runs())
            and all(self._fresh.controls(task) for task in study.tasks)
            and (
                self._records_alone()
                or all(self._fresh.analysis(task, model, seed) for model in analysed_models(study))
            )
            and (not timed or self._fresh.timing(self.timed))
        )

    def _inputs(self, fresh: bool, outputs: Sequence[Path], needed: Sequence[Path]) -> Files:
        """The inputs of a job, for Snakemake.

        Args:
            fresh: whether its outputs are up to date.
            outputs: its output files.
            needed: its input files.
        """
        written = [path.stat().st_mtime for path in outputs if path.exists()]
        if not fresh:
            return [*needed, self._newer_than(min(written))] if written else list(needed)
        there = [path for path in needed if path.exists()]
        oldest = min(written, default=time.time())
        return [ancient(path) if path.stat().st_mtime > oldest else path for path in there]

    def _newer_than(self, moment: float) -> Path:
        """The input that makes Snakemake run a job again: the settings, written after its result.

        Raises:
            DiskError: it cannot be written.
        """
        path = self._layout.settings
        if path.is_file() and path.stat().st_mtime > moment:
            return path
        write_json(path, self._study.model_dump(mode="json"))
        if path.stat().st_mtime <= moment:  # a copy from a machine whose clock is ahead
            with disk_errors(path):
                os.utime(path, (moment + 1, moment + 1))
        return path


def make_results_folder(layout: Layout) -> None:
    """Create the folder of a study's results, if it does not exist.

    Raises:
        DiskError: it cannot be created.
    """
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"the results folder cannot be made: {error.strerror}",
            where=layout.root,
            remedy="choose another folder (results)",
        ) from None


def analysed_models(study: Study) -> list[str]:
    """The models of Table 4 that the study has."""
    runs = study.run_names(study.analysis_task)
    return [model for model in TABLE_MODELS if model in (RANDOM, PRETRAINED) or model in runs]


def _once(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))
