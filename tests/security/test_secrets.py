"""No credential on a flow, in a script, a dump, a HAR file or a log; no body in a log, whatever its level."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import FlowReader

from ccproxy.server.proxy_server import Extras
from tests.fakes.client import message, request
from tests.fakes.proxy import ANTHROPIC_KEY, CODEX_KEY, OWN_KEY, Proxy, running
from tests.fakes.routes import NATIVE
from tests.fakes.upstream import Received, Upstream, Wire, chunk

TOKEN = "gate-" + "token"
CLIENTS = "sk-ant-" + "clients-own"
COOKIE = "session=clients-cookie"
SECRETS = (ANTHROPIC_KEY, CODEX_KEY, OWN_KEY, TOKEN, CLIENTS, "clients-cookie", "clients-login")
PROMPT = "a-private-prompt"
ANSWER = "a-private-answer"

# Writes down everything that a script can see of a flow, at every hook that has one.
SCRIPT = """
from pathlib import Path
OUT = Path(__file__).with_suffix(".seen")
OUT.write_text("")
def look(hook):
    def seen(self, flow):
        with OUT.open("a") as out:
            print(hook, flow.get_state(), dict(flow.request.headers), flow.metadata, flow, file=out)
    return seen
hooks = ("requestheaders", "request", "responseheaders", "response", "error")
Spy = type("Spy", (), {hook: look(hook) for hook in hooks})
addons = [Spy()]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "spy.py"
    path.write_text(SCRIPT)
    return path


async def everything(proxy: Proxy, upstream: Upstream) -> None:
    """One exchange of each kind, secrets in every place where they may come."""

    async def answers(wire: Wire, found: Received) -> None:
        match len(upstream.requests) % 5:
            case 0:
                await wire.answer(200, json.dumps({"text": ANSWER}).encode())
            case 1:
                await wire.stream(b"data: " + ANSWER.encode() + b"\n\n")
            case 2:
                await wire.answer(401, json.dumps({"error": {"message": ANSWER}}).encode(), reason="Unauthorized")
            case 3:
                await wire.stream(b"data: " + ANSWER.encode(), end=False)
                wire.reset()
            case 4:
                await wire.send(b"HTTP/1.1 200 " + ANSWER.encode() + b"\r\nbad " + ANSWER.encode() + b": x\r\n\r\n")
                wire.close()

    upstream.script = answers
    credentials = [("x-ccproxy-token", TOKEN), ("x-api-key", CLIENTS), ("Authorization", f"Bearer {CLIENTS}"), ("Cookie", COOKIE),
                   ("Proxy-Authorization", "Basic clients-login")]  # fmt: skip
    for route in NATIVE:
        body = route.body.replace(b"hello", PROMPT.encode())
        for _ in range(5):
            await proxy.post(route.path, body, *credentials)
    for model in ("mock-claude", "mock-529", "mock-error", "mock-drop"):
        for stream in (True, False):
            await proxy.post("/mock/v1/messages", message(model, PROMPT, stream=stream), *credentials)
    # What goes wrong before it is a request, and what is refused.
    for data in (
        request("/api/v1/messages", message(text=PROMPT), *credentials, host="evil.test"),
        request("/api/v1/messages", message(text=PROMPT), ("x-api-key", CLIENTS)),
        request("/nowhere", message(text=PROMPT), *credentials),
        request("/api/v1/messages", b'{"model": "m", ' + PROMPT.encode(), *credentials),
        request("/api/v1/messages", message(text=PROMPT), *credentials, ("Content-Length", "1")),
        request("/api/v1/messages", message(text=PROMPT), *credentials, ("Authorization ", f"Bearer {CLIENTS}")),
        request("/api/v1/messages", message(text=PROMPT), *credentials, ("Transfer-Encoding", "chunked")),
        request("/api/v1/messages", b"", *credentials, ("Transfer-Encoding", "chunked")) + PROMPT.encode() + b"\r\n",
        b"GET " + CLIENTS.encode() + b"\r\n\r\n",
        f"CONNECT evil.test:443 HTTP/1.1\r\nx-api-key: {CLIENTS}\r\n\r\n".encode(),
    ):
        answer = await proxy.ask(data)
        for secret in SECRETS:
            assert secret not in answer.body.decode()
    async with proxy.connect() as client:  # half a request
        await client.send(request("/api/v1/messages", message(text=PROMPT), *credentials)[:-3])
    async with proxy.connect() as client:  # half a head
        await client.send(request("/api/v1/messages", b"", *credentials)[:-3])


