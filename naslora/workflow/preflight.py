"""Checks of the files that jobs on a cluster need, before they are submitted."""

from __future__ import annotations

from pathlib import Path

from naslora.core.errors import ArchiveError, CheckpointError
from naslora.data.archives.acquire import Outcome, check_complete, needed
from naslora.data.archives.bundles import find_bundle
from naslora.data.archives.catalogue import find
from naslora.data.archives.sources import replacement_hint
from naslora.doctor.data import checkpoint_check
from naslora.sam.official import find_checkpoint
from naslora.study.settings import CONFIG_FOLDER, Study


def check_inputs(
    study: Study,
    tasks: list[str],
    *,
    weights: bool,
    config: Path = CONFIG_FOLDER,
) -> None:
    """Check that the archives of tasks and the SAM checkpoint exist; nothing is downloaded.

    Archives and a checkpoint that could be downloaded must exist too, because a cluster's nodes
    often have no internet access.

    Args:
        study: the study.
        tasks: the tasks that are still to be prepared.
        weights: whether the SAM checkpoint is needed.
        config: the folder of archives.yaml.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ArchiveError: archives are missing.
    """
    if weights and study.sam.checkpoint not in ("pretrained", "random"):
        find_checkpoint(study.sam.checkpoint, study.sam.backbone, study.sam.checkpoints)
        check = checkpoint_check(study, verifying=False)
        if check.state == "problem":
            raise CheckpointError(check.finding, remedy=check.remedy)
    outcomes = []
    for archive, choice, for_tasks in needed(study.model_copy(update={"tasks": tasks}), config):
        path = find_bundle(archive, study.archives) if choice.is_bundle else None
        outcome = Outcome(archive, replacement_hint(choice, study), for_tasks)
        outcome.path = path or find(archive, study.archives)
        if outcome.path is None:
            outcome.problem = ArchiveError(
                "not downloaded yet, which the cluster's nodes may be unable to do",
                remedy=f"get it here: naslora data --study {study.study}",
            )
        outcomes.append(outcome)
    check_complete(outcomes, study, "the same command again")
