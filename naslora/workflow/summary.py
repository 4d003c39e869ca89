"""The results of a study in a few lines, for the terminal."""

from __future__ import annotations

import io
import shutil

from rich.console import Console

from naslora.study.layout import Layout
from naslora.study.settings import Study


def results_text(study: Study) -> str:
    """The methods' scores, and the folders of the study's results."""
    # Not at the top: every Snakemake process imports this module, also in each cluster job.
    from naslora.report.tables.console import print_results
    from naslora.results.aggregate import aggregate

    layout = Layout.of(study)
    output = io.StringIO()
    console = Console(file=output, width=shutil.get_terminal_size().columns)
    print_results(study, aggregate(study), console)
    places = {"tables": layout.tables, "figures": layout.figures, "all in one page": layout.report}
    for name, path in places.items():
        if path.exists():
            console.print(f"{name}: {path}", soft_wrap=True, highlight=False, markup=False)
    return output.getvalue().rstrip()
