"""The real programs: where they are, how they are installed, and how one is run without anything of the caller's around it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from tests.conformance.upstreams import ACCOUNT, jwt

ROOT = Path(__file__).parents[2]
VERSIONS = {"@openai/codex": "0.169.0", "@anthropic-ai/claude-code": "2.1.330"}
CACHE = Path(os.environ.get("CCPROXY_CONFORMANCE_CACHE") or user_cache_path("ccproxy") / "conformance")
"""Where the programs are kept between runs; CCPROXY_CONFORMANCE_CACHE names another folder."""
LIMIT = 60
CLIENT_KEYS = ("sk-ant-client-dummy", "sk-ant-oat01-client-dummy", "client-codex-dummy")
"""What clients send as their own: never to be seen by an upstream, unless it is passed through."""


@dataclass
class Program:
    """A program that was found, and the version that it tells."""

    path: str
    version: str


def is_alone() -> bool:
    """Whether this process has a network of nothing but loopback."""
    return bool(os.environ.get("CCPROXY_CONFORMANCE_ALONE"))


def find(name: str) -> Program | None:
    """`codex` or `claude` from the cache folder."""
    machine = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "")
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}.get(platform.system(), "")
    modules = CACHE / "npm" / "node_modules"
    patterns = {
        "codex": (
            f"@openai/codex-{system}-{machine}/vendor/*/bin/codex*",
            f"@openai/codex-{system}-{machine}/vendor/*/codex/codex*",
        ),
        "claude": (f"@anthropic-ai/claude-code-{system}-{machine}*/claude*",),
    }
    for pattern in patterns[name]:
        for path in sorted(modules.glob(pattern)):
            if path.is_file() and os.access(path, os.X_OK) and (version := _version(path)):
                return Program(str(path), version)
    return None


def install() -> None:
    """Both programs from npm, at the versions that this suite was written for. Nothing happens where they are there already."""
    missing = [f"{package}@{version}" for package, version in VERSIONS.items() if _installed(package) != version]
    if not missing:
        return
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed: rows that need the Codex CLI or Claude Code are skipped", file=sys.stderr)
        return
    print(f"installing {', '.join(missing)} into {CACHE}", file=sys.stderr)
    CACHE.mkdir(parents=True, exist_ok=True)
    # Claude Code's package asks for a newer Node than many have; its program needs none
    command = [
        npm,
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--engine-strict=false",
        "--prefix",
        str(CACHE / "npm"),
        *missing,
    ]
    subprocess.run(command, check=False)


def _installed(package: str) -> str:
    try:
        manifest = json.loads((CACHE / "npm" / "node_modules" / package / "package.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(manifest.get("version", ""))


def _version(path: Path) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"HOME": "/nonexistent", "PATH": ""},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return found[0] if found else ""


@dataclass
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str
    said: str = ""
    """The model's last words, as the program tells them."""
    result: dict[str, Any] = field(default_factory=dict)
    """Claude Code's `result` object."""
    tools: list[str] = field(default_factory=list)
    """What the tools that Codex ran put out."""
    errors: list[str] = field(default_factory=list)
    """Codex's error events."""

    def __str__(self) -> str:
        tail = " ".join((self.said or " ".join(self.errors) or self.err or self.out).split())
        return f"exit code {self.code}: {tail[-300:]}"


def environment(home: Path, **more: str) -> dict[str, str]:
    """A clean environment with a home of its own; an empty value takes a variable out."""
    for name in ("work", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    # in a network of loopback alone nothing else can be reached; elsewhere a proxy address without a listener prevents it
    dead = "" if is_alone() else "http://127.0.0.1:9"
    found = {
        "PATH": f"{home / 'bin'}{os.pathsep}/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home / "tmp"), "TERM": "dumb",
        "LANG": "C.UTF-8", "CODEX_HOME": str(home / ".codex"), "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "HTTPS_PROXY": dead, "HTTP_PROXY": dead, "NO_PROXY": "127.0.0.1,localhost",
        "IS_SANDBOX": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1", "DISABLE_AUTOUPDATER": "1",
        "DO_NOT_TRACK": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "CLAUDE_CODE_MAX_RETRIES": "1", "RUST_LOG": "error", **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def run(command: list[str], env: dict[str, str]) -> Ran:
    """Run a program to its end, in the folder `work` of its home."""
    done = subprocess.run(
        command, env=env, cwd=Path(env["HOME"]) / "work", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=LIMIT, check=False,
    )  # fmt: skip
    ran = Ran(done.returncode, done.stdout, done.stderr)
    for line in done.stdout.splitlines():
        _read_event(ran, line)
    return ran


def _read_event(ran: Ran, line: str) -> None:
    """Both programs print JSON objects, one a line."""
    if not line.startswith("{"):
        return
    event = json.loads(line)
    item = event.get("item") or {}
    if event.get("type") == "result":
        ran.result, ran.said = event, str(event.get("result", ""))
    elif event.get("type") == "item.completed" and item.get("type") == "agent_message":
        ran.said = item.get("text", "")
    elif event.get("type") == "item.completed" and item.get("type") == "command_execution":
        ran.tools.append(item.get("aggregated_output", ""))
    elif event.get("type") in {"error", "turn.failed"} or item.get("type") == "error":
        ran.errors.append(json.dumps(event))


def chatgpt_login(home: Path, *, base_url: str, chatgpt_url: str) -> None:
    """The Codex CLI of a user who is signed in with ChatGPT and set only the base URL."""
    folder = home / ".codex"
    folder.mkdir(parents=True, exist_ok=True)
    tokens = {"id_token": jwt("id"), "access_token": jwt("access"), "refresh_token": "rt-dummy", "account_id": ACCOUNT}
    login = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2099-01-01T00:00:00Z"}
    (folder / "auth.json").write_text(json.dumps(login), encoding="utf-8")
    (folder / "auth.json").chmod(0o600)
    quiet = 'check_for_update_on_startup = false\n[analytics]\nenabled = false\n[otel]\nmetrics_exporter = "none"\n'
    # two spellings of loopback: the CLI wants https for a provider on the origin of chatgpt_base_url
    urls = f'chatgpt_base_url = "{chatgpt_url.replace("127.0.0.1", "localhost")}/backend-api/"\nopenai_base_url = "{base_url}"\n'
    (folder / "config.toml").write_text(urls + quiet, encoding="utf-8")
