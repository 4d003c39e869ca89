"""requirements.lock, environment.yml and pyproject.toml agree."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
# One package: its version, perhaps a marker, and a hash for each of its files.
ENTRY = re.compile(
    r"(?P<name>[a-z0-9._-]+)==[A-Za-z0-9.+!]+( ; [^\\\n]+?)?"
    r"(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def _project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    return project


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_lock_pins_every_package_with_hashes_and_holds_nothing_else() -> None:
    assert ENTRY.sub("", LOCK) == ""


@pytest.mark.parametrize("extra", [None, *_project()["optional-dependencies"]])
def test_lock_holds_every_dependency_of_the_project(extra: str | None) -> None:
    project = _project()
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    locked = {match["name"] for match in ENTRY.finditer(LOCK)}
    assert {_name(requirement) for requirement in wanted} <= locked


def test_conda_environment_installs_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = f"python {_project()['requires-python']}"
    assert environment["dependencies"] == [python, "pip", {"pip": ["-r requirements.lock"]}]


def test_the_installer_is_pinned_by_the_lock() -> None:
    """`workflow/environment` cuts the entry of uv out of the lock."""
    script = (ROOT / "workflow" / "environment").read_text(encoding="utf-8")
    (command,) = re.findall(r"^(sed -n .+requirements\.lock) >", script, re.MULTILINE)
    cut = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=True).stdout
    (entry,) = (match[0] for match in ENTRY.finditer(LOCK) if match["name"] == "uv")
    assert cut.decode() == entry
