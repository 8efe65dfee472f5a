"""No setting and no client's variable of the machine's own."""

from __future__ import annotations

import os

import pytest

from ccproxy.settings.sources import SECTIONS


@pytest.fixture(autouse=True)
def nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in list(os.environ):
        ours = "__" in name and name.lower().split("__")[0] in SECTIONS
        if ours or name.startswith(("ANTHROPIC_", "OPENAI_", "CLAUDE_", "CODEX_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(home)
