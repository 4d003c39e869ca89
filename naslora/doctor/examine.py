"""All checks of a study, in the order in which they are shown."""

from __future__ import annotations

from pathlib import Path

from naslora.core.errors import ArchiveError
from naslora.doctor.check import Check
from naslora.doctor.data import checkpoint_check, data_checks
from naslora.doctor.machine import (
    disk_checks,
    environment_checks,
    gpu_check,
    memory_check,
    slurm_check,
)
from naslora.planning.disk import disk_needed, whole
from naslora.study.settings import CONFIG_FOLDER, Study


def examine(study: Study, verifying: bool = False, config: Path = CONFIG_FOLDER) -> list[Check]:
    """Check everything that a run of the study will need; nothing is downloaded or written.

    Args:
        study: the study.
        verifying: whether to read archives and checkpoint whole, for their hashes.
        config: the folder of archives.yaml.

    Raises:
        SettingsError: no such benchmark, or a file in `config` is invalid.
    """
    try:
        disk = whole(list(disk_needed(study, config).values()))
    except ArchiveError:
        disk = whole([])  # data_checks reports the error
    return [
        *environment_checks(),
        memory_check(study),
        *disk_checks(study, disk),
        gpu_check(study),
        slurm_check(),
        checkpoint_check(study, verifying),
        *data_checks(study, verifying, config),
    ]
