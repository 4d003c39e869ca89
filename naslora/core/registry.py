"""Registries: objects by name, registered by modules of this package or by a user's own files."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from naslora.core.errors import NasloraError, SettingsError

T = TypeVar("T")
# By kind and name: files that a study names and that no registry has loaded yet.
_DECLARED: dict[tuple[str, str], Path] = {}


def declare_files(kind: str, files: Mapping[str, Path]) -> None:
    """Declare which file registers each name; the registry loads it when it is asked for."""
    for name, path in files.items():
        _DECLARED[kind, name] = path.absolute()


class Registry(Generic[T]):
    """Objects of one kind by name.

    A module of the package is imported when its object is first asked for, so that listing names
    imports nothing. A Python file outside the package adds one object, named like the file; see
    `load_file`.

    Args:
        kind: what messages call an object, such as "method".
        modules: name of an object to the module that registers it.
        decorator: the decorator that registers an object, for messages.
    """

    def __init__(self, kind: str, modules: Mapping[str, str], decorator: str):
        self.kind = kind
        self.modules = dict(modules)
        self._decorator = decorator
        self._entries: dict[str, T] = {}
        self._files: dict[str, tuple[Path, str]] = {}

    def register(self, name: str, entry: T) -> None:
        """Add an object.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"a {self.kind} named {name!r} is registered already")
        self._entries[name] = entry

    def names(self) -> list[str]:
        """All names, imported or not: those of the package in its order, then others."""
        return list(dict.fromkeys([*self.modules, *self._entries]))

    def get(self, name: str) -> T:
        """Look up an object; import its module or load its declared file if necessary.

        Raises:
            SettingsError: there is none of that name, or its file cannot be loaded.
        """
        if declared := _DECLARED.get((self.kind, name)):
            self.load_file(declared, replacing=True)
            _DECLARED.pop((self.kind, name), None)
        if name not in self._entries and name in self.modules:
            importlib.import_module(self.modules[name])
        if name not in self._entries:
            raise SettingsError(
                f"no {self.kind} named {name!r}", remedy=did_you_mean(name, self.names())
            )
        return self._entries[name]

    def load_file(self, path: Path, *, replacing: bool = False) -> str:
        """Run a Python file that registers one object under the file's name without `.py`.

        The file must not depend on files beside it, because its SHA-256 identifies the object. A
        file that is already loaded is not run again unless it has changed; then it replaces what
        it registered before.

        Args:
            path: the file.
            replacing: whether it may replace what another file registered under its name.

        Returns:
            The name.

        Raises:
            SettingsError: there is no such file, it cannot be run, it registers something other
                than one object of its name, or the name is taken.
        """
        path = path.absolute()
        name = path.stem
        try:
            source = path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"{self.kind} file not found"
                if isinstance(error, FileNotFoundError)
                else f"cannot read the {self.kind} file: {error.strerror}",
                where=path,
                remedy=f"give the path of the file of the {self.kind}",
            ) from None
        loaded = path, hashlib.sha256(source).hexdigest()
        if self._files.get(name) == loaded:
            return name
        others = dict(self._entries)
        if name in self._files and (replacing or self._files[name][0] == path):
            others.pop(name, None)
        if name in others or name in self.modules:
            other = self._files[name][0] if name in self._files else None
            raise SettingsError(
                f"there is a {self.kind} named {name} already" + (f": {other}" if other else ""),
                where=path,
                remedy="rename the file",
            )
        module = f"naslora_{self.kind}_{name}"
        entries, earlier = self._entries, sys.modules.get(module)
        self._entries = dict(others)
        try:
            self._run(source, path, module)
            new = sorted(set(self._entries) - set(others))
            if new != [name]:
                raise SettingsError(
                    f"this file registers no {self.kind} named {name}"
                    + (f", but {', '.join(new)}" if new else ""),
                    where=path,
                    remedy=f"register one {self.kind} with {self._decorator}, named like the file",
                )
        except BaseException:
            self._entries = entries
            del sys.modules[module]
            if earlier is not None:
                sys.modules[module] = earlier
            raise
        self._files[name] = loaded
        return name

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """If the block raises, forget the files that it loaded, declared or replaced."""
        start = f"naslora_{self.kind}_"
        entries, files, declared = dict(self._entries), dict(self._files), dict(_DECLARED)
        modules = {name: module for name, module in sys.modules.items() if name.startswith(start)}
        try:
            yield
        except BaseException:
            self._entries, self._files = entries, files
            _DECLARED.clear()
            _DECLARED.update(declared)
            for name in [name for name in sys.modules if name.startswith(start)]:
                del sys.modules[name]
            sys.modules.update(modules)
            raise

    def file_sha256(self, name: str) -> str | None:
        """SHA-256 of the user's own file that registered an object; None for all others."""
        return self._files[name][1] if name in self._files else None

    def _run(self, source: bytes, path: Path, name: str) -> None:
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module  # dataclasses and pydantic look up their module
        try:
            # Not by importlib: its cache misses a change within a second that keeps the size.
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        except NasloraError:
            raise
        except Exception as error:
            raise SettingsError(
                f"the {self.kind} file cannot be run: {_described(error, path)}",
                where=path,
                remedy="correct the file",
            ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the closest known name, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"


def _described(error: Exception, path: Path) -> str:
    """An error's type and text, with the last line of the file that it passed through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    place = f"line {line}: " if line else ""
    return f"{place}{type(error).__name__}: {what}"
