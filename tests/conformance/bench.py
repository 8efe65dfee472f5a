"""What every row works with: fakes of both upstreams, a real `ccproxy serve` in front of them, a tap in front of that, the real programs."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance import programs
from tests.conformance.programs import ROOT, Program, Ran
from tests.conformance.upstreams import Anthropic, Codex, Upstream, serving
from tests.conformance.wire import Exchange, Tap, answer_differences, differences


class Failed(AssertionError):
    """A row's expectation was not met; the message says what was seen instead."""


class Skipped(Exception):
    """The row cannot be tried here."""


def check(condition: object, message: object) -> None:
    if not condition:
        raise Failed(str(message))


@dataclass
class Proxy:
    """A running ccproxy behind a tap."""

    tap: Tap
    environ: dict[str, str]
    """Its configuration, as variables."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.tap.port}"


@dataclass
class Bench:
    """See the module. `keyed` has API keys of its own, `passing` passes the clients' own logins through."""

    folder: Path
    anthropic: Upstream
    codex: Upstream
    keyed: Proxy
    passing: Proxy
    claude_program: Program | None
    codex_program: Program | None
    homes: int = 0
    notes: list[str] = field(default_factory=list)

    def clear(self) -> None:
        for each in (self.anthropic, self.codex):
            each.clear()
        for proxy in (self.keyed, self.passing):
            proxy.tap.clear()
        self.notes.clear()

    def home(self) -> Path:
        """A new home with the programs on its PATH."""
        self.homes += 1
        home = self.folder / f"home-{self.homes}"
        (home / "bin").mkdir(parents=True)
        for name, program in (("claude", self.claude_program), ("codex", self.codex_program)):
            if program:
                (home / "bin" / name).symlink_to(program.path)
        (home / ".codex").mkdir()
        return home

    def claude(
        self, prompt: str, *arguments: str, via: str = "claude_api", home: Path | None = None, **more: str
    ) -> Ran:
        """Claude Code, started as a user starts it: by `ccproxy run`."""
        given = ["-p", prompt, "--output-format", "json", *arguments]
        return self.run("claude", given, ["--via", via], home, self.keyed, **more)

    def codex_cli(
        self, prompt: str, *arguments: str, via: str = "codex", model: str | None = "gpt-5.5", home: Path | None = None
    ) -> Ran:
        """The Codex CLI, started by `ccproxy run`."""
        retries = [
            "-c",
            "model_providers.ccproxy.request_max_retries=0",
            "-c",
            "model_providers.ccproxy.stream_max_retries=0",
        ]
        given = [*retries, *CODEX_QUIET, *arguments, *CODEX_EXEC, prompt]
        return self.run("codex", given, ["--via", via, *(["--model", model] if model else [])], home, self.keyed)

    def run(
        self, client: str, given: list[str], options: list[str], home: Path | None, proxy: Proxy, **more: str
    ) -> Ran:
        command = [
            sys.executable,
            "-P",
            "-m",
            "ccproxy",
            "run",
            client,
            *options,
            "--port",
            str(proxy.tap.port),
            "--",
            *given,
        ]
        env = programs.environment(home or self.home(), **proxy.environ, **more)
        return programs.run(command, env)

    def codex_with_chatgpt(self, prompt: str, *arguments: str, model: str | None = None) -> Ran:
        """The Codex CLI with a ChatGPT login and a base URL, nothing else."""
        home = self.home()
        programs.chatgpt_login(home, base_url=f"{self.passing.url}/api/codex", chatgpt_url=self.codex.url)
        named = ["-c", f'model="{model}"'] if model else []
        assert self.codex_program
        command = [self.codex_program.path, *named, *arguments, *CODEX_EXEC, prompt]
        return programs.run(command, programs.environment(home))

    # ---- what was seen on both sides

    def through(self, proxy: Proxy, method: str, ending: str) -> list[Exchange]:
        """The exchanges between client and ccproxy with such a path."""
        found = proxy.tap.exchanges()
        return [each for each in found if each.request.method == method and each.request.path.endswith(ending)]

    def unchanged(
        self, proxy: Proxy, upstream: Upstream, method: str, ending: str, *, at_least: int = 1
    ) -> list[tuple[Exchange, Any]]:
        """See that requests and answers of this kind passed byte for byte; returns what the upstream saw."""
        outside = self.through(proxy, method, ending)
        inside = upstream.requests(method, ending)
        check(
            len(inside) >= at_least,
            f"{len(inside)} requests {method} …{ending} reached the upstream, {at_least} expected",
        )
        check(
            len(outside) == len(inside),
            f"{len(outside)} requests came from the client, {len(inside)} reached the upstream",
        )
        outside.sort(key=lambda each: each.request.body)
        for before, (after, _) in zip(outside, sorted(inside, key=lambda each: each[0].request.body), strict=True):
            found = differences(before.request, after.request)
            check(not found, f"request: {'; '.join(found)}")
        answers = sorted(each.response.body for each in outside if each.response)
        kept = sorted(each.response.body for each, _ in inside if each.response)
        check(answers == kept, "answers are not byte for byte those of the upstream")
        for before, after in _same_answers(outside, inside):
            found = answer_differences(before, after)
            check(not found, f"answer: {'; '.join(found)}")
        return inside

    def no_client_key_at(self, *upstreams: Upstream) -> None:
        """No upstream ever sees what the client sent as its key."""
        for upstream in upstreams:
            for exchange in upstream.seen:
                values = " ".join(value for _, value in exchange.request.fields) + exchange.request.target
                for key in programs.CLIENT_KEYS:
                    check(
                        key not in values and key.encode() not in exchange.request.body,
                        f"the client's key {key} reached the upstream",
                    )


