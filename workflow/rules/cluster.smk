# Checks and signals for SLURM; see naslora/workflow/cluster.py.
from naslora.workflow.cluster import TRAP, in_slurm_job, prepare_job, prepare_submission


def begin(workflow):
    # Snakemake offers no public way to ask which executor the profile chose.
    if workflow.executor_plugin.name == "slurm":
        asked = workflow.resource_settings.overwrite_resources
        readable(prepare_submission)(study, jobs, asked)


if in_slurm_job():
    prepare_job()
    shell.prefix(f"{TRAP}{FIND_COMMAND}")
