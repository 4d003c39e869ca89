# The study that is run, and objects that the rules use; see naslora/workflow.
import shlex
import sys
from pathlib import Path

from snakemake.shell import shell

from naslora.analysis.document import PRETRAINED, RANDOM
from naslora.planning.resolve import check_names
from naslora.report.figures.catalogue import figures_of
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS
from naslora.study.settings import load_study
from naslora.workflow.errors import readable
from naslora.workflow.jobs import Jobs, make_results_folder, seeds_option
from naslora.workflow.options import read_config, study_options
from naslora.workflow.resources import JobResources, growing

overrides = read_config(config)
study = readable(load_study)(overrides=overrides)
readable(check_names)(study)
layout = Layout.of(study)
readable(make_results_folder)(layout)
# Snakemake knows its executor only after it has read the rules.
jobs = Jobs(study, is_local=lambda: workflow.local_exec)
needs = JobResources(study)
STUDY = study_options(study.study, overrides)


def shown(paths, kind):
    """The same files, with those that a browser can show marked for `snakemake --report`."""
    options = {"caption": f"../report/{kind}.rst", "category": f"{kind}s"}
    visible = {"figure": ".png", "table": ".csv"}[kind]
    return [report(p, **options) if p.suffix == visible else p for p in paths]


# Jobs find the command next to the Python that runs Snakemake, even if its environment is not
# activated.
FIND_COMMAND = f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}; '
shell.prefix(FIND_COMMAND)
