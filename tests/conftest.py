"""Shared fixtures, such as a small study; tests that this machine cannot run are skipped."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from naslora.study.settings import Study

ROOT = Path(__file__).parents[1]

# A shell starts background commands with this signal ignored, which child processes inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The rehearsal, reduced to seconds.
SMALL = {
    "tasks": ["kvasir"],
    "methods": ["lora", "nas_lora"],
    "networks": [],
    "seeds": [0],
    "generated": {"kvasir": 24},
    "sam": {"image_size": 64, "checkpoint": "pretrained"},
    "pretraining": {"scenes": 8, "steps": 1, "batch_size": 8, "validation_scenes": 2},
    "training": {"epochs": 2, "architecture": {"start_epoch": 1}},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if item.get_closest_marker("cluster") and shutil.which("sbatch") is None:
            item.add_marker(pytest.mark.skip(reason="no SLURM here"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _small(results: Path, overrides: Mapping[str, Any]) -> Study:
    from naslora.study.settings import load_study

    return load_study("rehearsal", {**SMALL, **overrides, "results": str(results)}, ROOT / "config")


@pytest.fixture(scope="session")
def prepared_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """24 generated images and a tiny SAM that was trained for one step. Do not write to it."""
    from naslora.data.prepare import prepare
    from naslora.training.pretraining.run import pretrain

    study = _small(tmp_path_factory.mktemp("prepared"), {})
    prepare(study, "kvasir", ROOT / "config")
    pretrain(study)
    return study


@pytest.fixture(scope="session")
def trained_study(prepared_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same with its runs trained, and runs and controls evaluated. Do not write to it."""
    from naslora.evaluation.controls import evaluate_controls
    from naslora.evaluation.evaluate import evaluate
    from naslora.training.train import train

    results = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared_study.results, results, dirs_exist_ok=True)
    study = _small(results, {})
    for variant in study.run_names():
        train(study, "kvasir", variant, 0)
        evaluate(study, "kvasir", variant, 0)
    evaluate_controls(study, "kvasir")
    return study


# Imports of the commands that train and evaluate.
_PRELOADED = [
    "lightning_fabric",
    "py_sod_metrics",
    "pyarrow.parquet",
    "naslora.cli",
    "naslora.training.train",
    "naslora.evaluation.evaluate",
]


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], int]:
    """Run a `naslora` command in a process that has imported torch; returns its exit code.

    The process has the folder, environment and output of this one, and shares nothing else with it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    script = str(Path(__file__).with_name("forked_command.py"))
    output = [tmp_path_factory.mktemp("forked") / name for name in ("stdout", "stderr")]

    def run(arguments: list[str]) -> int:
        request = {
            "arguments": arguments,
            "folder": os.getcwd(),
            "environment": dict(os.environ),
            "output": list(map(str, output)),
        }
        process = context.Process(
            target=runpy.run_path, args=(script,), kwargs={"init_globals": {"REQUEST": request}}
        )
        with pytest.MonkeyPatch.context() as patch:
            # Otherwise the process would import pytest's main module again.
            patch.setattr(sys.modules["__main__"], "__spec__", None)
            patch.delattr(sys.modules["__main__"], "__file__", raising=False)
            process.start()
        process.join()
        for place, path in enumerate(output, start=1):
            os.write(place, path.read_bytes() if path.exists() else b"")
            path.unlink(missing_ok=True)
        assert process.exitcode is not None
        return process.exitcode

    return run


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let a test register methods and benchmarks; the test's end, or a call, removes them again."""
    from naslora.core import registry as registry_module
    from naslora.data.benchmarks.contract import BENCHMARKS
    from naslora.methods.registry import METHODS

    for registry in (METHODS, BENCHMARKS):  # a module registers its objects only once
        for name in registry.names():
            registry.get(name)
    declared = dict(registry_module._DECLARED)
    kept = [(r, dict(r._entries), dict(r._files), dict(r.modules)) for r in (METHODS, BENCHMARKS)]

    def forget() -> None:
        monkeypatch.setattr(registry_module, "_DECLARED", dict(declared))
        for registry, entries, files, modules in kept:
            monkeypatch.setattr(registry, "_entries", dict(entries))
            monkeypatch.setattr(registry, "_files", dict(files))
            monkeypatch.setattr(registry, "modules", dict(modules))

    forget()
    return forget


