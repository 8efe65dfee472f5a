"""What a client sends is what the upstream gets, byte for byte."""

from __future__ import annotations

import gzip
import json

import brotli
import pytest
import zstandard
from hypothesis import given, strategies as st

from ccproxy.secret_names import is_secret_header
from tests.fakes.client import message, request
from tests.fakes.proxy import ANTHROPIC_KEY, Proxy
from tests.fakes.routes import IDS, NATIVE, RESPONSES_BODY, Native
from tests.fakes.upstream import Fields, Upstream

native = pytest.mark.parametrize("route", NATIVE, ids=IDS)

# Spelled, ordered and repeated as no library would: all of it is the client's to decide.
ODD_FIELDS: tuple[tuple[str, str], ...] = (
    ("uSeR-aGeNt", "claude-cli/2.1.330 (external, cli)"),
    ("anthropic-version", "2023-06-01"),
    ("Anthropic-Beta", "oauth-2025-04-20,fine-grained-tool-streaming-2025-05-14, interleaved-thinking-2025-05-14"),
    ("anthropic-beta", "a-second-line-of-it"),
    ("anthropic-something-of-next-year", "yes"),
    ("x-claude-code-session-id", "0a1b2c3d"),
    ("X-Claude-Code-Agent-Id", "agent 7"),
    ("x-claude-code-parent-agent-id", ""),
    ("X-Stainless-Retry-Count", "0"),
    ("x-unknown", "first"),
    ("accept", "application/json"),
    ("X-UNKNOWN", "second"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("session-id", "s-1"),
    ("x-codex-turn-metadata", '{"a":"b, c; d"}'),
    ("x-latin", "gr\u00fc\u00dfe"),
    ("Content-Type", "application/json; charset=utf-8"),
)


def expected(method: str, target: str, upstream: Upstream, fields: Fields, body: bytes, added: Fields) -> bytes:
    """The request as it has to arrive: Host is the upstream's, what is added comes last."""
    sent = {name.lower() for name, _ in fields}
    lines = [f"{method} {target} HTTP/1.1".encode(), f"Host: 127.0.0.1:{upstream.port}".encode()]
    lines += [name + b": " + value for name, value in fields]
    lines += [name + b": " + value for name, value in added if name not in sent]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def on_the_wire(fields: tuple[tuple[str, str], ...], body: bytes) -> Fields:
    return [
        *((name.encode(), value.encode()) for name, value in fields),
        (b"Content-Length", str(len(body)).encode()),
    ]


@native
async def test_head_and_body_arrive_as_they_were_sent(proxy: Proxy, upstream: Upstream, route: Native) -> None:
    answer = await proxy.post(f"{route.path}?beta=true&b=%20+%C3%BC&c", route.body, *ODD_FIELDS)
    assert answer.status == 200
    assert upstream.last.everything == expected(
        "POST", f"{route.upstream_path}?beta=true&b=%20+%C3%BC&c", upstream,
        on_the_wire(ODD_FIELDS, route.body), route.body, list(route.added),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/api/v1/models?limit=1000", "/v1/models?limit=1000"),
        ("GET", "/api/v1/models/claude-x", "/v1/models/claude-x"),
        ("POST", "/api/v1/messages/batches", "/v1/messages/batches"),
        ("GET", "/api/v1/messages/batches/b_1/results", "/v1/messages/batches/b_1/results"),
        ("DELETE", "/api/v1/files/f_1?beta=true", "/v1/files/f_1?beta=true"),
        ("PUT", "/api/v1/skills/%C3%BC%20x", "/v1/skills/%C3%BC%20x"),
        ("PATCH", "/api/v1/anything/at/all", "/v1/anything/at/all"),
        ("GET", "/api/codex/models?client_version=0.169.0", "/backend-api/codex/models?client_version=0.169.0"),
        ("GET", "/api/codex/v1/models?client_version=1", "/backend-api/codex/models?client_version=1"),
        ("POST", "/api/codex/responses/compact", "/backend-api/codex/responses/compact"),
        ("POST", "/api/codex/v1/responses/input_tokens", "/backend-api/codex/responses/input_tokens"),
        ("GET", "/zai/v1/models", "/anthropic/v1/models"),
        ("GET", "/chatty/v1/models/a-model", "/v1/models/a-model"),
        ("POST", "/chatty/v1/embeddings", "/v1/embeddings"),
        ("POST", "/respy/v1/files", "/v1/files"),
    ],
)
async def test_every_path_of_the_upstream_is_within_reach(
    proxy: Proxy, upstream: Upstream, method: str, path: str, target: str
) -> None:
    body = b"" if method == "GET" else b"\x00any \xff bytes"
    answer = await proxy.ask(request(path, body, method=method))
    assert answer.status == 200
    assert (upstream.last.method, upstream.last.target, upstream.last.body) == (method, target, body)


