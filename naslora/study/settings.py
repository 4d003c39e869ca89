"""Settings of a study: defaults, the study's deltas and overrides, merged and validated."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator, model_validator

from naslora.core.errors import SettingsError
from naslora.core.files import fingerprint, sha256
from naslora.core.registry import declare_files
from naslora.core.validation import Settings, readable_errors
from naslora.core.wording import first_of, range_of
from naslora.sam.shipped import shipped_sha256
from naslora.study.nested import merge, nest, without
from naslora.study.sections import (
    AnalysisSettings,
    DataSettings,
    EvaluationSettings,
    Name,
    PretrainingSettings,
    SamSettings,
    Seed,
    TimingSettings,
)
from naslora.study.sections import TrainingSettings as TrainingSettings

CONFIG_FOLDER = Path("config")
SHIPPED = Path(__file__).with_name("shipped")
_LISTED = 13  # names in a message: all methods and a network
_NO_STUDIES = ("defaults", "archives")
# Resources are planned for the whole study, so that single tasks cannot change these.
_COMMON_TO_TASKS = ("accelerator", "devices", "num_nodes", "threads", "workers")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is ten times as fast


class Variant(Settings):
    """A method with changed settings, its own or those of the training, on some tasks or on all.

    Attributes:
        method: the method.
        tasks: the tasks that the variant runs on, if the study has them; by default all.
        settings: changes to the method's settings.
        training: changes to the settings in `training`.
    """

    method: Name
    tasks: list[Name] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class RunSettings(Settings):
    """All that one training run depends on; its fingerprint identifies the run's result.

    `method_sha256` is the hash of the file of a method from outside the package.
    """

    task: Name
    variant: Name
    method: Name
    method_sha256: str | None = None
    seed: Seed
    method_settings: dict[str, Any]
    sam: SamSettings
    pretraining: PretrainingSettings
    data: DataSettings
    training: TrainingSettings

    def fingerprint(self) -> str:
        """SHA-256 over all settings that can change the result: not folders, workers and saving.

        The attention backends agree to 1e-5, so `sam.attention` is left out too. Shipped weights
        are identified by their hash, since another version of the package may ship others.
        """
        settings = self.recorded()
        for section, unused in (
            ("sam", ("attention",)),
            ("training", ("workers", "checkpoint_minutes")),
        ):
            for name in unused:
                del settings[section][name]
        if self.sam.checkpoint == "shipped":
            settings["sam"]["checkpoint"] = f"shipped {shipped_sha256(self.sam.backbone)}"
        return fingerprint(settings)

    def recorded(self) -> dict[str, Any]:
        """The settings as they are written to a receipt.

        Folders of this machine are left out: only the file names of checkpoints are kept.
        """
        settings = self.model_dump(mode="json", exclude={"sam": {"checkpoints"}})
        settings["sam"]["checkpoint"] = Path(self.sam.checkpoint).name
        if self.pretraining.start is not None:
            settings["pretraining"]["start"] = self.pretraining.start.name
        return settings


class Study(Settings):
    """A study: defaults, its own deltas and overrides, merged.

    A settings file lists a method or a benchmark from outside the package in `methods` or `tasks`
    by its file, `FOLDER/NAME.py`; here, it is listed by its name, and its file is in `method_files`
    or `task_files`. `networks` are baselines other than SAM; they are trained like methods, on all
    tasks or those of `network_tasks`, and tables show them with the controls. `task_training` are
    deltas to `training` on single tasks, for all methods, networks and variants.
    """

    study: Name
    archives: Path
    results: Path
    tasks: list[Name]
    task_files: dict[Name, Path]
    methods: list[Name]
    method_files: dict[Name, Path]
    networks: list[Name]
    network_tasks: dict[Name, list[Name]]
    seeds: list[Seed]
    variants: dict[Name, Variant]
    generated: dict[Name, Annotated[int, Field(ge=1)]]
    bundles: list[Name]
    sam: SamSettings
    pretraining: PretrainingSettings
    data: DataSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    analysis: AnalysisSettings
    timing: TimingSettings
    method_settings: dict[Name, dict[str, Any]]
    task_training: dict[Name, dict[str, Any]]

    @model_validator(mode="before")
    @classmethod
    def _split_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        for names, files in (("tasks", "task_files"), ("methods", "method_files")):
            entries = values.get(names)
            if isinstance(entries, list) and files not in values:
                values[files] = {Path(e).stem: e for e in entries if str(e).endswith(".py")}
                values[names] = [Path(e).stem if str(e).endswith(".py") else e for e in entries]
        return values

    @field_validator("tasks", "methods", "seeds")
    @classmethod
    def _distinct(cls, values: list[Any]) -> list[Any]:
        if not values or len(set(values)) != len(values):
            raise ValueError("must list at least one entry, and each entry once")
        return values

    @model_validator(mode="after")
    def _distinct_names(self) -> Study:
        names = [*self.methods, *self.networks, *self.variants]
        if others := set(self.network_tasks) - set(self.networks):
            raise ValueError(
                f"network_tasks names {', '.join(sorted(others))}, not among the networks"
            )
        if both := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two rows with one name: {', '.join(sorted(both))}")
        if self.analysis_task not in self.tasks:
            raise ValueError(f"analysis.task {self.analysis_task} is not a task of the study")
        return self

    @property
    def analysis_task(self) -> str:
        """The task whose images are analysed: the setting, else the study's first."""
        return self.analysis.task or self.tasks[0]

    def run_names(self, task: str | None = None) -> list[str]:
        """Methods in table order, networks, then variants; of one task, or of all tasks."""
        tasks = self.tasks if task is None else [task]
        others = [*self.networks, *self.variants]
        return [*self.methods, *(name for name in others if set(self.tasks_of(name)) & set(tasks))]

    def tasks_of(self, variant: str) -> list[str]:
        """The study's tasks that a method, a network or a variant runs on."""
        chosen = self.network_tasks.get(variant)
        if variant in self.variants:
            chosen = self.variants[variant].tasks
        return [task for task in self.tasks if chosen is None or task in chosen]

    def general_variants(self) -> list[str]:
        """The variants that run on every task, as methods do."""
        return [name for name, variant in self.variants.items() if variant.tasks is None]

    def runs(self) -> list[tuple[str, str, int]]:
        """All training runs of the study, as task, variant and seed."""
        return [
            (task, variant, seed)
            for task in self.tasks
            for variant in self.run_names(task)
            for seed in self.seeds
        ]

    def training_of(self, task: str) -> TrainingSettings:
        """The training on a task: the study's, with the deltas of `task_training`.

        Raises:
            SettingsError: a setting is unknown, invalid, or one that tasks must have in common.
        """
        deltas = self.task_training.get(task, {})
        what = f"task_training.{task} of study {self.study}"
        if common := sorted({key.partition(".")[0] for key in deltas} & set(_COMMON_TO_TASKS)):
            raise SettingsError(
                f"{what} sets {', '.join(common)}, which all tasks have in common",
                remedy="set it under training",
            )
        merged = merge(self.training.model_dump(), nest(deltas.items()), what)
        with _readable(what):
            return TrainingSettings.model_validate(merged)

    def epochs_text(self, tasks: Sequence[str] | None = None) -> str:
        """The epochs of some tasks, or of all: "1 epoch", "8 epochs" or "8 to 60 epochs"."""
        return range_of([self.training_of(task).epochs for task in tasks or self.tasks], "epoch")

    def run(self, task: str, variant: str, seed: int) -> RunSettings:
        """The settings of one run.

        Raises:
            SettingsError: no such task, method or variant in this study, the variant does not
                run on the task, or a setting of the variant is unknown or invalid.
        """
        if task not in self.tasks:
            raise _unknown("task", task, self.tasks, self.study)
        if variant in self.variants:
            chosen = self.variants[variant]
        elif variant in (*self.methods, *self.networks):
            chosen = Variant(method=variant)
        else:
            raise _unknown("method or variant", variant, self.run_names(), self.study)
        if task not in self.tasks_of(variant):
            raise SettingsError(
                f"{variant} of study {self.study!r} does not run on {task}",
                remedy=f"add {task} to its tasks, under variants or network_tasks",
            )
        training = merge(
            self.training_of(task).model_dump(),
            nest(chosen.training.items()),
            f"variant {variant}",
        )
        with _readable(f"variant {variant} of study {self.study}"):
            return RunSettings(
                task=task,
                variant=variant,
                method=chosen.method,
                method_sha256=self._method_sha256(chosen.method),
                seed=seed,
                method_settings={**self.method_settings.get(chosen.method, {}), **chosen.settings},
                sam=self.sam,
                pretraining=self.pretraining,
                data=self.data,
                training=training,  # type: ignore[arg-type]
            )

    def _method_sha256(self, method: str) -> str | None:
        path = self.method_files.get(method)
        if path is None:
            return None
        if not path.is_file():
            raise SettingsError(
                f"the file of the method {method} is not there",
                where=path,
                remedy="correct the entry under methods",
            )
        return sha256(path)


