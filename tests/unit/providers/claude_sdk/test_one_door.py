from __future__ import annotations

import ast
from pathlib import Path

import ccproxy

PACKAGE = Path(ccproxy.__file__).parent
DOOR = PACKAGE / "providers" / "claude_sdk"
HEAVY = {"claude_agent_sdk", "mcp"}
STRANGERS = {"ccproxy.auth", "ccproxy.ledger", "ccproxy.addons", "ccproxy.server", "ccproxy.settings", "mitmproxy"}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_only_this_package_knows_the_sdk() -> None:
    for file in PACKAGE.rglob("*.py"):
        if not file.is_relative_to(DOOR):
            assert not {name.split(".")[0] for name in imported(file)} & HEAVY, file


def test_this_package_knows_nothing_above_it() -> None:
    for file in DOOR.rglob("*.py"):
        for name in imported(file):
            assert not any(name == other or name.startswith(f"{other}.") for other in STRANGERS), (file, name)