BODIES = {
    "escapes": rb'{"model":"claude-x","messages":[{"role":"user","content":"\u00fc \ud83d\ude00 \/ \u003c\u2028"}]}',
    "raw unicode": '{"model":"claude-x","messages":"grüße \u2028 😀"}'.encode(),
    "odd white space": b' \r\n\t{ "model" :\t"claude-x" ,\n\n "n":16 , "messages" : [ ] }\r\n\r\n ',
    "numbers": b'{"model":"claude-x","a":1.0,"b":1E+2,"c":-0,"d":100000000000000000000000000000,"e":1.10}',
    "repeated keys": b'{"model":"claude-x","a":1,"a":2,"model":"claude-y"}',
    "lone surrogate": rb'{"model":"claude-x","a":"\ud83d"}',
    "deep": b'{"model":"claude-x","a":' + b"[" * 60 + b"]" * 60 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_json_is_never_printed_again(proxy: Proxy, upstream: Upstream, body: bytes) -> None:
    assert (await proxy.post("/api/v1/messages", body)).status == 200
    assert upstream.last.body == body


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_codex_bodies_that_the_backend_accepts_are_never_printed_again(
    proxy: Proxy, upstream: Upstream, body: bytes
) -> None:
    accepted = b'"store" : false,"stream":true , "instructions" : "", '
    at = body.index(b'"model"')
    body = body[:at] + accepted + body[at:]
    assert (await proxy.post("/api/codex/responses", body)).status == 200
    assert upstream.last.body == body


async def test_what_the_codex_program_sends_stays_as_it_is(proxy: Proxy, upstream: Upstream) -> None:
    # It has no `instructions`: its first input item is a developer message, or a list of tools.
    for first in (
        b'{"type":"additional_tools","role":"developer","tools":[]}',
        b'{"type":"message","role":"developer","content":[]}',
    ):
        body = b'{"model":"gpt-x","input":[' + first + b'],"store":false,"stream":true,"prompt_cache_key":"k"}'
        assert (await proxy.post("/api/codex/responses", body)).status == 200
        assert upstream.last.body == body


@pytest.mark.parametrize("coding", ["zstd", "gzip", "br"])
@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/codex/responses", "/chatty/v1/chat/completions"])
async def test_compressed_bodies_stay_compressed(proxy: Proxy, upstream: Upstream, coding: str, path: str) -> None:
    compress = {"zstd": zstandard.ZstdCompressor().compress, "gzip": gzip.compress, "br": brotli.compress}[coding]
    body = compress(RESPONSES_BODY * 20)
    assert (await proxy.post(path, body, ("Content-Encoding", coding))).status == 200
    assert upstream.last.body == body
    assert upstream.last.values("content-encoding") == [coding.encode()]


async def test_a_body_in_chunks_arrives_in_chunks(proxy: Proxy, upstream: Upstream) -> None:
    async with proxy.connect() as client:
        await client.send(request("/api/v1/messages", b"", ("Transfer-Encoding", "chunked")))
        for piece in (b'4\r\n{"mo\r\n', b'9;ext=1\r\ndel":"x"}\r\n', b"0\r\nX-Trailer: 1\r\n\r\n"):
            await client.send(piece)
        assert (await client.answer()).status == 200
    assert upstream.last.body == b'{"model":"x"}'
    assert upstream.last.values("transfer-encoding") == [b"chunked"]
    assert upstream.last.values("content-length") == []


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 32 * 1024 + 1, 3_000_000])
async def test_bodies_of_any_size(proxy: Proxy, upstream: Upstream, size: int) -> None:
    body = message(text="x" * size)
    assert (await proxy.post("/api/v1/messages", body)).status == 200
    assert upstream.last.body == body


async def test_a_request_without_a_body(proxy: Proxy, upstream: Upstream) -> None:
    answer = await proxy.ask(request("/api/v1/messages/batches/b_1/cancel", b"", ("Content-Length", "0")))
    assert answer.status == 200
    assert upstream.last.values("content-length") == [b"0"]
    answer = await proxy.ask(request("/api/v1/messages/batches/b_1/cancel"))
    assert answer.status == 200
    assert upstream.last.values("content-length") == []


async def test_a_client_that_waits_for_100_continue(proxy: Proxy, upstream: Upstream) -> None:
    body = message()
    head, _, _ = request("/api/v1/messages", body, ("Expect", "100-continue")).partition(b"\r\n\r\n")
    async with proxy.connect() as client:
        await client.send(head + b"\r\n\r\n")
        assert (await client.head()).head == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = await client.ask(body)
        assert answer.status == 200
    assert upstream.last.body == body
    assert upstream.last.values("expect") == []