def _same_answers(outside: list[Exchange], inside: list[tuple[Exchange, Any]]) -> Iterator[tuple[Any, Any]]:
    """Pairs of answers with the same request."""
    for before in outside:
        for after, _ in inside:
            if after.request.body == before.request.body and after.response and before.response:
                yield after.response, before.response
                break


CODEX_QUIET = [
    "-c",
    "check_for_update_on_startup=false",
    "-c",
    "analytics.enabled=false",
    "-c",
    'otel.metrics_exporter="none"',
]
CODEX_EXEC = ["exec", "--json", "--skip-git-repo-check", "-s", "danger-full-access"]


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Everything, for as long as the block runs."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ccproxy-conformance-", ignore_cleanup_errors=True))
        )
        anthropic, codex = stack.enter_context(serving(Anthropic)), stack.enter_context(serving(Codex))
        common = {
            "PROVIDERS__CLAUDE_API__BASE_URL": anthropic.url, "PROVIDERS__CODEX__BASE_URL": f"{codex.url}/backend-api/codex",
            "PROVIDERS__CLAUDE_SDK__ENABLED": "false", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        keys = {
            "PROVIDERS__CLAUDE_API__API_KEY": "sk-ant-upstream-dummy",
            "PROVIDERS__CODEX__API_KEY": "upstream-codex-dummy",
        }
        proxies = [
            stack.enter_context(_proxy(folder / f"proxy-{number}", {**common, **more}))
            for number, more in enumerate((keys, {}))
        ]
        yield Bench(folder, anthropic, codex, *proxies, programs.find("claude"), programs.find("codex"))


@contextlib.contextmanager
def _proxy(home: Path, environ: dict[str, str]) -> Iterator[Proxy]:
    port = _free_port()
    env = {**programs.environment(home), **environ}
    log = (home / "serve.log").open("wb")
    command = [sys.executable, "-P", "-m", "ccproxy", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, env=env, cwd=home / "work", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        _wait(port, process, home / "serve.log")
        tap = Tap(port)
        yield Proxy(tap, environ)
        tap.close()
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise SystemExit(f"ccproxy does not start:\n{log.read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alone_with_loopback() -> None:
    """Start over in a network of nothing but loopback, where the system allows that (Linux); elsewhere a closed proxy has to do."""
    if programs.is_alone() or not sys.platform.startswith("linux"):
        return
    import shutil

    unshare = shutil.which("unshare")
    options = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    if unshare is None or subprocess.run([unshare, *options, "true"], capture_output=True, check=False).returncode:
        return
    os.environ["CCPROXY_CONFORMANCE_ALONE"] = "1"
    os.execv(unshare, [unshare, *options, sys.executable, "-m", "tests.conformance", *sys.argv[1:]])


def raise_loopback() -> None:
    """In a new network loopback is down: `ip link set lo up`, without needing `ip`."""
    if not programs.is_alone():
        return
    import fcntl
    import struct

    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0)
        _, flags = struct.unpack("16sh", fcntl.ioctl(control, siocgifflags, request)[:18])
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh", b"lo", flags | iff_up))
