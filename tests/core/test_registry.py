"""A registry of objects by name, with modules that are imported late and a user's own files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from naslora.core.errors import SettingsError
from naslora.core.registry import Registry, declare_files, did_you_mean

FILE = "from tests_core_registry import OWN\nOWN.register({name!r}, {value})\n"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry[int]:
    """Two modules that can be imported, "one" and "two", and their registry."""
    registry: Registry[int] = Registry("number", {"one": "number_one", "two": "number_two"}, "@put")
    shared = type(sys)("tests_core_registry")
    shared.__dict__["OWN"] = registry
    monkeypatch.setitem(sys.modules, shared.__name__, shared)
    monkeypatch.syspath_prepend(tmp_path / "path")
    (tmp_path / "path").mkdir()
    for value, name in enumerate(("one", "two"), 1):
        text = FILE.format(name=name, value=value)
        (tmp_path / "path" / f"number_{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"number_{name}", raising=False)
    return registry


def write(path: Path, name: str, value: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(FILE.format(name=name, value=value))
    return path


def test_modules_are_imported_when_they_are_asked_for(own: Registry[int]) -> None:
    assert own.names() == ["one", "two"]
    assert "number_two" not in sys.modules
    assert own.get("two") == 2
    assert "number_two" in sys.modules
    assert "number_one" not in sys.modules
    own.register("three", 3)
    assert own.names() == ["one", "two", "three"]
    with pytest.raises(ValueError, match="number named 'three' is registered already"):
        own.register("three", 4)


def test_an_unknown_name_gets_its_closest_match(own: Registry[int]) -> None:
    with pytest.raises(SettingsError, match="no number named 'tow'") as caught:
        own.get("tow")
    assert caught.value.remedy == "did you mean two?"
    assert did_you_mean("xyz", ["one", "two"]) == "choose one of one, two"


def test_a_file_registers_one_object_and_is_known_by_its_hash(
    own: Registry[int], tmp_path: Path
) -> None:
    path = write(tmp_path / "seven.py", "seven", 7)
    assert own.load_file(path) == "seven"
    assert own.get("seven") == 7
    assert own.file_sha256("seven") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert own.file_sha256("one") is None
    assert not list(tmp_path.glob("__pycache__"))


def test_a_file_runs_again_only_when_it_has_changed(own: Registry[int], tmp_path: Path) -> None:
    path = write(tmp_path / "seven.py", "seven", 7)
    own.load_file(path)
    own.load_file(path)  # registering a second time would be an error
    write(path, "seven", 8)  # the same size, within the same second
    own.load_file(path)
    assert own.get("seven") == 8
    path.write_text("1 / 0")
    with pytest.raises(SettingsError, match="ZeroDivisionError"):
        own.load_file(path)
    assert own.get("seven") == 8


def test_a_declared_file_is_loaded_when_it_is_asked_for(own: Registry[int], tmp_path: Path) -> None:
    path = tmp_path / "seven.py"
    declare_files("number", {"seven": path})
    with pytest.raises(SettingsError, match="number file not found"):
        own.get("seven")
    write(path, "seven", 7)
    assert own.get("seven") == 7
    write(path, "seven", 8)
    assert own.get("seven") == 7, "unless it is declared again, by the next study"
    declare_files("number", {"seven": path})
    assert own.get("seven") == 8


def test_two_files_of_one_name(own: Registry[int], tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "seven.py", "seven", 7)
    second = write(tmp_path / "b" / "seven.py", "seven", 8)
    own.load_file(first)
    with pytest.raises(SettingsError, match="number named seven already") as caught:
        own.load_file(second)
    assert str(first) in str(caught.value)
    assert caught.value.where == second
    assert own.get("seven") == 7


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "number file not found"),
        ("empty.py", "", "registers no number named empty"),
        ("other.py", FILE.format(name="something", value=1), "named other, but something"),
        ("one.py", FILE.format(name="one", value=1), "there is a number named one already"),
        ("divides.py", "x = 1\n\n1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        ("imports.py", "import nothing_like_it\n", "line 1: ModuleNotFoundError"),
        ("syntax.py", "x = 1\nif\n", "line 2: SyntaxError: invalid syntax"),
        ("bytes.py", "\x00", "SyntaxError"),
    ],
)
def test_a_file_that_is_of_no_use_is_named_and_leaves_nothing(
    own: Registry[int], tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    names = own.names()
    with pytest.raises(SettingsError, match=message) as caught:
        own.load_file(path)
    assert caught.value.where == path
    assert caught.value.remedy
    assert own.names() == names
    assert f"naslora_number_{path.stem}" not in sys.modules


def test_a_folder_is_no_file(own: Registry[int], tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(SettingsError, match="cannot read the number file"):
        own.load_file(tmp_path / "folder.py")


def test_what_a_failed_block_loaded_is_forgotten(own: Registry[int], tmp_path: Path) -> None:
    kept = write(tmp_path / "kept" / "three.py", "three", 3)
    own.load_file(kept)
    module = sys.modules["naslora_number_three"]
    other = write(tmp_path / "other" / "three.py", "three", 30)
    new = write(tmp_path / "other" / "four.py", "four", 4)

    def failing() -> None:
        own.load_file(other, replacing=True)
        own.load_file(new)
        declare_files("number", {"five": tmp_path / "five.py"})
        assert (own.get("three"), own.get("four")) == (30, 4)
        raise RuntimeError

    with pytest.raises(RuntimeError), own.undone_on_error():
        failing()
    assert own.get("three") == 3
    assert own.file_sha256("three") == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert sys.modules["naslora_number_three"] is module
    assert "naslora_number_four" not in sys.modules
    for name in ("four", "five"):
        with pytest.raises(SettingsError, match=f"no number named '{name}'"):
            own.get(name)
    with own.undone_on_error():
        own.load_file(new)
    assert own.get("four") == 4
