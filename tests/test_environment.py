"""The three places that name the environment agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"


def _locked() -> list[str]:
    return LOCK.read_text(encoding="utf-8").splitlines()


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_conda_environment_holds_what_the_lock_holds() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pip["pip"] == _locked(), "run `make lock`"
    assert conda == [f"python {project['requires-python']}", "pip"]


def test_lock_pins_every_package_and_holds_no_address() -> None:
    for line in _locked():
        assert re.fullmatch(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!]+( ; .+)?", line), line


@pytest.mark.parametrize("extra", ["", "workflow", "dev"])
def test_lock_holds_every_dependency_of_the_project(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    assert {_name(r) for r in wanted} <= {_name(line) for line in _locked()}
