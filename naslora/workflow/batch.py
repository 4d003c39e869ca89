"""All runs of a task, with one seed or several, one after the other in one process.

A batch saves the import of torch, which takes longer than training a small model on a few images.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from naslora.core.errors import NasloraError, StoppedError
from naslora.results.freshness import Freshness
from naslora.study.layout import Layout
from naslora.study.settings import Study
from naslora.workflow.jobs import analysed_models

Step = tuple[str, Callable[[], object]]


def run_batch(
    study: Study, task: str, seeds: Sequence[int], log: Callable[[str], None]
) -> list[str]:
    """Train and evaluate all methods and variants of a study on a task.

    With the study's first seed, the task's controls are evaluated too, and the models of Table 4
    are analysed. Results that are up to date are kept. An error ends one step only.

    Args:
        study: the study.
        task: one of its tasks.
        seeds: some of its seeds.
        log: called with the name of each step, and with errors.

    Returns:
        The steps that failed.

    Raises:
        StoppedError: a signal asked the process to stop; the same command resumes.
    """
    from naslora.study.provenance import reset_peak_memory

    failed = []
    for name, step in _steps(study, task, seeds):
        gc.collect()
        reset_peak_memory()
        log(f"== {name}")
        try:
            step()
        except StoppedError:
            raise
        except NasloraError as error:
            log(f"error: {error}")
            failed.append(name)
        except Exception:
            log(f"error: a bug in naslora\n{traceback.format_exc()}")
            failed.append(name)
    return failed


def _steps(study: Study, task: str, seeds: Sequence[int]) -> Iterator[Step]:
    """The steps that are not up to date, each as a name and a function."""
    from naslora.analysis.analyse import analyse
    from naslora.evaluation.controls import evaluate_controls
    from naslora.evaluation.train_and_evaluate import train_and_evaluate

    layout, fresh = Layout.of(study), Freshness(study)
    first = study.seeds[0]
    if first in seeds and not fresh.controls(task):
        yield f"controls on {task}", partial(evaluate_controls, study, task)
    runs = [(variant, seed) for seed in seeds for variant in study.run_names(task)]
    runs = [run for run in runs if not fresh.record(task, *run)]
    # Interrupted runs come last: if one crashes the process again, the others are done.
    runs.sort(key=lambda run: layout.attempt(task, *run).exists())
    for variant, seed in runs:
        name = f"{variant} on {task}, seed {seed}"
        yield name, partial(train_and_evaluate, study, task, variant, seed)
    if task == study.analysis_task and first in seeds:
        for model in analysed_models(study):
            if not Freshness(study).analysis(task, model, first):
                yield f"analysis of {model}", partial(analyse, study, model, task, first)
