"""Pages of the site that are written when it is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer.main
import yaml
from pydantic import BaseModel

from naslora.cli import app
from naslora.methods.registry import METHODS, get_method
from naslora.report.claims.audit import audit_claims, claims_markdown
from naslora.results.aggregate import aggregate
from naslora.study.settings import Study, Variant, load_study, read_yaml, settings_file

_NAME = "^[a-z0-9][a-z0-9_]*$"
_COMMENTED = re.compile(r"(?P<indent> *)(?:- )?(?P<key>\w+):(?P<value>.*?)(?: +# (?P<comment>.*))?")
# In code in a table, GitHub needs a backslash before a pipe, which the site would show.
_ROW = re.compile(r"^ *\|.*", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_NUMBERS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put generated parts in place of their marks: the claims, the settings, the commands."""
    for mark, write in (("audit", _audit), ("settings", _settings), ("commands", _commands)):
        if f"<!-- {mark} -->" in markdown:
            markdown = markdown.replace(f"<!-- {mark} -->", write())
    return _ROW.sub(lambda row: _CODE.sub(_plain_pipes, row[0]), markdown)


def _plain_pipes(code: re.Match[str]) -> str:
    return code[0].replace("\\|", "|")


def _audit() -> str:
    """The arithmetic of the paper's claims, without any run."""
    with TemporaryDirectory() as empty:
        study = load_study("paper", {"results": empty})
        text = claims_markdown(study, audit_claims(study, aggregate(study)))
    return text.split("\n\n", 2)[2]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).rstrip(".").replace("|", "\\|")


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


# Settings


def _settings() -> str:
    """A table of each section of a study's settings, then one of each method."""
    path = settings_file("defaults")
    defaults, comments = read_yaml(path), _comments(path.read_text(encoding="utf-8"))
    top, sections = [], []
    for name, field in Study.model_fields.items():
        if name not in defaults:
            continue  # filled from other settings
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
            rows = list(_rows(model, defaults[name], comments, f"{name}."))
            intro = _sentence(comments.get(name) or _first_paragraph(model) or "")
            sections += [f"## `{name}`", intro, _settings_table(rows)]
        else:
            top += _rows(Study, defaults, comments, "", [name])
            if name == "variants":
                top += _rows(Variant, {}, {}, "variants.NAME.")
    parts = [f"## The study\n\n{_settings_table(top)}", *sections, "## Settings of each method"]
    parts.append(
        "These are keys of `method_settings.METHOD`, and of `settings` of a variant, with the"
        " defaults of the method."
    )
    parts += [_method(name) for name in METHODS.names()]
    return "\n\n".join(part for part in parts if part)


def _method(name: str) -> str:
    method = get_method(name)
    rows = list(_rows(method.settings, {}, {}, ""))
    intro = _first_paragraph(method.settings) or ""
    if not rows:
        return f"### `{name}`\n\n{method.title}. It has no settings."
    return f"### `{name}`\n\n{method.title}. {_sentence(intro)}\n\n{_settings_table(rows)}"


def _settings_table(rows: Sequence[Sequence[str]]) -> str:
    return _table(("setting", "type", "default", "meaning"), rows)


def _rows(
    model: type[BaseModel],
    defaults: Mapping[str, Any],
    comments: Mapping[str, str],
    prefix: str,
    names: Sequence[str] | None = None,
) -> Iterator[list[str]]:
    """Key, type, default and meaning of each setting of a model, those of its parts included."""
    schema = model.model_json_schema()
    meanings = _attributes(model)
    for name, field in model.model_fields.items():
        if names is not None and name not in names:
            continue
        key = f"{prefix}{name}"
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from _rows(part, defaults.get(name, {}), comments, f"{key}.")
            continue
        if name in defaults:
            default = _value(defaults[name])
        else:
            default = (
                "" if field.is_required() else _value(field.get_default(call_default_factory=True))
            )
        meaning = comments.get(key) or meanings.get(name, "")
        kind = _kind(schema["properties"][name], schema.get("$defs", {}))
        yield [_code(key), kind, _code(default), _cell(meaning)]


