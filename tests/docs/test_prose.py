"""What the documentation names is there: commands and their options, settings, variables, make's targets, files, and each page's place in the navigation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from ccproxy.cli.app import build
from ccproxy.settings import Settings
from ccproxy.settings.model import CustomProviderSettings, ProvidersSettings
from tests.docs.blocks import ROOT, all_blocks, blocks_of, code_in_prose, pages

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
PROGRAM = typer.main.get_command(build(()))
_USE = re.compile(r"(?:^|[\s(\"])ccproxy((?: +(?!#)[^\s|;&)#>]+)*)", re.MULTILINE)
_TROUBLE = "troubleshooting.md"  # its first column are messages: test_troubleshooting.py


def said(page: Path) -> Iterator[str]:
    """Everything in code: in blocks, run or not, and in prose."""
    for block in blocks_of(page):
        if block.language == "bash":
            yield re.sub(r"(^|\s)# .*$", "", block.text, flags=re.MULTILINE)
    if page.name != _TROUBLE:
        yield from code_in_prose(page)


def misused(words: list[str]) -> str:
    """What is wrong with a command line, as far as names go."""
    command: Any = PROGRAM
    for word in (word.rstrip('",') for word in words):
        below = getattr(command, "commands", {})
        if word == "--":
            break
        if word.startswith("-"):
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}
            if word.split("=")[0] not in known:
                return f"{command.name} has no {word}"
        elif word in below:
            command = below[word]
        elif below and not word.isupper() and word != "…":
            return f"{command.name} has no command {word}"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [(found[0], misused(found[1].split())) for text in said(page) for found in _USE.finditer(text)]
    assert not [each for each in wrong if each[1]]


def test_a_wrong_command_would_be_found() -> None:
    assert misused(["serv"])
    assert misused(["serve", "--prot", "1"])
    assert misused(["config", "sett", "a", "b"])
    assert not misused(["run", "claude", "--via", "mock", "--", "--anything"])


def has_setting(path: list[str]) -> bool:
    table: Any = Settings
    for key in path:
        if key == "*":
            return True
        if table is ProvidersSettings and key not in ProvidersSettings.model_fields:
            table = CustomProviderSettings if key in {"NAME", "name", "zai"} else None
        else:
            table = table.model_fields[key].annotation if key in getattr(table, "model_fields", {}) else None
        if table is None:
            return False
        if not (isinstance(table, type) and issubclass(table, BaseModel)):
            return True  # a value, or a table of the user's own
    return True


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_variables_exist(page: Path) -> None:
    sections = "|".join(Settings.model_fields)
    dotted, variable = re.compile(rf"({sections})(\.[\w*]+)+"), re.compile(rf"\b((?:{sections})(?:__\w+)+)".upper())
    named = [code.split(".") for code in code_in_prose(page) if dotted.fullmatch(code)]
    named += [name.lower().split("__") for text in said(page) for name in variable.findall(text)]
    # `server.py` and `auth.json` are files, `messages.stream` and the like begin with no section
    assert not [name for name in named if name[-1] not in {"py", "md", "jsonl", "sqlite3"} and not has_setting(name)]


def test_a_wrong_setting_would_be_found() -> None:
    assert has_setting(["server", "port"])
    assert has_setting(["providers", "NAME", "api_key"])
    assert not has_setting(["server", "prot"])
    assert not has_setting(["providers", "codex", "identity"])


def test_makes_targets_and_extras_exist() -> None:
    text = "\n".join(text for page in pages() for text in said(page))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert len(named) > 4
    assert not named - targets
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"'\.\[(\w+)\]'", text)) == {"claude"} <= set(extras)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if heading and file.suffix == ".md":
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}, target


def test_every_page_is_in_the_navigation_and_on_the_first_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = str(page.relative_to(ROOT / "docs"))
        assert f"- {name}\n" in nav
        assert name == "index.md" or name.startswith("adr/") or f"({name})" in index, name


def test_there_are_blocks_of_every_kind() -> None:
    assert {block.language for block in all_blocks()} >= {"bash", "python", "toml", "json"}
