"""A script of the user's own, after ccproxy's addons: what it sees, what it changes, and that bytes stay bytes next to mitmproxy's own addons."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccproxy.server.proxy_server import Extras
from tests.fakes.client import message, request
from tests.fakes.proxy import ANTHROPIC_KEY, running
from tests.fakes.routes import IDS, NATIVE, Native
from tests.fakes.upstream import Received, Upstream, Wire, chunk


def script(folder: Path, text: str) -> Extras:
    path = folder / "mine.py"
    path.write_text(text)
    return Extras(scripts=[str(path)])


async def test_a_header_that_a_script_adds_goes_upstream(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(
        tmp_path,
        "def request(flow):\n"
        "    flow.request.headers['x-mine'] = 'added'\n"
        "    flow.request.headers['x-theirs'] = 'changed'\n"
        "    del flow.request.headers['x-gone']\n",
    )
    async with running(tmp_path, upstream, extras) as proxy:
        assert (await proxy.post("/api/v1/messages", message(), ("x-theirs", "1"), ("x-gone", "1"))).status == 200
    assert (upstream.last.values("x-mine"), upstream.last.values("x-theirs"), upstream.last.values("x-gone")) == (
        [b"added"],
        [b"changed"],
        [],
    )
    assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]


async def test_a_body_that_a_script_changes_arrives_whole(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(
        tmp_path,
        "def request(flow):\n    flow.request.text = flow.request.text.replace('hello', 'a much longer greeting')\n",
    )
    async with running(tmp_path, upstream, extras) as proxy, proxy.connect() as client:
        for _ in range(2):
            assert (await client.ask(request("/api/v1/messages", message()))).status == 200
    assert upstream.last.body == message(text="a much longer greeting")
    assert upstream.last.values("content-length") == [str(len(upstream.last.body)).encode()]


async def test_an_answer_that_a_script_gives_itself(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(
        tmp_path,
        "from mitmproxy import http\n"
        "def request(flow):\n    flow.response = http.Response.make(418, b'mine', {'content-type': 'text/plain'})\n",
    )
    async with running(tmp_path, upstream, extras) as proxy:
        answer = await proxy.post("/api/v1/messages", message())
        assert (answer.status, answer.body) == (418, b"mine")
    assert upstream.connections == 0


async def test_an_answer_that_a_script_changes(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(
        tmp_path,
        "def response(flow):\n    flow.response.text = 'changed by a script'\n    flow.response.headers['x-mine'] = '1'\n",
    )
    async with running(tmp_path, upstream, extras) as proxy, proxy.connect() as client:
        for _ in range(2):
            answer = await client.ask(request("/api/v1/messages", message()))
            assert (answer.body, answer["x-mine"], answer.whole) == (b"changed by a script", "1", True)


async def test_a_script_that_fails_in_a_hook_changes_nothing(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(tmp_path, "def request(flow):\n    raise RuntimeError('oops')\n")
    async with running(tmp_path, upstream, extras) as proxy:
        assert (await proxy.post("/api/v1/messages", message())).status == 200
    assert upstream.last.body == message()


async def test_a_script_that_kills_a_flow(tmp_path: Path, upstream: Upstream) -> None:
    extras = script(tmp_path, "def request(flow):\n    flow.kill()\n")
    async with running(tmp_path, upstream, extras) as proxy, proxy.connect() as client:
        await client.send(request("/api/v1/messages", message()))
        assert await client.rest() == b""
    assert upstream.requests == []


async def test_a_script_cannot_send_the_credential_elsewhere(tmp_path: Path, upstream: Upstream) -> None:
    """A script may lead a request to another host, a stand-in for the real one: the key stays at home."""
    async with Upstream() as elsewhere:
        text = f"def request(flow):\n    flow.request.host = '127.0.0.1'\n    flow.request.port = {elsewhere.port}\n"
        async with running(tmp_path, upstream, script(tmp_path, text)) as proxy:
            assert (
                await proxy.post("/api/v1/messages", message(), ("X-Mine", "1"), ("x-api-key", "clients-own"))
            ).status == 200
        assert ANTHROPIC_KEY.encode() not in elsewhere.last.everything
        assert b"clients-own" not in elsewhere.last.everything
        assert elsewhere.last.values("host") == [f"127.0.0.1:{elsewhere.port}".encode()]
        assert (elsewhere.last.values("x-mine"), elsewhere.last.body) == ([b"1"], message())
    assert upstream.connections == 0


# ---- bytes stay bytes next to other addons


@pytest.mark.parametrize("route", NATIVE, ids=IDS)
@pytest.mark.parametrize("extra", ["options", "x.flow", "x.har"])
async def test_all_addons_of_mitmproxy_leave_the_bytes(
    tmp_path: Path, upstream: Upstream, route: Native, extra: str
) -> None:
    extras = Extras(options=["anticache=false"]) if extra == "options" else Extras(record=tmp_path / extra)
    head = (
        b'HTTP/1.1 200 Odd Reason\r\nContent-Type: text/event-stream\r\nalt-svc: h3=":443"; ma=86400\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n'
        b"Transfer-Encoding: chunked\r\n\r\n"
    )  # fmt: skip

    async def answer(wire: Wire, _: Received) -> None:
        await wire.send(head, chunk(b"data: 1\r\n\r\n"), chunk(b"data: 2\n"), chunk(b"\n"), b"0\r\n\r\n")

    upstream.script = answer
    fields = (
        ("If-None-Match", '"x"'),
        ("X-ODD", "1"),
        ("x-odd", "2"),
        ("Accept-Encoding", "zstd"),
        ("Upgrade-Insecure-Requests", "1"),
    )
    async with running(tmp_path, upstream, extras) as proxy:
        got = await proxy.post(f"{route.path}?a=1&b", route.body, *fields)
    (flow,) = got.values("x-ccproxy-flow")
    assert got.head.replace(b"x-ccproxy-flow: " + flow + b"\r\n", b"") == head
    assert got.chunks == [b"data: 1\r\n\r\n", b"data: 2\n", b"\n"]
    sent = upstream.last
    assert sent.target == f"{route.upstream_path}?a=1&b"
    assert sent.body == route.body
    assert [(name.decode(), value.decode()) for name, value in sent.fields[1:6]] == list(fields)