def load_study(
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    config: Path = CONFIG_FOLDER,
) -> Study:
    """Merge and validate a study's settings.

    Args:
        name: a file `<name>.yaml` in `config`; by default, what `defaults.yaml` names.
        overrides: nested settings that win over both files; keys may be dotted paths. Those of
            `training` also win over the file's `task_training`.
        config: a folder of the user's studies; those of the package are always known.

    Raises:
        SettingsError: a file is missing or not valid YAML, a key is unknown, or a value is invalid.
    """
    defaults = read_yaml(settings_file("defaults", config))
    nested = nest((overrides or {}).items())
    name = str(name or nested.get("study") or defaults["study"])
    path = settings_file(name, config)
    if not path.is_file():
        folders = (config, SHIPPED)
        known = {p.stem for folder in folders for p in folder.glob("*.yaml")} - {*_NO_STUDIES}
        raise SettingsError(
            f"no study named {name!r}",
            where=config / f"{name}.yaml",
            remedy=f"choose one of {', '.join(sorted(known))}, or write this file",
        )
    merged = merge(defaults, read_yaml(path), str(path))
    # Training settings on the command line apply to all tasks, those in task_training included.
    chosen, of_tasks = nested.get("training"), merged["task_training"]
    if isinstance(chosen, Mapping) and isinstance(of_tasks, Mapping):
        merged["task_training"] = {
            task: without(nest(own.items()), chosen) if isinstance(own, Mapping) else own
            for task, own in of_tasks.items()
        }
    merged = merge(merged, nested, "the command line")
    merged["study"] = name
    with _readable(f"study {name}", path):
        study = Study.model_validate(merged)
    declare_files("benchmark", study.task_files)
    return study


