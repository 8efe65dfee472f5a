"""The page of commands, generated from the program."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from ccproxy.cli.app import build
from ccproxy.cli.reference.markdown import code, table

_INTRODUCTION = """\
# Commands

This page is generated from the program and has the same text as `ccproxy COMMAND --help`. Options follow the command that they belong to.
Commands that print data have the option `--json`. All commands use the same [configuration](../user-guide/configuration.md).

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | failure; the last line on stderr contains the reason |
| 2 | wrong usage or configuration |
| 130 | interrupted by Ctrl-C |
| any | `run` returns the exit code of the client |

`doctor` returns 1 if something is broken. `serve` returns 1 if its port is busy, its address is not available or an addon fails, and 0 when it is
stopped by a signal. `auth login` returns 1 when it is interrupted.
"""

_WORDS = {"int": "NUMBER", "float": "NUMBER", "Path": "FILE"}


def commands() -> str:
    """Return the page."""
    program = typer.main.get_command(build(()))
    return "\n".join([_INTRODUCTION, *_sections("ccproxy", program)])


def _sections(name: str, command: Any) -> Iterator[str]:
    below = getattr(command, "commands", {})
    yield f"## {name}\n" if name.count(" ") < 2 else f"### {name}\n"
    yield from _described(name, command)
    if below:
        yield table(
            ("command", "purpose"), [(code(f"{name} {each}"), _summary(inner)) for each, inner in below.items()]
        )
    hints = typing.get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    for kind, heads in (("argument", ("argument", "meaning")), ("option", ("option", "default", "meaning"))):
        rows = [
            _row(each, hints.get(each.name))
            for each in command.params
            if each.param_type_name == kind and not each.hidden
        ]
        if rows:
            yield table(heads, rows)
    for each, inner in below.items():
        yield from _sections(f"{name} {each}", inner)


def _described(name: str, command: Any) -> Iterator[str]:
    text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
    for paragraph in text.strip().split("\n\n"):
        yield _marked(" ".join(paragraph.split())) + "\n"
    if example:
        first, *others = (each for each in re.split(r"\s{3,}|\n", example) if each)
        yield "Example: " + "; ".join([code(first), *(_after_its_name(each) for each in others)]) + "\n"
    elif name != "ccproxy" and not getattr(command, "commands", None):
        raise ValueError(f"{name} has no example")


def _after_its_name(example: str) -> str:
    """Return `fish: ccproxy env claude | source` with the command as code."""
    label, _, rest = example.rpartition(": ")
    return f"{label}: {code(rest)}" if label else code(rest)


def _summary(command: Any) -> str:
    return _marked(" ".join((command.help or "").split("\n\n")[0].split()))


def _row(parameter: Any, hint: Any) -> tuple[str, ...]:
    text = _marked(parameter.help or "")
    if parameter.param_type_name == "argument":
        label = parameter.metavar or parameter.name.upper()
        return code(label.strip("[]") if label.startswith("[") and "--" not in label else label), text + (
            "" if parameter.required else " Optional."
        )
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else " " + (parameter.metavar or _value(hint))
    return ", ".join(code(name + value) for name in names), _default(parameter), text


def _value(hint: Any) -> str:
    kind = _plain(hint)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(each.value) for each in kind)
    return _WORDS.get(getattr(kind, "__name__", ""), "TEXT")


def _plain(hint: Any) -> Any:
    """Return `int` for `int | None` and `Path` for `list[Path]`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return _plain(next(each for each in typing.get_args(hint) if each is not type(None)))
    return typing.get_args(hint)[0] if typing.get_origin(hint) is list else hint


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    if value is None or value is False or value in ("", []) or not parameter.show_default:
        return ""
    return code(str(value.value if isinstance(value, Enum) else Path(value) if isinstance(value, Path) else value))


def _marked(text: str) -> str:
    """Mark options, paths and variables in prose as code."""
    return re.sub(r"(?<![\w`./-])(--[a-z][a-z-]*|\./[\w./]+|\$[A-Z_]+)", r"`\1`", text)
