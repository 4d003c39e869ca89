"""A SLURM of two nodes on this machine: `python slurm.py FOLDER` runs it until stdin is closed.

It runs munge, slurmctld and two slurmd, each with two fake GPUs, from Debian's packages slurm-wlm
and munge; it needs root, but neither systemd nor control groups. When stdin is closed, for whatever
reason, everything that was started here is stopped, including jobs. A line `kill node2` kills only
a node's slurmd; `start node2` starts it again.

The configuration is in /etc/slurm, where jobs find it too: Snakemake's executor plugin removes
SLURM_CONF from their environment. A configuration of another SLURM is not changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
OURS = "# of a SLURM for tests; whoever finds this file alone may delete it\n"
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")
NODES = {"node1": 16818, "node2": 16819}
CONTROLLER_PORT = 16817
_LOCK = Path("/run/lock/naslora-slurm")
_SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER
_START_S = 30


def obstacle() -> str | None:
    """The reason why this machine cannot run such a SLURM; None if it can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"no {', '.join(missing)} here (Debian packages slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "only root can start a SLURM here"
    if any(not _ours(CONFIGURATION / name) for name in FILES):
        return f"{CONFIGURATION} belongs to a SLURM of this machine's own"
    return None


def _ours(path: Path) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8").startswith(OURS)


def write_configuration(folder: Path) -> None:
    """Write the files in `FILES`; state, logs and munge's socket are in the folder.

    SLURM samples the memory of processes, and kills a job that uses more than it asked for, as on
    clusters with control groups.
    """
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8"
        f" RealMemory={memory * 9 // 10} Gres=gpu:2 State=UNKNOWN"
        for name, port in NODES.items()
    )
    texts = {
        "slurm.conf": f"""
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort={CONTROLLER_PORT}
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
MinJobAge=3600
KillWait=5
SlurmdTimeout=10
InactiveLimit=0
Waittime=0
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
""",
        "gres.conf": "".join(
            f"NodeName={name} Name=gpu File={device}\n"
            for name in NODES
            for device in ("/dev/null", "/dev/zero")
        ),
        "cgroup.conf": "CgroupPlugin=cgroup/v1\n",
    }
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (CONFIGURATION / name).write_text(OURS + texts[name], encoding="utf-8")


class Daemons:
    """The daemons and the jobs that they start, all of which are descendants of this process."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        # Jobs that detach from the daemons become children of this process.
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)

    def start(self) -> None:
        """Start all of them, and wait until jobs can run."""
        munge = self._folder / "munge"
        for path in (munge, self._folder / "state"):
            path.mkdir(mode=0o711)
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        self._run(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={munge}/key",
            f"--socket={munge}/socket",
            f"--pid-file={munge}/pid",
            f"--log-file={munge}/log",
            f"--seed-file={munge}/seed",
        )
        self._wait((munge / "socket").exists)
        self._run("slurmctld", "-D")
        for name in NODES:
            (self._folder / f"spool-{name}").mkdir()
            self._start_node(name)
        self._wait(lambda: _states() == ["idle"] * len(NODES))

    def obey(self, line: str) -> None:
        """Kill or start a node's slurmd."""
        order, _, node = line.partition(" ")
        if order == "kill":
            self._nodes[node].kill()
        else:
            self._start_node(node)

    def _start_node(self, name: str) -> None:
        self._nodes[name] = self._run("slurmd", "-D", "-N", name)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "daemons.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _START_S
        while not condition():
            if time.monotonic() > end:
                logs = [path.read_text(errors="replace") for path in self._folder.glob("*.log")]
                raise TimeoutError("no SLURM came up\n" + "\n".join(logs))
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill all descendants of this process."""
        while processes := list(_descendants(os.getpid())):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            _reap()
            time.sleep(0.02)


def _reap() -> None:
    """Reap the descendants that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _states() -> list[str]:
    asked = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%T"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.split()


def _descendants(process: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def main(folder: Path) -> None:
    """Run a SLURM until stdin is closed; prints "ready" when it runs, or why it does not."""
    with _LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another one runs here", flush=True)
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest gets Ctrl-C too, and closes stdin
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        daemons = Daemons(folder)
        try:
            write_configuration(folder)
            daemons.start()
            print("ready", flush=True)
            while True:
                if select.select([0], [], [], 1)[0]:
                    if not (lines := os.read(0, 1000)):
                        break
                    for line in lines.decode().splitlines():
                        daemons.obey(line)
                _reap()
        finally:
            daemons.stop()
            for name in FILES:
                (CONFIGURATION / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
