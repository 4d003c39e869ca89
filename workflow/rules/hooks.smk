# Handlers for the end of a run of the workflow.
from snakemake.logging import logger
from snakemake.shell import shell

from naslora.workflow.summary import results_text


def show_results():
    """Show how the methods compare, and where the results are."""
    logger.info(readable(results_text)(study), extra={"results": True})


def write_partial_tables():
    """After a failure: if some records are missing, write tables and status from the others."""
    there = [layout.record(*run).exists() for run in study.runs()]
    if any(there) and not all(there):
        names = jobs.record_tables()
        shell("naslora table {STUDY:q} {names:q} > /dev/null")
        logger.warning(f"some runs are missing; see {layout.table('status', 'md')}")
