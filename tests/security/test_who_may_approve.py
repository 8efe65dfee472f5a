"""Neither a web page nor a tool that runs under Claude Code may approve a tool: the real Claude Code waits for a person, and others try."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import ConfigError
from ccproxy.server.proxy_server import Extras, ProxyServer
from ccproxy.settings import Settings
from ccproxy.settings.folders import config_dir, data_dir
from ccproxy.settings.runtime import cli_token, token_file
from tests.fakes.client import message, request
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text, tool_use
from tests.fakes.proxy import Proxy, running
from tests.fakes.upstream import PATIENCE

pytest.importorskip("claude_agent_sdk")

ALLOW = b'{"decision":"allow"}'


@dataclass
class Agent:
    """A proxy in agent mode whose Claude Code wants to run `touch victim` and waits for approval."""

    proxy: Proxy
    upstream: MessagesUpstream
    work: Path
    asking: asyncio.Task[tuple[int, bytes]]
    pending: str = ""

    @property
    def token(self) -> tuple[str, str]:
        """What `ccproxy permissions` sends: the token that it finds in its file."""
        return "x-ccproxy-token", cli_token("127.0.0.1", self.proxy.port)

    async def waits(self) -> list[str]:
        """The requests that wait."""
        answer = await self.proxy.get("/permissions", self.token)
        assert answer.status == 200, answer.body
        return [asked["id"] for asked in answer.json["pending"]]

    async def still_waits(self) -> None:
        assert await self.waits() == [self.pending]
        assert not (self.work / "victim").exists()
        assert not self.asking.done()

    async def run(self, *calls: dict[str, Any]) -> dict[str, str]:
        """Let Claude Code make these calls in another request; what each gave, by its id."""
        self.upstream.answers += [Answer(list(calls)), Answer([text("done")])]
        status, body = await asked(self.proxy)
        assert status == 200, body
        last = self.upstream.calls[-1].body["messages"][-1]["content"]
        found = {block["tool_use_id"]: json.dumps(block["content"]) for block in last if block["type"] == "tool_result"}
        assert found.keys() == {call["id"] for call in calls}
        return found

    async def approve(self) -> None:
        """A person does; then everything is as it should be."""
        self.upstream.answers.append(Answer([text("made")]))
        answer = await self.proxy.post(f"/permissions/{self.pending}", ALLOW, self.token)
        assert (answer.status, answer.json["decision"]) == (200, "allow")
        assert (await self.asking)[0] == 200
        assert (self.work / "victim").exists()
        assert await self.waits() == []


async def asked(proxy: Proxy) -> tuple[int, bytes]:
    """An answer of Claude Code's, which may take as long as its tools do."""
    async with proxy.http() as client:
        answer = await client.post("/claude/v1/messages", content=message("claude-sonnet-4-6"), timeout=60)
        return answer.status_code, answer.content


def bash(command: str) -> dict[str, Any]:
    return tool_use("shell", "Bash", command=command, description="x")


@asynccontextmanager
async def agent(folder: Path, *rules: dict[str, str], **sections: Any) -> AsyncIterator[Agent]:
    work = folder / "work"
    work.mkdir()
    async with MessagesUpstream() as upstream:
        provider = {"mode": "agent", "api_key": "sk-ant-dummy", "base_url": upstream.url, "cwd": str(work)}
        upstream.answers.append(Answer([bash("touch victim")]))
        sections = {"providers": {"claude_sdk": provider}, "permissions": {"rules": list(rules)}, **sections}
        async with running(folder, **sections) as proxy:
            asking = asyncio.create_task(asked(proxy))
            made = Agent(proxy, upstream, work, asking)
            async with asyncio.timeout(PATIENCE):
                while not (pending := await made.waits()):
                    assert not asking.done(), asking.result()
                    await asyncio.sleep(0.02)
            (made.pending,) = pending
            yield made
            asking.cancel()
            await asyncio.wait({asking})


@pytest.fixture(autouse=True)
def _temporary_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temp = tmp_path / "tmp"
    temp.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temp))


