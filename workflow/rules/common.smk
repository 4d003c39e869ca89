# The study that is run, and how jobs are told of it.
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from snakemake.shell import shell

from naslora.core.errors import NasloraError
from naslora.workflow.history import History
from naslora.study.layout import Layout
from naslora.study.settings import load_study


def read_values(value):
    """Settings from `--config`, where Snakemake leaves nested values as text."""
    if isinstance(value, Mapping):
        return {key: read_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [read_values(item) for item in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def option_texts(settings, prefix=""):
    """Nested settings as `dotted.key=value` texts, the values in YAML."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from option_texts(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
            text = text.removesuffix("...\n").strip()
            yield f"{prefix}{key}={text}"


def clearly(function, *args, **kwargs):
    """Call, and end the workflow with no more than the message of an error made for people."""
    try:
        return function(*args, **kwargs)
    except NasloraError as error:
        raise WorkflowError(str(error)) from None


overrides = read_values(config)
study = clearly(load_study, overrides=overrides)
layout = Layout.of(study)
history = History(layout)
if workflow.is_main_process:
    clearly(history.settle)
STUDY_OPTIONS = shlex.join(
    ["--study", study.study]
    + [
        word
        for text in option_texts(
            {key: value for key, value in overrides.items() if key != "study"}
        )
        for word in ("--set", text)
    ]
)

# Jobs find the command beside the Python that runs Snakemake, its environment activated or not.
FIND_COMMAND = f'export PATH="$PATH":{shlex.quote(str(Path(sys.executable).parent))}; '
shell.prefix(FIND_COMMAND)
