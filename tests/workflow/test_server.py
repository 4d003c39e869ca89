from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from naslora.core.errors import TRY_AGAIN
from naslora.study.layout import Layout
from naslora.study.records import read_receipt
from naslora.study.settings import Study
from naslora.workflow.server import ADDRESS, SERVED, delegate

ROOT = Path(__file__).parents[2]
Copy = Callable[..., Study]
Options = Callable[..., list[str]]
Server = tuple["subprocess.Popen[bytes]", str]
LORA = ("--task", "kvasir", "--variant", "lora")


def run(
    arguments: list[str], address: str, folder: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "naslora", *arguments],
        cwd=folder,
        env={**os.environ, ADDRESS: address, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in text.split()}


def soon(condition: Callable[[], object], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda address: monkeypatch.setenv(ADDRESS, address)


def test_without_a_server_commands_run_here(
    environment: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    assert delegate(["train"]) is None
    for address in ("", str(tmp_path / "nothing"), str(tmp_path)):
        environment(address)
        assert delegate(["train"]) is None


def test_light_commands_and_help_do_not_ask_the_server(
    environment: Callable[[str], None], tmp_path: Path
) -> None:
    address = str(tmp_path / "socket")
    environment(address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        for arguments in ([], ["--help"], ["table", "table1"], ["prepare"]):
            assert delegate(arguments) is None
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_what_is_served_exists() -> None:
    from naslora.cli import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names >= SERVED


def test_an_unreachable_server_means_running_here(tmp_path: Path) -> None:
    done = run(["train", *LORA, "--study", "nowhere"], str(tmp_path / "gone"))
    assert done.returncode == 1
    assert "no study named 'nowhere'" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_an_error() -> None:
    served = """
import os
import naslora.__main__
import naslora.workflow.server
naslora.__main__.main = lambda: print("a result")
streams = [os.open("/dev/null", os.O_RDONLY), os.open("/dev/full", os.O_WRONLY), os.dup(2)]
request = {"environment": dict(os.environ), "folder": os.getcwd(), "arguments": []}
naslora.workflow.server._become(request, streams)
"""
    alone = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('a result')"
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    codes = [
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True
        ).returncode
        for code in (served, alone)
    ]
    assert codes == [120, 120]


def timeless(text: str) -> str:
    return re.sub(r"\b\d+ s\b", "_ s", text)


@pytest.mark.slow
def test_a_command_does_the_same_on_a_server(
    server: Server, copied: Copy, options: Options
) -> None:
    outputs, receipts, adapters = [], [], []
    study = copied()
    layout = Layout.of(study)
    for address in ("", server[1]):
        done = run(["train", *LORA, *options(study)], address)
        assert (done.returncode, done.stderr) == (0, "")
        outputs.append(timeless(done.stdout))
        adapters.append(layout.adapter("kvasir", "lora", 0).read_bytes())
        content = json.loads(layout.receipt("kvasir", "lora", 0).read_text())
        for epoch in content["history"]:
            del epoch["seconds"]
        del content["wall_time_s"], content["peak_memory_bytes"]
        receipts.append(content)
    assert outputs[0] == outputs[1]
    assert adapters[0] == adapters[1]
    assert receipts[0] == receipts[1]
    done = run(["evaluate", *LORA, *options(study)], server[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"record: {layout.record('kvasir', 'lora', 0)}\n"


@pytest.mark.slow
def test_exit_codes_and_errors(server: Server, copied: Copy, options: Options) -> None:
    overrides = {"training": {"learning_rate": 1e30, "epochs": 2}}
    study = copied(overrides)
    flags = options(study, overrides)
    done = run(["evaluate", *LORA, *flags], server[1])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: receipt not found\n")
    done = run(["train", *LORA, *flags], server[1])
    assert done.returncode == 3
    assert done.stderr.startswith("error: training diverged")
    assert run(["train"], server[1]).returncode == 2
    assert run(["train", "--help"], server[1]).returncode == 0


@pytest.mark.slow
def test_folder_and_environment_are_the_callers(
    server: Server, copied: Copy, options: Options, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run(["train", *LORA, "--study", "nowhere"], server[1], elsewhere)
    assert done.returncode == 1
    assert f"where: {elsewhere}/config/nowhere.yaml" in done.stderr
    study = copied()
    flags = [*options(study), "--set", "training.epochs=1"]
    assert run(["train", *LORA, *flags], server[1], GIT_DIR="/nowhere").returncode == 0
    receipt = read_receipt(Layout.of(study).receipt("kvasir", "lora", 0))
    assert receipt.provenance.git_revision is None


def started(study: Study, flags: list[str], address: str) -> subprocess.Popen[str]:
    """A client of an endless run, which has begun."""
    endless = ["--set", "training.epochs=100000"]
    client = subprocess.Popen(
        [sys.executable, "-m", "naslora", "train", *LORA, *flags, *endless],
        cwd=ROOT,
        env={**os.environ, ADDRESS: address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    while not client.stdout.readline().startswith("epoch 1/"):
        assert client.poll() is None
    return client


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_a_killed_caller_ends_its_command_alone(
    server: Server, copied: Copy, options: Options, number: signal.Signals
) -> None:
    """Signals are passed on, and the caller waits for what the command does about them."""
    process, address = server
    assert children(process.pid) == set()
    killed, kept = (
        started(study, options(study), address)
        for study in (copied(folder="a"), copied(folder="b"))
    )
    assert len(children(process.pid)) == 2
    killed.send_signal(number)
    _, errors = killed.communicate()
    if number == signal.SIGKILL:
        assert killed.returncode == -number
    else:
        assert killed.returncode == TRY_AGAIN
        assert f"training was stopped by {number.name} after epoch" in errors
    assert soon(lambda: len(children(process.pid)) == 1)
    time.sleep(0.2)
    assert kept.poll() is None
    kept.kill()
    kept.communicate()
    assert soon(lambda: not children(process.pid))
    assert process.poll() is None


@pytest.mark.slow
def test_two_processes_on_a_server(server: Server, copied: Copy, options: Options) -> None:
    """Distributed training starts its second process as a command of its own."""
    study = copied()
    flags = [*options(study), "--set", "training.epochs=1", "--set", "training.devices=2"]
    done = run(["train", *LORA, *flags], server[1])
    assert done.returncode == 0, done.stderr
    receipt = read_receipt(Layout.of(study).receipt("kvasir", "lora", 0))
    assert receipt.settings["training"]["devices"] == 2
    assert "MEMBER: 2/2" in done.stderr


@pytest.mark.slow
def test_commands_of_a_server_that_leaves_fail(
    own_server: Server, copied: Copy, options: Options
) -> None:
    process, address = own_server
    study = copied()
    client = started(study, options(study), address)
    (job,) = children(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    _, errors = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "the server that ran this command is gone" in errors
    assert soon(lambda: not Path(f"/proc/{job}").exists() or _ended(job))
    assert process.wait(60) == 0
    assert not Path(address).parent.exists()
    done = run(["train", *LORA, "--study", "nowhere"], address)
    assert "no study named 'nowhere'" in done.stderr


def _ended(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    return True