async def test_a_web_page_cannot(tmp_path: Path) -> None:
    async with agent(tmp_path) as it:
        own = f"http://127.0.0.1:{it.proxy.port}"
        attempts = [(method, path) for path in ("/permissions", "/permissions/stream") for method in ("GET", "OPTIONS")]
        attempts += [(method, f"/permissions/{it.pending}") for method in ("POST", "OPTIONS", "GET", "PUT")]
        heads: list[tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = [
            # Whatever another page sends is refused, even if it knew the token.
            (own[7:], (("Origin", "https://evil.test"),), (it.token,)),
            (own[7:], (("Origin", "null"),), (it.token,)),
            (own[7:], (("Origin", own.replace("127.0.0.1", "localhost")),), (it.token,)),
            (own[7:], (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")), (it.token,)),
            # A name of its own that leads to 127.0.0.1 makes the page's requests same-origin.
            ("evil.test", (), (it.token,)),
            (f"evil.test:{it.proxy.port}", (("Origin", f"http://evil.test:{it.proxy.port}"),), (it.token,)),
            # A page of ours, and what sends no Origin at all: an image, a link, a form in an old browser.
            (own[7:], (("Origin", own), ("Sec-Fetch-Site", "same-origin")), ()),
            (own[7:], (("Sec-Fetch-Site", "none"),), (("Cookie", f"x-ccproxy-token={it.token[1]}"),)),
            (own[7:], (), (("x-ccproxy-token", ""),)),
        ]
        for host, fields, token in heads:
            for method, path in attempts:
                for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
                    body = ALLOW if method in {"POST", "PUT"} else b""
                    for target in (path, f"{path}?x-ccproxy-token={it.token[1]}&token={it.token[1]}"):
                        data = request(target, body, *fields, *token, ("Content-Type", kind), method=method, host=host)
                        answer = await it.proxy.ask(data)
                        assert answer.status in {401, 403, 405}, (method, path, host, fields, answer.line)
                        assert it.pending.encode() not in answer.body.replace(path.encode(), b"")
                        assert not [name for name, _ in answer.fields if name.lower().startswith(b"access-control-")]
        await it.still_waits()
        await it.approve()


async def test_a_rule_that_cannot_be_read_stops_the_start() -> None:
    """A deny rule with a typo that is passed over in silence leaves open what it denies."""
    rules = [{"tool": "Read", "decision": "allow"}, {"tool": "Bash(rm *", "decision": "deny"}]
    with pytest.raises(ConfigError, match=r"permissions\.rules\[1\]: tool = 'Bash\(rm \*': expected"):
        await ProxyServer(Settings(server={"port": 0}, permissions={"rules": rules}), Extras()).run()


async def test_a_link_opens_nothing(tmp_path: Path) -> None:
    """Rules hold for what a name leads to, with the real Claude Code, whichever way it names the file."""
    open_folder, secret = tmp_path / "open", tmp_path / "secret"
    for folder in (open_folder, secret):
        folder.mkdir()
        (folder / "file").write_text(f"the words of {folder.name}")
    (open_folder / "link").symlink_to(secret / "file")
    rules = [
        {"tool": "Bash(touch victim)", "decision": "ask"},
        {"tool": f"Read({secret}/*)", "decision": "deny"},
        {"tool": f"Read({open_folder}/*)", "decision": "allow"},
    ]
    async with agent(tmp_path, permissions={"mode": "deny", "rules": rules}) as it:
        paths = {
            "a": f"{open_folder}/file",
            "b": f"{open_folder}/link",
            "c": f"{open_folder}/../secret/file",
            "d": f"/proc/self/root{secret}/file",
            "e": f"{secret}/file",
            "f": "../open/link",
            "g": f" {secret}/file ",
        }
        said = await it.run(*(tool_use(name, "Read", file_path=path) for name, path in paths.items()))
        assert "the words of open" in said.pop("a")
        assert not [one for one in said.values() if "the words of" in one]
        assert [one for one in said.values() if "Denied" not in one] == []
        await it.still_waits()


ATTACK = """
import http.client, os, re, sys
from pathlib import Path

port, pending = int(sys.argv[1]), sys.argv[2]

def readable(path):
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return ""

found = set(os.environ.values())
for root in filter(None, (os.environ.get(f"XDG_{name}_HOME") for name in ("CONFIG", "DATA", "CACHE", "STATE"))):
    for path in Path(root).rglob("*"):
        if path.is_file() and path.stat().st_size < 100_000:
            found |= set(readable(path).split())
pid = os.getpid()
while pid > 1:
    found |= {pair.partition("=")[2] for pair in readable(Path(f"/proc/{pid}/environ")).split("\\0")}
    found |= set(readable(Path(f"/proc/{pid}/cmdline")).split("\\0"))
    pid = int(readable(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1])

secrets = sorted({one for one in found if re.fullmatch(r"[\\w.:~/+=-]{8,200}", one)})
answers = set()
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
for secret in ("", *secrets):
    for method, path in ("GET", "/permissions"), ("GET", "/permissions/stream"), ("POST", f"/permissions/{pending}"):
        connection.request(method, path, b'{"decision":"allow"}' if method == "POST" else None, {"x-ccproxy-token": secret})
        answer = connection.getresponse()
        answers.add(answer.status)
        answer.read()
print("tried", len(secrets), "found", sys.argv[3][::-1] in secrets, "answers", sorted(answers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the process that asks is known on Linux only")
async def test_a_tool_cannot_with_all_that_it_finds(tmp_path: Path) -> None:
    script, tries = tmp_path / "attack.py", tmp_path / "tries.sh"
    script.write_text(ATTACK)
    async with agent(tmp_path, {"tool": f"Bash(sh {tries})", "decision": "allow"}) as it:
        # It is given what it could not guess: the request's id, and the token's letters from the end, to say whether it found it.
        command = f"{sys.executable} {script} {it.proxy.port} {it.pending} {it.token[1][::-1]}"
        ways = (
            command,
            f"setsid --fork --wait setsid --fork --wait {command}",
            f"env -i XDG_DATA_HOME=$XDG_DATA_HOME {command}",
        )
        tries.write_text("\n".join(ways))
        said = (await it.run(bash(f"sh {tries}")))["shell"]
        assert (
            re.findall(r"tried \d+ (found True answers \[401, 403\])", said) == ["found True answers [401, 403]"] * 3
        ), said
        await it.still_waits()
        await it.approve()


async def test_file_tools_do_not_reach_what_opens_and_decides(tmp_path: Path) -> None:
    """Tools that do not start programs cannot detach themselves; but they could read the token, and another tool could send it."""
    secret = "l0gin-" + "of-a-provider"
    rules = [{"tool": "Bash(touch victim)", "decision": "ask"}]
    async with agent(tmp_path, *rules, permissions={"mode": "allow", "rules": rules}) as it:
        token, config, logins = (
            token_file("127.0.0.1", it.proxy.port),
            config_dir() / "config.toml",
            data_dir() / "auth",
        )
        logins.mkdir(parents=True)
        (logins / "codex.json").write_text(secret)
        open_one = it.work / "note.txt"
        open_one.write_text("words")
        closed = [
            tool_use("a", "Read", file_path=str(token)),
            tool_use("b", "Read", file_path=str(logins / "codex.json")),
            tool_use("d", "Write", file_path=str(config), content="[permissions]\nmode = 'allow'\n"),
            tool_use("e", "Bash", command=f"cat {token}", description="x"),
            tool_use("f", "Bash", command=f"echo x > {config}", description="x"),
        ]
        said = await it.run(tool_use("z", "Read", file_path=str(open_one)), *closed)
        assert "words" in said.pop("z")
        assert [one for one in said.values() if "denied" not in one and "deny rule" not in one] == []
        assert not [one for one in said.values() if it.token[1] in one or secret in one]
        assert not config.exists()
        await it.still_waits()
