"""mitmproxy's private names: one module imports them, and what a release removes is named."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ccproxy.addons.transport import mitmproxy_internals
from tests import mitmproxy_names

PACKAGE = Path(mitmproxy_internals.__file__).parents[2]
ALLOWED = {"addons/transport/mitmproxy_internals.py", "mitmproxy_patches.py"}
PUBLIC = {
    "mitmproxy",
    "mitmproxy.connection",
    "mitmproxy.contentviews",
    "mitmproxy.flow",
    "mitmproxy.http",
    "mitmproxy.addons",  # `default_addons`
    "mitmproxy.proxy.context",
    "mitmproxy.proxy.mode_specs",
    "mitmproxy.proxy.server_hooks",
}
"""Documented at https://docs.mitmproxy.org/stable/api/."""


def test_nothing_is_missing_from_the_installed_release() -> None:
    assert mitmproxy_names.missing_names() == []
    assert len(list(mitmproxy_names.imported_names())) > 50
    for name in mitmproxy_internals.__all__:
        assert getattr(mitmproxy_internals, name) is not None


def test_all_that_a_release_removes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*mitmproxy_names.imported_names(), ("mitmproxy.http", "Gone"), ("mitmproxy.gone", "Thing")]
    monkeypatch.setattr(mitmproxy_names, "imported_names", lambda: names)
    assert mitmproxy_names.missing_names() == ["mitmproxy.http.Gone", "mitmproxy.gone.Thing"]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_other_module_imports_private_names(file: Path) -> None:
    if file.relative_to(PACKAGE).as_posix() in ALLOWED:
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        private = [name for name in modules if name.split(".")[0] == "mitmproxy" and name not in PUBLIC]
        assert private == [], f"{file.name}:{getattr(node, 'lineno', 0)}: import {private} from mitmproxy_internals"