StudyCopy = Callable[..., "Study"]


@pytest.fixture
def copied(prepared_study: Study, tmp_path: Path) -> StudyCopy:
    """Copy the prepared study, or another, to the test's own folder, with overrides."""

    def copy(
        overrides: Mapping[str, Any] | None = None,
        *,
        of: Study | None = None,
        folder: str = "results",
    ) -> Study:
        shutil.copytree((of or prepared_study).results, tmp_path / folder, dirs_exist_ok=True)
        return _small(tmp_path / folder, overrides or {})

    return copy


@pytest.fixture
def options() -> Callable[..., list[str]]:
    """The command line's options for a study that `copied` makes with the same overrides."""

    def write(study: Study, overrides: Mapping[str, Any] | None = None) -> list[str]:
        values = {**SMALL, **(overrides or {}), "results": str(study.results)}
        pairs = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        return ["--study", "rehearsal", *(part for pair in pairs for part in ("--set", pair))]

    return write


@pytest.fixture
def naslora(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; returns exit code, output and errors."""
    from naslora.cli import main

    def run(*arguments: str, folder: Path = ROOT) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["naslora", *arguments])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        output, errors = capfd.readouterr()
        return code, output, errors

    return run


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium, driven by Selenium."""
    selenium = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        pytest.skip("no Chromium, or no chromedriver, on this machine")
    options = selenium.ChromeOptions()
    options.binary_location = found
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.add_argument("--window-size=1400,1000")
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    chrome = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of a given size in KiB, and return its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(kib: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `body`; each request gets the next of `answers`, and all further ones the last.

    An answer is a status, or a dictionary of: status, headers, body (instead of the server's),
    etag, modified, ranges and if_range (False: ignored), place (the Content-Range), length (False:
    not sent), pause (seconds before the answer), cut (bytes after which it breaks off), stall
    (seconds before it breaks off).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _FileHandler)
        self.body = b""
        self.answers: list[int | dict[str, Any]] = [{}]
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class _FileHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: FileServer = self.server  # type: ignore[assignment]
        server.requests.append(dict(self.headers))
        answer = server.answers[min(len(server.requests), len(server.answers)) - 1]
        answer = {"status": answer} if isinstance(answer, int) else answer
        answer = {"body": server.body, "etag": '"1"', "status": 200, "length": True, **answer}
        body, status, headers = answer["body"], answer["status"], dict(answer.get("headers", {}))
        headers |= {"ETag": answer["etag"]} if answer["etag"] else {}
        headers |= {"Last-Modified": answer["modified"]} if "modified" in answer else {}
        wanted = self.headers.get("Range") if answer.get("ranges", True) else None
        asked = self.headers.get("If-Range")
        if asked and answer.get("if_range", True) and asked not in headers.values():
            wanted = None
        if status == 200 and wanted:
            start, total = int(wanted.removeprefix("bytes=").removesuffix("-")), len(body)
            if start >= total:
                status, body = 416, b""
                headers["Content-Range"] = f"bytes */{total}"
            else:
                status, body = 206, body[start:]
                place = answer.get("place", f"bytes {start}-{total - 1}/{total}")
                headers["Content-Range"] = place
        time.sleep(answer.get("pause", 0))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if answer["length"]:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: answer.get("cut", len(body))])
        time.sleep(answer.get("stall", 0))

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client closed the connection
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine that misbehaves on demand."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def download(file_server: FileServer, tmp_path: Path) -> Callable[..., bytes]:
    """Download the server's file to tmp_path/to/file.bin, and return its bytes."""
    from naslora.core.download import Download
    from naslora.core.errors import ArchiveError

    def run(**changes: Any) -> bytes:
        body = file_server.body
        options = {
            "url": file_server.url,
            "target": tmp_path / "to" / "file.bin",
            "error": ArchiveError,
            "by_hand": "carry it here",
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "pause": 0.001,
        }
        wanted = Download(**(options | changes))
        wanted.run()
        return wanted.target.read_bytes()

    return run
