"""What is wrong with a setting, in one line: where it is, which key and value, what is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ccproxy.settings import keys, secrets
from ccproxy.settings.layers import Layer, printable

_LOGIN = re.compile(r"://[^/@\s]+@")
_MAX_VALUE = 200


def explain(layers: Sequence[Layer], problem: Mapping[str, Any]) -> str:
    """A pydantic error of the settings made of these layers. Never the value of a secret."""
    location = tuple(str(part) for part in problem["loc"])
    path = location
    while path and not any(keys.has(layer.values, path) for layer in layers):
        path = path[:-1]
    layer = next((layer for layer in layers if path and keys.has(layer.values, path)), None)
    where = place(layer, path) if layer else "settings"
    key = printable(".".join(location)) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}{_suggestion(path)}"
    if problem["type"] == "missing":
        return f"{where}: {key} is missing"
    shown = _shown(layer, path) if layer else ""
    return f"{where}: {key}{shown}: {problem['msg'].removeprefix('Value error, ')}"


def place(layer: Layer, path: keys.Path) -> str:
    """Where a layer sets a key: a file and line, or a variable."""
    if name := layer.variables.get(path):
        return f"{layer.origin} {name}" if layer.origin == "environment" else f"{layer.origin}: {name}"
    if layer.text and (line := _line(layer.text, path)):
        return f"{layer.origin}:{line}"
    return layer.origin


def _shown(layer: Layer, path: keys.Path) -> str:
    value = keys.at(layer.values, path)
    if isinstance(value, Mapping) or secrets.is_secret(path):
        return ""
    text = _LOGIN.sub("://***@", repr(value))
    return f" = {text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + '…'}"


def _suggestion(path: keys.Path) -> str:
    table = path[:-1]
    model = keys.table_at(table)
    if model is None or not path:
        return ""
    if near := keys.nearest(table, path[-1]):
        return f"; did you mean {near}?"
    return f"; accepted here: {', '.join(sorted(model.model_fields))}"


def _line(text: str, path: keys.Path) -> int | None:
    """The line of a key in a TOML text: tomllib keeps none, so headers and keys are searched as people write them."""
    table: keys.Path = ()
    best = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            position = table
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            position = (*table, *(part.strip(" \"'") for part in key[1].split(".")))
        else:
            continue
        if path[: len(position)] == position:
            best = number
            if position == path:
                return number
    return best