def _value(value: Any) -> str:
    """A default as YAML has it; of a long mapping, its keys."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    text = text.removesuffix("...\n").strip()
    if isinstance(value, dict) and len(text) > 100:
        return "{" + ", ".join(f"{key}: …" for key in value) + "}"
    return text


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return " or ".join(_kind(one, definitions) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(_code(str(one)) for one in schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "array":
        # A fixed number of entries has no single kind.
        return f"list of: {_kind(schema['items'], definitions)}" if "items" in schema else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = _kind(values, definitions) if isinstance(values, dict) and values else ""
        return "mapping" + (f" of names to: {inner}" if inner and "$ref" not in values else "")
    if kind == "string":
        if schema.get("format") == "path":
            return "path"
        return "name" if schema.get("pattern") == _NAME else "text"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    text = words.get(str(kind), _code("null") if kind == "null" else "see the meaning")
    limits = [
        pattern.format(f"{schema[limit]:g}" if schema[limit] < 1e6 else str(schema[limit]))
        for limit, pattern in _NUMBERS.items()
        if limit in schema and schema[limit] < 2**63
    ]
    return f"{text} {', '.join(limits)}".rstrip()


def _first_paragraph(model: type[BaseModel]) -> str | None:
    text = inspect.cleandoc(model.__doc__ or "").partition("\nAttributes:")[0]
    return " ".join(text.split()) if "Attributes" not in text else None


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Meanings of settings from the docstrings of a model and of the models it extends."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        block = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Attributes:\n")[2]
        for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", block, re.MULTILINE):
            for name in names.split(", "):
                found[name] = " ".join(text.split())
    return found


def _comments(text: str) -> dict[str, str]:
    """The comments of a settings file by dotted keys: in the line, or in the lines above it."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    key, column = "", -1
    for line in text.splitlines():
        alone = re.fullmatch(r"( *)# (.*)", line)
        if alone and len(alone[1]) == column:  # continues the comment of the line before
            found[key] += " " + alone[2]
            continue
        if alone:
            above.append(alone[2])
            continue
        match = _COMMENTED.fullmatch(line)
        if match is None:
            if not line.strip():
                above = []
            continue
        indent = len(match["indent"])
        path = [*(one for one in path if one[0] < indent), (indent, match["key"])]
        key = ".".join(name for _, name in path)
        comment = match["comment"]
        column = match.start("comment") - 2 if comment else -1
        if comment or above:
            found[key] = " ".join([*above, *([comment] if comment else [])])
        above = []
    return found


# Commands


def _commands() -> str:
    """Each command with its arguments and options, under the headings of `naslora --help`."""
    group: Any = typer.main.get_command(app)
    parts = []
    shown = [(name, one) for name, one in group.commands.items() if not one.hidden]
    for panel, commands in groupby(shown, key=lambda pair: pair[1].rich_help_panel):
        parts.append(f"## {panel}")
        for name, command in commands:
            parts.append(_command(name, command))
    return "\n\n".join(parts)


def _command(name: str, command: Any) -> str:
    usage = ["naslora", name]
    hints = get_type_hints(command.callback)
    rows = []
    for parameter in (one for one in command.params if not getattr(one, "hidden", False)):
        argument = parameter.param_type_name == "argument"
        value = parameter.metavar or _placeholder(hints[parameter.name])
        if argument:
            rest = "..." if parameter.nargs != 1 and not value.endswith("...") else ""
            usage.append(f"{value}{rest}" if parameter.required else f"[{value}{rest}]")
            title = _code(value)
        else:
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            title = _code(f"{names} {value}".strip())
            if parameter.required:
                usage.append(f"{parameter.opts[0]} {value}")
        rows.append([title, _default(parameter), _cell(parameter.help or "")])
    usage.append("[OPTION]...")
    text = inspect.cleandoc(command.help or "")
    table = _table(("argument or option", "default", "meaning"), rows)
    return f"### `naslora {name}`\n\n{text}\n\n    {' '.join(usage)}\n\n{table}"


def _placeholder(hint: Any) -> str:
    """What stands for the value of an option, as in the help: nothing for a flag."""
    inner = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is Literal:
        return "|".join(inner)
    if inner:  # optional, or a list
        return _placeholder(inner[0])
    if issubclass(hint, Enum):
        return "|".join(str(one.value) for one in hint)
    return {bool: "", int: "N", float: "X", Path: "FILE"}.get(hint, "TEXT")


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or callable(value):
        return ""
    if value is True:
        return "on"
    return _code(str(value.value if isinstance(value, Enum) else value))