def settings_file(name: str, folder: Path = CONFIG_FOLDER) -> Path:
    """The path of `<name>.yaml` in a folder, or else in the package."""
    own = folder / f"{name}.yaml"
    return own if own.is_file() else SHIPPED / own.name


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Read the `key=value` pairs of `--set`, with dotted keys and values in YAML.

    Raises:
        SettingsError: a pair has no `=`, or its value is not valid YAML.
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise SettingsError(f"cannot read the override {pair!r}", remedy="write key=value")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"the value of {key} is not valid YAML: {error}") from None
    return overrides


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file.

    Raises:
        SettingsError: it is missing, not valid YAML, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _YAML)
    except FileNotFoundError:
        raise SettingsError("settings file not found", where=path) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"not valid YAML: {error}", where=path) from None
    if not isinstance(content, dict):
        raise SettingsError("a settings file must be a mapping of names to values", where=path)
    return content


def _readable(what: str, where: Path | None = None) -> AbstractContextManager[None]:
    return readable_errors(
        f"invalid settings of {what}",
        where=where,
        remedy="correct the value there, in the default settings or on the command line",
    )


def _unknown(kind: str, name: str, known: Sequence[str], study: str) -> SettingsError:
    """An error that suggests the closest known name, and lists the first names."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return SettingsError(
        f"no {kind} named {name!r} in study {study!r}",
        remedy=f"{hint}There are {first_of(known, _LISTED)}",
    )
