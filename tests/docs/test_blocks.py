"""Every code block of the documentation: run with the real ccproxy on this machine, loaded, parsed or, where the page says why, checked."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.checks.clients import codex_configuration
from ccproxy.cli.checks.finding import Severity
from ccproxy.cli.clients import CLIENTS
from ccproxy.cli.running import Address
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.settings import Settings, load
from tests.docs.blocks import ROOT, Block, all_blocks, as_pattern
from tests.docs.place import HAS_CLAUDE, Place, place

pytestmark = pytest.mark.e2e

BLOCKS = all_blocks()
RUN = [block for block in BLOCKS if block.language in {"bash", "python"} and block.script.strip()]


def named(blocks: list[Block]) -> Any:
    return pytest.mark.parametrize("block", blocks, ids=[block.name for block in blocks])


@dataclass
class Runs:
    """Blocks under way."""

    bash: dict[str, Future[str]]
    python: Future[dict[str, tuple[str, str]]]

    def output(self, block: Block) -> str:
        if block.language == "bash":
            return self.bash[block.name].result()
        said, failed = self.python.result()[block.name]
        assert not failed, failed
        return said


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("docs")) as made:
        yield made


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, somewhere: Place) -> Iterator[Runs]:
    """All blocks that are asked for, at once: most of their time they wait."""
    chosen = {
        item.callspec.params["block"].name for item in request.session.items if item.originalname == "test_it_runs"
    }  # type: ignore[attr-defined]
    blocks = [block for block in RUN if block.name in chosen and not needs_claude(block)]
    with ThreadPoolExecutor(4) as pool:
        python = pool.submit(somewhere.run_python, [block for block in blocks if block.language == "python"])
        bash = {block.name: pool.submit(somewhere.run_bash, block) for block in blocks if block.language == "bash"}
        yield Runs(bash, python)


def needs_claude(block: Block) -> bool:
    return not HAS_CLAUDE and (":8000/claude" in block.script or '"claude"' in block.script)


@named(RUN)
def test_it_runs(block: Block, request: pytest.FixtureRequest) -> None:
    if needs_claude(block):
        pytest.skip("the `claude` extra is not installed")
    said = request.getfixturevalue("runs").output(block)
    if block.language == "python":
        assert said.strip(), "it shows nothing"
    if block.shows:
        assert as_pattern(block.shows).search(said), f"{block.name} shows\n{block.shows}\nbut it prints\n{said}"


@named([block for block in BLOCKS if block.language == "toml" and block.kind != "file"])
def test_it_is_a_configuration_that_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "ccproxy.toml"
    file.write_text(block.text, encoding="utf-8")
    load(config=file, environ={}, folder=tmp_path)


@named([block for block in BLOCKS if block.language == "toml" and block.kind == "file"])
def test_it_is_a_codex_configuration_that_the_doctor_likes(block: Block) -> None:
    assert block.why == "~/.codex/config.toml"
    config = tomllib.loads(block.text)
    assert config["model_providers"]["ccproxy"]["supports_websockets"] is False
    found = codex_configuration(config, Address("127.0.0.1", 8000), Router(providers(Settings())))
    assert [each.severity for each in found] == [Severity.OK]


@named([block for block in BLOCKS if block.language == "json"])
def test_it_is_json(block: Block) -> None:
    json.loads(block.text)


@named([block for block in BLOCKS if block.language == "bash"])
def test_it_is_bash(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert not done.stderr


@named(BLOCKS)
def test_it_is_of_a_kind_that_is_looked_at(block: Block) -> None:
    """`text` is the output of the block before it; without a language it is a picture, not code."""
    assert block.language in {"bash", "python", "toml", "json", ""}
    assert block.kind in {"", "not run", "file"}
    if block.kind == "not run":
        assert len(block.why.split()) > 1, "a reason takes some words"
        assert not block.lines or block.script != block.text, "no line begins so"


def test_every_client_has_its_section() -> None:
    text = (ROOT / "docs" / "user-guide" / "clients.md").read_text(encoding="utf-8")
    for client in CLIENTS.values():
        assert f"| {client.title} |" in text