async def test_requests_one_behind_the_other_in_one_packet(proxy: Proxy, upstream: Upstream) -> None:
    bodies = [message(text=str(number)) for number in range(3)]
    async with proxy.connect() as client:
        await client.send(b"".join(request("/api/v1/messages", body) for body in bodies))
        for _ in bodies:
            assert (await client.answer()).status == 200
    assert [found.body for found in upstream.requests] == bodies


async def test_a_thousand_requests_in_one_packet_go_no_deeper_than_one(proxy: Proxy) -> None:
    asked = [request("/nowhere", method="GET"), request("/nowhere", b"{}")]
    async with proxy.connect() as client:
        await client.send(b"".join(asked * 500))
        for _ in range(1000):
            assert (await client.answer()).status == 404


async def test_an_empty_line_before_a_request_is_passed_over(proxy: Proxy, upstream: Upstream) -> None:
    # https://www.rfc-editor.org/rfc/rfc9112#section-2.2-6: older clients send one after a body
    async with proxy.connect() as client:
        assert (await client.ask(b"\r\n" + request("/api/v1/messages", message()))).status == 200
        assert (await client.ask(b"\r\n\r\n" + request("/api/v1/messages", message()))).status == 200


async def test_a_request_in_single_bytes(proxy: Proxy, upstream: Upstream) -> None:
    sent = request("/api/v1/messages", message(), ("X-Odd", "yes"))
    async with proxy.connect() as client:
        for at in range(len(sent)):
            await client.send(sent[at : at + 1])
        assert (await client.answer()).status == 200
    assert upstream.last.body == message()


# ---- properties

_TOKEN = st.text(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=20
)
_VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60).map(
    lambda text: "".join(c for c in text if not "\x80" <= c < "\xa0").strip()
)
# Everything that means something to the hop between client and proxy, or that is taken off on purpose.
_MEANS_SOMETHING = {
    "host", "connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings", "proxy-authenticate",
    "proxy-authorization", "expect", "content-length", "transfer-encoding", "content-encoding", "authorization", "x-api-key",
    "cookie", "origin", "sec-fetch-site",
}  # fmt: skip
_FIELDS = st.lists(
    st.tuples(_TOKEN, _VALUE).filter(
        lambda item: (
            item[0].lower() not in _MEANS_SOMETHING
            and not item[0].lower().startswith("x-ccproxy-")
            and not is_secret_header(item[0].encode())
        )
    ),
    max_size=12,
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_QUERY = st.text("abcXYZ019-._~!$&'()*+,;=:@/?%20[]", max_size=40)


@given(fields=_FIELDS, body=_JSON, escaped=st.booleans(), indent=st.sampled_from([None, 0, 3]), query=_QUERY)
async def test_any_head_and_any_json(
    proxy: Proxy,
    upstream: Upstream,
    fields: list[tuple[str, str]],
    body: object,
    escaped: bool,
    indent: int | None,
    query: str,
) -> None:
    data = json.dumps({"model": "m", "x": body}, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    if not escaped:
        data = data.decode("utf-8", "replace").encode()
    target = "/v1/messages" + (f"?{query}" if query else "")
    sent = f"POST /api{target} HTTP/1.1\r\nHost: localhost\r\n".encode()
    sent += b"".join(name.encode() + b": " + value.encode("latin-1") + b"\r\n" for name, value in fields)
    sent += b"Content-Length: %d\r\n\r\n" % len(data) + data
    answer = await proxy.ask(sent)
    assert answer.status == 200
    raw: Fields = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    assert upstream.last.everything == expected(
        "POST", target, upstream, [*raw, (b"Content-Length", str(len(data)).encode())], data, list(NATIVE[0].added)
    )


@given(data=st.binary(max_size=200))
async def test_any_bytes_on_paths_that_pass_untouched(proxy: Proxy, upstream: Upstream, data: bytes) -> None:
    answer = await proxy.post(
        "/api/v1/files", data, ("Content-Type", "application/octet-stream"), ("content-encoding", "gzip")
    )
    assert answer.status == 200
    assert upstream.last.body == data


async def test_the_key_goes_where_the_provider_wants_it(proxy: Proxy, upstream: Upstream) -> None:
    for sent in (("x-api-key", "dummy"), ("Authorization", "Bearer dummy"), ("authorization", "dummy")):
        await proxy.post("/api/v1/messages", message(), sent)
        assert upstream.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]
        assert upstream.last.values("authorization") == []
        assert b"dummy" not in upstream.last.everything
