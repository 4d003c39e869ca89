"""Train and evaluate a run in one process, which saves starting Python and torch twice."""

from __future__ import annotations

from naslora.core.errors import DivergedError, SettingsError
from naslora.evaluation.evaluate import evaluate
from naslora.evaluation.receipts import is_trained
from naslora.study.records import Record
from naslora.study.settings import Study
from naslora.training.train import train


def train_and_evaluate(study: Study, task: str, variant: str, seed: int) -> Record:
    """Train a run, unless it is trained already, and evaluate it.

    The results are those of `train` and `evaluate` one after the other. After an interruption, the
    next call continues from the last checkpoint, or with the evaluation. A run that diverges gets a
    record with that status.

    Raises:
        SettingsError: the run is distributed; train and evaluate it separately. See `train` and
            `evaluate` for other errors.
    """
    training = study.run(task, variant, seed).training
    if training.devices * training.num_nodes > 1:
        raise SettingsError(
            f"a run in {training.devices * training.num_nodes} processes cannot be trained and"
            " evaluated in one",
            remedy="train it first, and then evaluate it",
        )
    if not is_trained(study, task, variant, seed):
        try:
            train(study, task, variant, seed)
        except DivergedError as error:  # the receipt says so, and so will the record
            print(error, flush=True)
    return evaluate(study, task, variant, seed)
