"""`ccproxy auth …` as a person runs it: a process, a terminal, a browser, and a vendor on loopback."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.oauth import FakeOAuth, Reply
from tests.fakes.ports import free_port

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CCPROXY = [sys.executable, "-c", "from ccproxy.cli import main; main()"]
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --no-proxy-server"
)


class Machine:
    """A home of its own, and everything that was printed there."""

    def __init__(self, folder: Path, server: FakeOAuth) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.server = server
        self.auth_dir = self.home / "logins"
        self.printed = ""
        self.environment = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AUTH__DIR": str(self.auth_dir),
            "BROWSER": self.script("browser", f'{sys.executable} -c {shlex.quote(_BROWSE)} "$1" 2>/dev/null; exit 0'),
            **server.environment(),
        }

    def script(self, name: str, line: str) -> str:
        path = self.home.parent / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return str(path)

    @contextmanager
    def start(self, *args: str, stdin: int = subprocess.PIPE, **environment: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [*CCPROXY, "auth", *args],
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *args: str, code: int = 0, stdin: str = "", **environment: str) -> str:
        with self.start(*args, **environment) as process:
            out, _ = process.communicate(stdin, timeout=60)
        self.printed += out
        assert process.returncode == code, out
        assert "Traceback" not in out
        return out

    def login(self, name: str = "claude_api") -> dict[str, object]:
        document: dict[str, object] = json.loads((self.auth_dir / f"{name}.json").read_text("utf-8"))
        return document

    def leaks(self) -> list[str]:
        """Where a secret is that should be nowhere: in print, or in a file that is no login."""
        found = [secret for secret in self.server.secrets if secret in self.printed]
        for path in self.home.rglob("*"):
            if path.is_file() and path.parent != self.auth_dir:
                content = path.read_bytes()
                found += [str(path) for secret in self.server.secrets if secret.encode() in content]
        return found


_BROWSE = "import sys, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=20).read()"


@pytest.fixture
def server() -> Iterator[FakeOAuth]:
    with FakeOAuth() as fake:
        yield fake


@pytest.fixture
def machine(tmp_path: Path, server: FakeOAuth) -> Iterator[Machine]:
    made = Machine(tmp_path, server)
    yield made
    assert not made.leaks()


def test_a_whole_life(machine: Machine, server: FakeOAuth) -> None:
    out = machine.run("login", "--identity")
    assert "Anthropic's published terms" in out
    assert "docs/explanation/terms.md" in out
    assert "Signed in to Claude as someone@example.invalid (max)." in out
    config = machine.home / ".config" / "ccproxy" / "config.toml"
    assert config.read_text() == "[providers.claude_api]\nidentity = true\n"

    out = machine.run("login-openai")
    assert "OpenAI" in out
    assert "Signed in to ChatGPT as someone@example.invalid (plus)." in out

    out = machine.run("status", "--limits")
    assert "stored login: no API key is set, and there is a login" in out
    assert "in 7 hours 59 minutes" in out
    assert "5 hours: 12.5 % used" in out
    assert "7 days: 61 % used" in out

    claude, codex = json.loads(machine.run("status", "--json", "--limits"))
    assert {name: claude[name] for name in ("provider", "source", "account", "plan", "refresh", "problem")} == {
        "provider": "claude_api", "source": "login", "account": "someone@example.invalid", "plan": "max",
        "refresh": "possible", "problem": None,
    }  # fmt: skip
    assert 28_000 < claude["expires_in"] <= 28_800
    assert "user:profile" in claude["scopes"]
    assert codex["limits"][1] == {"name": "7 days", "used_percent": 61.0, "resets_at": "2026-11-19T14:53:20+00:00"}

    before = machine.login()
    assert "Already signed in to Claude as someone@example.invalid (max)." in machine.run("login")
    assert machine.login() == before
    machine.run("login", "--force", "--no-identity")
    assert machine.login()["access_token"] != before["access_token"]
    assert server.refresh_tokens[str(before["refresh_token"])] == "revoked"
    assert "identity = false" in config.read_text()

    assert machine.run("logout", "claude") == "Claude: signed out\n"
    assert machine.run("logout") == "Claude: there was no login\nChatGPT: signed out\n"
    assert "live" not in server.refresh_tokens.values()
    assert sorted(path.name for path in machine.auth_dir.iterdir()) == ["claude_api.lock", "codex.lock"]
    claude, codex = json.loads(machine.run("status", "--json"))
    assert (claude["source"], claude["command"]) == ("client", "ccproxy auth login")
    assert (codex["source"], codex["command"]) == ("client", "ccproxy auth login-openai")


def test_status_renews_before_it_asks_for_limits(machine: Machine, server: FakeOAuth) -> None:
    server.expires_in = 0
    machine.run("login-openai")
    server.expires_in = 3600
    out = machine.run("status", "--limits")
    assert "61 % used" in out
    assert server.count("/oauth/token", grant_type="refresh_token") == 1
    server.answers["/backend-api/wham/usage"] = [Reply(500)]
    assert "no capacity now" in machine.run("status", "--limits")


@pytest.mark.parametrize("flag", ["--manual", "--no-browser"])
def test_a_pasted_code(machine: Machine, flag: str) -> None:
    with machine.start("login", flag) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line for line in lines if line.startswith("http")).strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url) as page:
            code = page.read().decode().removeprefix("Paste: ")
        out, _ = process.communicate(code + "\n", timeout=60)
    assert process.returncode == 0, out
    assert "Signed in to Claude" in out
    machine.printed += out


def test_nothing_pasted(machine: Machine) -> None:
    assert "No code was pasted. Nothing was stored." in machine.run("login", "--manual", code=1)


def test_the_end_address_pasted(machine: Machine) -> None:
    with machine.start("login-openai", "--no-browser") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line for line in lines if line.startswith("http")).strip()

        class Stop(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args: object) -> None:  # type: ignore[override]
                return None

        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stop)
        with pytest.raises(urllib.request.HTTPError) as caught:  # type: ignore[attr-defined]
            opener.open(url)
        with caught.value as redirect:
            end = redirect.headers["Location"]
        out, _ = process.communicate(end + "\n", timeout=60)
    assert process.returncode == 0, out
    assert machine.login("codex")["account_id"] == "acct-1"


def test_a_device_code(machine: Machine, server: FakeOAuth) -> None:
    server.pending_polls = 0
    server.answers["/api/accounts/deviceauth/usercode"] = [
        Reply(200, {"device_auth_id": "d", "user_code": "WXYZ-1", "interval": "1"})
    ]
    out = machine.run("login-openai", "--device")
    assert "WXYZ-1" in out
    assert f"{server.url}/codex/device" in out
    assert "Signed in to ChatGPT" in out


def test_the_identity_question(machine: Machine) -> None:
    for answer, expected in ((b"y\n", "identity = true"), (b"\n", "identity = true"), (b"n\n", "identity = false")):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        identity = "true" if "true" in expected and answer == b"\n" else "false" if answer == b"y\n" else "true"
        with machine.start("login", stdin=theirs, PROVIDERS__CLAUDE_API__IDENTITY=identity) as process:
            out, _ = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == 0, out
        assert "Add that line?" in out
        assert expected in (machine.home / ".config" / "ccproxy" / "config.toml").read_text()


def refused(server: FakeOAuth, machine: Machine) -> None:
    server.consent = "access_denied"


def expired(server: FakeOAuth, machine: Machine) -> None:
    server.answers["/oauth/token"] = [Reply(400, {"error": "invalid_grant"})]


def no_browser(server: FakeOAuth, machine: Machine) -> None:
    machine.environment["BROWSER"] = machine.script("no-browser", "exit 1")


def no_network(server: FakeOAuth, machine: Machine) -> None:
    machine.environment["PROVIDERS__CODEX__OAUTH__TOKEN_URL"] = f"http://127.0.0.1:{free_port()}/oauth/token"


def an_open_folder(server: FakeOAuth, machine: Machine) -> None:
    machine.auth_dir.mkdir(mode=0o755)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (refused, "You refused the access. Nothing was stored."),
        (expired, "A code works once and for a few minutes only: run `ccproxy auth login-openai` again."),
        (no_browser, "No browser could be opened here. Without one: `ccproxy auth login-openai --no-browser`."),
        (no_network, "could not be reached: check the network"),
        (an_open_folder, "run `chmod 700 "),
    ],
)
def test_what_goes_wrong(machine: Machine, server: FakeOAuth, trouble: object, words: str) -> None:
    trouble(server, machine)  # type: ignore[operator]
    assert words in machine.run("login-openai", code=1)
    assert not list(machine.auth_dir.glob("*.json"))


def test_a_web_page_cannot_end_a_sign_in(machine: Machine, server: FakeOAuth) -> None:
    with machine.start("login-openai", "--no-browser") as process:
        assert process.stdout is not None
        url = next(line for line in iter(process.stdout.readline, "") if line.startswith("http")).strip()
        redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for query in ("state=guess&code=c", "error=access_denied&state=guess"):
            with pytest.raises(urllib.error.HTTPError, match="400") as caught:
                opener.open(f"{redirect}?{query}", timeout=20)
            caught.value.close()
        opener.open(url, timeout=20).close()
        out, _ = process.communicate("", timeout=60)
    machine.printed += out
    assert process.returncode == 0, out
    assert "Signed in to ChatGPT" in out


def test_a_busy_port(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        redirect = f"http://127.0.0.1:{port}/auth/callback"
        out = machine.run("login-openai", code=1, PROVIDERS__CODEX__OAUTH__REDIRECT_URI=redirect)
    assert f"Another program listens on port {port}" in out


def test_a_wrong_setting(machine: Machine) -> None:
    out = machine.run("login", code=2, PROVIDERS__CLAUDE_API__OAUTH__TOKEN_URL="http://login.example/token")
    assert "providers.claude_api.oauth.token_url" in out
    assert "claude_api or codex" in machine.run("logout", "mine", code=2)


def test_ctrl_c_leaves_nothing_behind(machine: Machine) -> None:
    with machine.start("login-openai", "--no-browser") as process:
        assert process.stdout is not None
        url = next(line for line in iter(process.stdout.readline, "") if line.startswith("http")).strip()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Stopped. Nothing was stored" in out
    assert "Traceback" not in out
    assert not machine.auth_dir.exists()
    port = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0]).port
    with socket.create_server(("127.0.0.1", port or 0)):
        pass


def test_a_login_that_others_can_read(machine: Machine) -> None:
    machine.run("login")
    path = machine.auth_dir / "claude_api.json"
    path.chmod(0o644)
    assert f"chmod 600 {path}" in machine.run("login", code=1)
    claude = json.loads(machine.run("status", "--json"))[0]
    assert f"chmod 600 {path}" in claude["problem"]


def test_help_has_examples_and_no_secret(machine: Machine) -> None:
    key = {"PROVIDERS__CLAUDE_API__API_KEY": "sk-ant-" + "dummy"}
    for command in ((), ("login",), ("login-openai",), ("status",), ("logout",)):
        out = machine.run(*command, "--help", **key)
        assert not command or "Example: ccproxy auth" in out
        assert "sk-ant" not in out
    out = machine.run("status", **key)
    assert "API key: providers.claude_api.api_key is set" in out
    assert "sk-ant" not in out


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs a chromium")
@pytest.mark.parametrize("command", ["login", "login-openai"])
def test_a_real_browser(machine: Machine, command: str) -> None:
    page, profile = machine.home.parent / "page", machine.home.parent / "profile"
    os.mkfifo(page)  # read to its end, it also tells that the browser has gone
    browser = machine.script(
        "chromium",
        f'exec >/dev/null 2>&1\n{CHROMIUM} {CHROMIUM_FLAGS} --user-data-dir={profile} --dump-dom "$1" | cat > {page}',
    )
    with machine.start(command, BROWSER=browser) as process:
        out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, out
    assert "Signed in to" in out
    assert "You can close this page" in page.read_text()