@pytest.mark.parametrize("record", ["session.flow", "session.har"])
async def test_scripts_and_records_hold_no_credential(
    tmp_path: Path, upstream: Upstream, script: Path, record: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target = tmp_path / record
    extras = Extras(scripts=[str(script)], record=target)
    async with running(tmp_path, upstream, extras, server={"auth_token": TOKEN}) as proxy:
        await everything(proxy, upstream)
        assert upstream.last.values("authorization") or upstream.last.values("x-api-key")  # it was there, on the wire
    seen = script.with_suffix(".seen").read_text()
    assert seen.count("requestheaders") > 40
    assert PROMPT in seen
    recorded = target.read_bytes()
    assert PROMPT.encode() in recorded
    for secret in SECRETS:
        assert secret not in seen, secret
        assert secret.encode() not in recorded, secret
        assert secret not in caplog.text, secret
        assert not [found for found in caplog.records if secret in str(found.args) + str(found.exc_info)]


async def test_no_body_in_the_log_at_any_level(
    tmp_path: Path, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, upstream, server={"auth_token": TOKEN}) as proxy:
        await everything(proxy, upstream)
    for private in (*SECRETS, PROMPT, ANSWER):
        assert not [found.getMessage() for found in caplog.records if private in found.getMessage()], private


async def test_the_settings_do_not_show_their_secrets(tmp_path: Path, upstream: Upstream) -> None:
    async with running(tmp_path, upstream, server={"auth_token": TOKEN}) as proxy:
        gateway = proxy.addon("gateway")
        shown = (
            repr(proxy.settings)
            + str(proxy.settings)
            + repr(proxy.host)
            + repr(gateway)
            + repr(gateway.router.providers)
        )
    for secret in SECRETS:
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\x1b[2Jcleared", "\r\x1b[31m200 OK", "x" * 5000, "half \ud83d a pair", "\u202eright to left"],
)
async def test_what_a_client_says_cannot_forge_the_log(
    proxy: Proxy, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    caplog.set_level(logging.INFO, "ccproxy.access")
    await proxy.post("/api/v1/messages", message(text))
    await proxy.ask(
        request("/api/v1/" + "".join(c for c in text if c.isascii() and c not in "\r\n "), message(), method="GET")
    )
    await proxy.ask(request("/api/v1/messages", message(), method="GE\x1b[2JT"))
    assert len(caplog.messages) >= 1
    for line in caplog.messages:
        assert line.isprintable(), line
        assert len(line) < 1000


# ---- a record is worth its name


def flows(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return list(FlowReader(file).stream())


async def test_a_record_holds_whole_exchanges(tmp_path: Path, upstream: Upstream) -> None:
    events = [b"data: one\n\n", b"data: two\n\n"]

    async def script(wire: Wire, found: Received) -> None:
        if b'"stream":true' in found.body:
            await wire.stream(*events)
        else:
            await wire.answer(200, b'{"whole": true}')

    upstream.script = script
    target = tmp_path / "session.flow"
    async with running(tmp_path, upstream, Extras(record=target)) as proxy:
        await proxy.post("/api/v1/messages", b'{"model":"m","n":1}')
        await proxy.post("/api/v1/messages", b'{"model":"m","n":2,"stream":true}')
        local = await proxy.post("/mock/v1/messages", message(stream=True))
        refused = await proxy.post("/nowhere", b"{}")
        await proxy.post("/api/v1/messages", rb'{"model":"half \ud83d a pair"}')
    whole, streamed, mock, missing, odd = flows(target)
    assert (whole.request.raw_content, whole.response.raw_content) == (b'{"model":"m","n":1}', b'{"whole": true}')
    assert streamed.request.raw_content == b'{"model":"m","n":2,"stream":true}'
    assert streamed.response.raw_content == b"".join(events)
    assert mock.response.raw_content == local.body
    assert missing.response.raw_content == refused.body
    assert odd.metadata["ccproxy"]["model"] == "half ? a pair"


async def test_a_har_record_holds_whole_exchanges(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: one\n\n", b"data: two\n\n")

    upstream.script = script
    target = tmp_path / "session.har"
    async with running(tmp_path, upstream, Extras(record=target)) as proxy:
        await proxy.post("/api/v1/messages", message())
    (entry,) = json.loads(target.read_text())["log"]["entries"]
    assert entry["request"]["postData"]["text"] == message().decode()
    assert entry["response"]["content"]["text"] == "data: one\n\ndata: two\n\n"


async def test_a_broken_stream_is_recorded_as_far_as_it_came(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            chunk(b"data: on"),
        )
        wire.close()

    upstream.script = script
    target = tmp_path / "session.flow"
    async with running(tmp_path, upstream, Extras(record=target)) as proxy:
        await proxy.post("/api/v1/messages", message())
    (flow,) = flows(target)
    assert flow.error
    assert flow.response.raw_content == b"data: on"
