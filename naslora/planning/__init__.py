"""What a study will take: GPU-hours, wall time and disk, before anyone submits it."""
