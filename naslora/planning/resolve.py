"""Check that everything that a study names exists, before any of it is run."""

from __future__ import annotations

from collections.abc import Iterable

from naslora.core.errors import SettingsError
from naslora.core.registry import did_you_mean
from naslora.data.benchmarks.contract import benchmark_names, load_benchmark_files
from naslora.methods.names import METHOD_NAMES, NETWORK_NAMES
from naslora.study.settings import Study


def check_names(study: Study) -> None:
    """Check the names of tasks and methods, without importing torch.

    Raises:
        SettingsError: a task, a method, a variant's method or task, a task of `bundles`, or a key
            of `generated`, `method_settings` or `task_training` is unknown.
    """
    load_benchmark_files(getattr(study, "task_files", {}).values())
    methods = [*METHOD_NAMES, *study.method_files]
    tasks = benchmark_names()
    _check(study, "method", study.methods, methods, "methods")
    _check(study, "network", study.networks, [*NETWORK_NAMES], "networks")
    _check(study, "method", study.method_settings, [*methods, *NETWORK_NAMES], "method_settings")
    _check(study, "benchmark", study.tasks, tasks, "tasks")
    _check(study, "benchmark", study.generated, tasks, "generated")
    _check(study, "benchmark", study.bundles, tasks, "bundles")
    _check(study, "benchmark", study.task_training, tasks, "task_training")
    for name, chosen in study.network_tasks.items():
        _check(study, "benchmark", chosen, tasks, f"network_tasks.{name}")
    for name, variant in study.variants.items():
        known = [*methods, *NETWORK_NAMES]
        _check(study, "method", [variant.method], known, f"variants.{name}.method")
        _check(study, "benchmark", variant.tasks or [], tasks, f"variants.{name}.tasks")


def check_settings(study: Study) -> None:
    """Check the settings of every method and variant of a study; imports torch.

    Raises:
        SettingsError: a name is unknown, or a setting is unknown or out of range.
    """
    from naslora.methods.registry import get_method, load_method_files

    check_names(study)
    load_method_files(study.method_files.values())
    for task in study.tasks:
        study.training_of(task)
    seed = study.seeds[0]
    for variant in study.run_names():
        run = study.run(study.tasks_of(variant)[0], variant, seed)
        get_method(run.method).parse(run.method_settings)
    for method, settings in study.method_settings.items():
        get_method(method).parse(settings)


def _check(study: Study, kind: str, names: Iterable[str], known: list[str], setting: str) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(
                f"no {kind} named {name!r}: {setting} of study {study.study!r}",
                remedy=did_you_mean(name, known),
            )
