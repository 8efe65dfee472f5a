"""What the installed mitmproxy lacks of the names that ccproxy imports beyond its public API.

Reads the imports of `ccproxy/addons/transport/mitmproxy_internals.py` without running them, so that all that is missing is listed at once: the first import
of a missing name would end the whole suite. pytest loads it as a plugin before all else.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

INTERNALS = Path(__file__).parents[1] / "ccproxy" / "addons" / "transport" / "mitmproxy_internals.py"
ELSEWHERE = {"ErrorCode", "NO_RESPONSE"}
"""Names of which each supported branch has one."""


def imported_names() -> Iterator[tuple[str, str]]:
    """Module and name of each import of mitmproxy."""
    for node in ast.walk(ast.parse(INTERNALS.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mitmproxy"):
            for alias in node.names:
                yield node.module, alias.name


def missing_names() -> list[str]:
    """The names that cannot be imported, as `module.name`."""
    return [
        f"{module}.{name}" for module, name in imported_names() if name not in ELSEWHERE and not _is_there(module, name)
    ]


def _is_there(module: str, name: str) -> bool:
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


def pytest_load_initial_conftests() -> None:
    """pytest's hook: stop before anything imports ccproxy, with the whole list."""
    if missing := missing_names():
        raise pytest.UsageError(f"mitmproxy {metadata.version('mitmproxy')} lacks: {', '.join(missing)}")
