"""The pages about clients: every block of shell and Python is run, with the real ccproxy and stand-ins for the clients."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ccproxy.cli.checks.clients import codex_configuration
from ccproxy.cli.checks.finding import Severity
from ccproxy.cli.clients import CLIENTS
from ccproxy.cli.running import Address
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.settings import Settings
from tests.e2e.clients.conftest import LIMIT, Environment, environment, listens, port_of, program, until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "user-guide" / name for name in ("clients.md", "troubleshooting.md")]
STAND_IN = "import os, sys; print(sys.argv[1:], [name for name in os.environ if 'BASE' in name or 'CCPROXY' in name or 'OPENCODE' in name])"


def blocks(language: str) -> list[str]:
    found = re.findall(
        rf"^```{language}\n(.*?)^```$",
        "\n".join(page.read_text(encoding="utf-8") for page in PAGES),
        re.MULTILINE | re.DOTALL,
    )
    assert found
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`ccproxy` and the clients on PATH, dummy keys, and a proxy that runs on the port that the pages name."""
    env = environment(tmp_path_factory.mktemp("docs"))
    here = f"import sys\nsys.path = [{str(ROOT)!r}, *sys.path[1:]]\nfrom ccproxy.cli import main\nmain()"
    program(env, "ccproxy", here)
    for name in {client.program for client in CLIENTS.values()} - {"curl"}:
        program(env, name, STAND_IN)
    agent = Path(env["HOME"]) / "my_agent.py"
    agent.write_text(f"#!{sys.executable}\n{STAND_IN}")
    agent.chmod(0o755)
    return {**env, "PROVIDERS__CLAUDE_API__API_KEY": "dummy", "PROVIDERS__CODEX__API_KEY": "dummy"}


def run_block(block: str, env: Environment) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert "ccproxy:" not in done.stderr, done.stderr


def test_every_shell_block_runs(place: Environment) -> None:
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "ccproxy", "serve"],
        env=place,
        cwd=place["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(port_of(place)), "the proxy")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda block: run_block(block, place), blocks("bash")))
        for block in blocks("python"):
            code = block.replace("127.0.0.1:8000", f"127.0.0.1:{port_of(place)}")
            done = subprocess.run(
                [sys.executable, "-c", code], env=place, capture_output=True, text=True, timeout=LIMIT, check=False
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines() == ["You said: hi"] * 3
    finally:
        server.terminate()
        server.wait(LIMIT)


def test_the_codex_block_is_one_that_the_doctor_likes() -> None:
    (block,) = blocks("toml")
    config = tomllib.loads(block)
    assert config["model_providers"]["ccproxy"]["supports_websockets"] is False
    found = codex_configuration(config, Address("127.0.0.1", 8000), Router(providers(Settings())))
    assert [each.severity for each in found] == [Severity.OK]


def test_every_client_has_its_section() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    for client in CLIENTS.values():
        assert f"| {client.title} |" in text
