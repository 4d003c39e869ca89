# What is done when a run of the workflow begins and when it ends.
import os

import snakemake_logger_plugin_naslora as naslora_logger
from snakemake.logging import logger
from snakemake.shell import shell

from naslora.report.tables.catalogue import table_paths
from naslora.workflow.server import ADDRESS, SERVED, start_server


def name_jobs(workflow):
    """Tell our progress lines what each job is; executors need not say so."""
    jobs = list(workflow.dag.needrun_jobs())
    groups = {
        group.jobid: [job.jobid for job in group]
        for group in map(workflow.dag.get_job_group, jobs)
        if group is not None
    }
    names = {job.jobid: (job.rule.name, *map(str, job.wildcards)) for job in jobs}
    naslora_logger.name_jobs(names, groups)


def share_imports(commands=SERVED):
    """Let commands on this machine fork from one process that has imported what they need.

    The process ends with this one: it waits for the end of its standard input.
    """
    if os.environ.get(ADDRESS):
        return
    try:
        _, os.environ[ADDRESS] = start_server(commands)
    except OSError as error:
        logger.debug(f"jobs import everything themselves: {error}")


def write_partial_tables():
    """After a failure: tables and status of the records that there are, if some are missing."""
    there = [path.exists() for path in records()]
    if any(there) and not all(there):
        names = " ".join(record_tables())
        shell("naslora table {STUDY_OPTIONS} {names} > /dev/null")
        logger.warning(
            f"some runs are missing; how they stand: {table_paths(study, 'status')[-1]}"
        )


def announce_results():
    pictures = [path for path in figures() if path.suffix == ".png"]
    written = (*tables(), *timing_tables())
    made = [path for path in (*written, *pictures) if path.exists()]
    logger.info(
        "\n".join(
            [f"results of study {study.study}:", *(f"  {path}" for path in made)]
        ),
        extra={"result": True},
    )
