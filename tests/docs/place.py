"""Where the blocks of the documentation run: a proxy, fakes of the upstreams, stand-ins for the clients, and a home for each block."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ccproxy.cli.clients import CLIENTS
from ccproxy.permissions.broker import PermissionBroker
from tests.conformance import upstreams
from tests.docs.blocks import Block
from tests.docs.forks import PROGRAM
from tests.e2e.clients.conftest import LIMIT, Environment, environment, listens, port_of, program, until
from tests.fakes.permissions_server import PermissionsServer
from tests.fakes.ports import free_port

PORT = "127.0.0.1:8000"
"""Where the pages say that ccproxy is."""
HAS_CLAUDE = find_spec("claude_agent_sdk") is not None
ASKING = {"1309": "git status", "7c2e": "make migrate"}
"""Permission requests that the pages name, and what their tools want to run."""

STAND_IN = "import os, sys; print(sys.argv[1:], [name for name in os.environ if 'BASE' in name or 'CCPROXY' in name or 'OPENCODE' in name])"

# What a terminal of its own does for a program that goes on and on: it is started, waited for, and ended before the next one or at the end.
PRELUDE = """
serving=
ended() { [ -z "$serving" ] || { kill "$serving"; wait "$serving"; serving=; }; }
trap 'kill $serving 2>/dev/null || true' EXIT
started() {
  ended
  command "$@" >>"$HOME/log" 2>&1 & serving=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$SERVER__PORT") 2>/dev/null; do
    kill -0 "$serving" 2>/dev/null || { cat "$HOME/log" >&2; return 1; }
    sleep 0.05
  done
}
ccproxy() { if [ "${1-}" = serve ]; then started ccproxy "$@"; else command ccproxy "$@"; fi; }
mitmdump() { started mitmdump "$@"; }
"""
GOES_ON = ("ccproxy serve", "mitmdump")


class Claude(upstreams.Anthropic):
    """Asks for the weather where a page offers a tool for it."""

    def _blocks(self, body: Any, said: str, marker: str, *, has_result: bool) -> Iterator[Any]:
        offered = {tool.get("name") for tool in body.get("tools") or ()}
        return super()._blocks(body, said, "tool" if "get_weather" in offered else marker, has_result=has_result)


@dataclass(frozen=True, slots=True)
class Place:
    """What all blocks share."""

    folder: Path
    env: Environment
    permissions: PermissionsServer

    def home_of(self, block: Block) -> Environment:
        """A home of its own with what the pages speak of in it, and the running proxy's data unless the block starts one."""
        home = self.folder / block.name.replace("/", "_")
        for name in ("project", ".local/share", "bin"):
            (home / name).mkdir(parents=True)
        if ".ccproxy.toml" in block.script:
            (home / ".ccproxy.toml").write_text("[server]\nmax_body_mb = 32\n")
        (home / "my_script.py").write_text("def request(flow): pass\n")
        agent = home / "my_agent.py"
        agent.write_text(f"#!{sys.executable}\n{STAND_IN}")
        agent.chmod(0o755)
        env = {**self.env, "HOME": str(home), "PWD": str(home)}
        if any(name in block.script for name in GOES_ON):
            env |= {"SERVER__PORT": str(free_port()), "SERVER__WEB_PORT": str(free_port())}
        else:
            (home / ".local/share/ccproxy").symlink_to(Path(self.env["HOME"]) / ".local/share/ccproxy")
        if "ccproxy permissions" in block.script:
            env |= {"SERVER__PORT": self.permissions.url.rpartition(":")[2], "SERVER__AUTH_TOKEN": "the-token"}
        return env

    def run_bash(self, block: Block) -> str:
        """Run it; what it printed. Asserts that every command of it was content."""
        env = self.home_of(block)
        script = block.script.replace(PORT, f"127.0.0.1:{env['SERVER__PORT']}")
        for shown, identifier in self._asking().items():
            script = script.replace(f" {shown} ", f" {identifier} ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{PRELUDE}\n{script}\nended"],
            env=env, cwd=env["HOME"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        assert "ccproxy:" not in done.stderr, done.stderr
        return done.stdout.replace(f"127.0.0.1:{env['SERVER__PORT']}", PORT)

    def run_python(self, blocks: list[Block]) -> dict[str, Any]:
        """Run them all in one process, since importing the SDKs takes longest: what each printed, or its traceback."""
        asked = {block.name: block.script.replace(PORT, f"127.0.0.1:{port_of(self.env)}") for block in blocks}
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("run_python.py"))],
            env=self.env, cwd=self.env["HOME"], input=json.dumps(asked), capture_output=True, text=True, timeout=2 * LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def _asking(self) -> dict[str, str]:
        ids = {asked["input"]["command"]: asked["id"] for asked in self.permissions.broker.listing()["pending"]}
        return {shown: ids[command] for shown, command in ASKING.items() if command in ids}


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Everything started, with the proxy on a free port; it records what it does, for the pages about usage."""
    with contextlib.ExitStack() as stack:
        claude, codex = (stack.enter_context(upstreams.serving(fake)) for fake in (Claude, upstreams.Codex))
        permissions = stack.enter_context(PermissionsServer(PermissionBroker(), "the-token"))
        for command in ASKING.values():
            permissions.ask("Bash", command=command)
        env = environment(folder)
        env["PATH"] += f"{os.pathsep}{Path(sys.executable).parent}"  # mitmdump
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "PROVIDERS__CLAUDE_SDK__ENABLED", "LEDGER__ENABLED"):
            del env[name]
        env |= {
            "PROVIDERS__CLAUDE_API__BASE_URL": claude.url, "PROVIDERS__CLAUDE_API__API_KEY": "dummy",
            "PROVIDERS__CODEX__BASE_URL": f"{codex.url}/backend-api/codex", "PROVIDERS__CODEX__API_KEY": "dummy",
            "PROVIDERS__CLAUDE_SDK__BASE_URL": claude.url, "PROVIDERS__CLAUDE_SDK__API_KEY": "sk-ant-dummy",
            # the price list for Python 3.11 is older than this model
            "PRICING__OVERRIDES": json.dumps({"claude-sonnet-5-5": {"input": 2, "output": 10}}),
        }  # fmt: skip
        stack.enter_context(_ccproxy_on_path(env))
        for name in {client.program for client in CLIENTS.values()} - {"curl"}:
            program(env, name, STAND_IN)
        _a_curl_that_fails_on_errors(env)
        _a_sqlite3(env)
        stack.enter_context(_running(env))
        yield Place(folder, env, permissions)


@contextlib.contextmanager
def _ccproxy_on_path(env: Environment) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="ccproxy-") as folder:  # a socket's path must be short
        address = str(Path(folder) / "door")
        forks = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("forks.py")), address],
            env=env,
            stdin=subprocess.DEVNULL,
        )
        on_path = Path(env["HOME"]).parent / "bin" / "ccproxy"
        on_path.write_text(PROGRAM.format(python=sys.executable, address=address))
        on_path.chmod(0o755)
        try:
            until(Path(address).exists, "what forks")
            yield
        finally:
            forks.terminate()
            forks.wait(LIMIT)


@contextlib.contextmanager
def _running(env: Environment) -> Iterator[None]:
    process = subprocess.Popen(
        ["ccproxy", "serve"], env=env, cwd=env["HOME"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(port_of(env)), "the proxy")
        body = json.dumps(
            {"model": "mock-claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        ).encode()
        url = f"http://127.0.0.1:{port_of(env)}/mock/v1/messages"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, body, LIMIT):
            pass
        until((Path(env["HOME"]) / ".local/share/ccproxy/ledger.sqlite3").exists, "the ledger")
        yield
    finally:
        process.terminate()
        process.wait(LIMIT)


def _a_curl_that_fails_on_errors(env: Environment) -> None:
    real = shutil.which("curl")
    assert real, "the blocks of the documentation need curl"
    program(env, "curl", f"import os, sys\nos.execv({real!r}, ['curl', '--fail-with-body', *sys.argv[1:]])")


def _a_sqlite3(env: Environment) -> None:
    code = "import sqlite3, sys\nfor row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]): print(*row, sep='|')"
    program(env, "sqlite3", code)
