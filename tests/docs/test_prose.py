"""The documentation names things that exist: commands, options, settings, variables, make targets, files and pages. Its tables hold facts."""

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
from tests.docs.blocks import ROOT, all_blocks, blocks_of, code_in_prose, pages, without_blocks

CELL_LIMIT = 120
MODELS = {"claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "gpt-6.1-sol"}
"""The models in examples, on all pages."""

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
PROGRAM = typer.main.get_command(build(()))
_USE = re.compile(r"(?:^|[\s(\"])ccproxy((?: +(?!#)[^\s|;&)#>]+)*)", re.MULTILINE)
_MODEL = re.compile(r"\b(?:claude-(?:opus|sonnet|haiku|fable)-\d[\w.-]*|gpt-\d[\w.-]*)\b")
_TROUBLE = "troubleshooting.md"  # test_troubleshooting.py checks its messages


def code_on(page: Path) -> Iterator[str]:
    """All code on a page: its blocks, run or not, and the code in its text."""
    for block in blocks_of(page):
        if block.language == "bash":
            yield re.sub(r"(^|\s)# .*$", "", block.text, flags=re.MULTILINE)
    if page.name != _TROUBLE:
        yield from code_in_prose(page)


def misused(words: list[str]) -> str:
    """Return the name in a command line that does not exist, or an empty string."""
    command: Any = PROGRAM
    for word in (word.rstrip('",') for word in words):
        below = getattr(command, "commands", {})
        if word == "--":
            break
        if word.startswith("-"):
            options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {
                "-h",
                "--help",
            }
            if word.split("=")[0] not in options:
                return f"{command.name} has no {word}"
        elif word in below:
            command = below[word]
        elif below and not word.isupper() and word != "…":
            return f"{command.name} has no command {word}"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: Path) -> None:
    uses = [(use[0], misused(use[1].split())) for text in code_on(page) for use in _USE.finditer(text)]
    assert not [each for each in uses if each[1]]


def test_wrong_commands_are_detected() -> None:
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
            return True  # a value, or a table with keys of the user
    return True


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_variables_exist(page: Path) -> None:
    sections = "|".join(Settings.model_fields)
    dotted, variable = re.compile(rf"({sections})(\.[\w*]+)+"), re.compile(rf"\b((?:{sections})(?:__\w+)+)".upper())
    names = [code.split(".") for code in code_in_prose(page) if dotted.fullmatch(code)]
    names += [name.lower().split("__") for text in code_on(page) for name in variable.findall(text)]
    # names such as `server.py` are files
    assert not [name for name in names if name[-1] not in {"py", "md", "jsonl", "sqlite3"} and not has_setting(name)]


def test_wrong_settings_are_detected() -> None:
    assert has_setting(["server", "port"])
    assert has_setting(["providers", "NAME", "api_key"])
    assert not has_setting(["server", "prot"])
    assert not has_setting(["providers", "codex", "identity"])


def test_make_targets_and_extras_exist() -> None:
    text = "\n".join(text for page in pages() for text in code_on(page))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert len(used) > 4
    assert not used - targets
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


def cells(page: Path) -> Iterator[str]:
    """The cells of all tables on a page."""
    for line in without_blocks(page).splitlines():
        if line.startswith("|"):
            yield from (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))


@pytest.mark.parametrize("page", PAGES)
def test_tables_hold_facts_not_paragraphs(page: Path) -> None:
    assert [cell for cell in cells(page) if len(cell) > CELL_LIMIT] == []


@pytest.mark.parametrize("page", PAGES)
def test_all_pages_use_the_same_models(page: Path) -> None:
    """The reference is generated, so its tables name models for other reasons."""
    if page.parent.name != "reference":
        assert set(_MODEL.findall(page.read_text(encoding="utf-8"))) <= MODELS


def test_there_are_blocks_of_every_kind() -> None:
    assert {block.language for block in all_blocks()} >= {"bash", "python", "toml", "json"}
