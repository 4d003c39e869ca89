# What SLURM needs beyond its profile. Three Snakemakes read this file: the one that a person
# started, one at the head of each SLURM job, and one in its job step, which runs the commands.
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys

from snakemake.shell import shell

from naslora.workflow.preflight import check_inputs
from naslora.workflow.server import SERVED

# A job of a small backbone on CPUs takes less time than a scheduler and two Snakemakes take to
# start it. Such jobs are grouped: the profile says how many runs make one SLURM job. Others are on
# their own: a group that fails is repeated as a whole, and that would be hours of training.
SHORT = GPUS == 0 and study.sam.backbone in ("tiny", "small")
# Before a job's time is up, SLURM sends this, for training to save itself. It may be a minute early.
WARNING = "USR1@240"
IN_JOB = "SLURM_JOB_ID" in os.environ
LEADS_GROUP = (
    IN_JOB and "SLURM_STEP_ID" not in os.environ and "--local-groupid" in sys.argv
)


def grouped(name):
    """The group of a rule: this one for short jobs, else none."""
    return name if SHORT else None


##### training with several processes #####


def of_training(key):
    """A setting of the training of a run, which a variant may change."""

    def setting(wildcards):
        variant = study.variants.get(wildcards.variant)
        own = variant.training if variant else {}
        return own.get(key, getattr(study.training, key))

    return setting


DEVICES, NODES, THREADS = map(of_training, ("devices", "num_nodes", "threads"))
ACCELERATOR = of_training("accelerator")


def processes(wildcards):
    return DEVICES(wildcards) * NODES(wildcards)


def gpus(wildcards):
    return 0 if ACCELERATOR(wildcards) == "cpu" else processes(wildcards)


def if_distributed(value):
    """A resource that only training with several processes has."""

    def resource(wildcards):
        found = value(wildcards) if callable(value) else value
        return found if processes(wildcards) > 1 else None

    return resource


def spread(wildcards):
    """As many tasks and GPUs on each node, for `sbatch` and `srun`."""
    devices = DEVICES(wildcards)
    gpus_too = f" --gpus-per-node={devices}" if gpus(wildcards) else ""
    return f"--ntasks-per-node={devices}{gpus_too}"


def training_memory(wildcards, attempt):
    """Of a node."""
    return DEVICES(wildcards) * BACKBONE.memory_mb * attempt


def launcher(wildcards, output):
    """What starts the processes of a distributed run in a SLURM job; elsewhere Fabric does."""
    if processes(wildcards) == 1 or not IN_JOB:
        return ""
    return (
        f"srun --nodes={NODES(wildcards)} --ntasks={processes(wildcards)}"
        f" --cpus-per-task={THREADS(wildcards)} --cpu-bind=none {spread(wildcards)} "
    )


##### in a job #####

if IN_JOB:
    # The warning goes to every process of the step. Snakemake and the shell let it pass, and wait
    # for the command, which obeys; so they do with SIGTERM.
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    shell.prefix(f"trap : TERM USR1; {FIND_COMMAND}")

# The executor takes SLURM's variables from the step; how often the job was requeued matters there.
requeues = os.environ.get("SLURM_RESTART_COUNT")
if requeues is not None:
    os.environ.update(NASLORA_REQUEUES=requeues)

# The runs of a group are steps of one job, one after the other. Such rules are named like commands.
if LEADS_GROUP:
    after = sys.argv[sys.argv.index("--target-jobs") + 1 :]
    targets = itertools.takewhile(lambda word: not word.startswith("-"), after)
    if commands := SERVED & {target.partition(":")[0] for target in targets}:
        share_imports(commands)


##### at the beginning #####


def begin(workflow):
    """Checks that cost seconds, before jobs cost hours."""
    if workflow.executor_plugin.name == "local":
        share_imports()
    if workflow.executor_plugin.name == "slurm":
        check_slurm(workflow)
        jobs = list(workflow.dag.needrun_jobs())
        names = {job.rule.name for job in jobs}
        clearly(
            check_inputs,
            study,
            [job.wildcards.task for job in jobs if job.rule.name == "prepare"],
            weights=bool(names & {"train", "evaluate", "analyse", "pictures"}),
            again=shlex.join(sys.argv),
        )
        os.environ.setdefault("SBATCH_SIGNAL", WARNING)


def check_slurm(workflow):
    """Without `sbatch`, Snakemake would wait for ever; without accounting, for `sacct`."""
    if shutil.which("sbatch") is None:
        raise WorkflowError(
            "this machine has no SLURM: the command sbatch is not on the PATH.\n"
            "  what to do: run on a cluster's login node, or here with --profile local"
        )
    known = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True)
    if known.returncode != 0:
        raise WorkflowError(
            f"SLURM does not answer: {known.stderr.strip()}\n"
            "  what to do: try again when sinfo answers"
        )
    settings = workflow.executor_settings
    if settings.status_command == "sacct":
        accounts = subprocess.run(["sacct", "--noheader", "-X"], capture_output=True)
        if accounts.returncode != 0:
            settings.status_command = "squeue"
