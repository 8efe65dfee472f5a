"""No client can choose an upstream host, reach beyond a configured path, or smuggle a second request."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from tests.fakes.client import message, request
from tests.fakes.proxy import Proxy
from tests.fakes.routes import NATIVE
from tests.fakes.upstream import Upstream

BODY = message()


@pytest.mark.parametrize(
    "target",
    [
        # other hosts
        "//evil.test/api/v1/messages", "///evil.test/api/v1/messages", "/api//evil.test/v1/messages", "/api/v1//evil.test/messages",
        "/\\evil.test/api/v1/messages", "/api/v1/\\evil.test", "/api/v1/%5c%5cevil.test", "/api@evil.test/v1/messages",
        "/http://evil.test/v1/messages", "/api/http://evil.test/v1/messages",
        # other paths
        "/api/v1/../messages", "/api/v1/messages/..", "/api/v1/./messages", "/api/v1/.", "/api/../codex/responses", "/api/codex/../wham/usage",
        "/api/codex/../../backend-api/me", "/api/v1/%2e%2e/secret", "/api/v1/%2E./secret", "/api/v1/.%2e/secret", "/api/codex/%2e%2e/wham/usage",
        "/api/v1/%252e%252e/secret", "/api/v1/%25252e%25252e/secret", "/api/v1/a%2fb", "/api/v1/a%2Fb", "/api/v1/..%2fsecret", "/api/v1/a%252fb",
        "/api/v1/a%5cb", "/api/v1/a\\b", "/api/v1//messages", "/api//v1/messages", "/api/v1/a%2f%2fb", "/api/codex//responses",
        "/api/v1/x%00y", "/api/v1/x%0d%0aX-Injected:%201", "/api/v1/x%0aGET%20/", "/api/v1/x%7f", "/api/v1/x%1b[2J",
        "/api/v1/..", "/api/v1/../", "/zai/v1/../../secret", "/api/codex/..", "/..", "/../api/v1/messages",
    ],
)  # fmt: skip
async def test_a_target_that_leads_elsewhere(proxy: Proxy, upstream: Upstream, target: str) -> None:
    answer = await proxy.ask(request(target, BODY))
    assert answer.status in {400, 404}, answer.line
    assert answer["content-type"] == "application/json"
    assert upstream.connections == 0


@pytest.mark.parametrize(
    "target",
    ["http://evil.test/api/v1/messages", "https://evil.test/api/v1/messages", "http://evil.test:80/", "ftp://evil.test/api/v1/messages",
     "http://localhost@evil.test/api/v1/messages", "http://evil.test\\@localhost/api/v1/messages", "http:///api/v1/messages",
     "http://localhost:99999/api/v1/messages", "evil.test:443", "*", "api/v1/messages", "?x", "http:/api/v1/messages"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_targets_of_other_forms(proxy: Proxy, upstream: Upstream, target: str, method: str) -> None:
    answer = await proxy.ask(request(target, BODY, method=method))
    assert answer.status in {400, 403, 404}, answer.line
    assert answer["content-type"] == "application/json"
    assert upstream.connections == 0


@pytest.mark.parametrize(
    "target",
    [
        "evil.test:443",
        "localhost:80",
        "127.0.0.1:{port}",
        "127.0.0.1:{upstream}",
        "evil.test",
        "/api/v1/messages",
        "[::1]:80",
        "",
    ],
)
async def test_connect_is_refused(proxy: Proxy, upstream: Upstream, target: str) -> None:
    target = target.format(port=proxy.port, upstream=upstream.port)
    for host in (target, "localhost"):
        async with proxy.connect() as client:
            answer = await client.ask(f"CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert 400 <= answer.status < 500
            assert answer["content-type"] == "application/json"
            assert answer["connection"] == "close"
            assert await client.rest() == b""
    assert upstream.connections == 0


async def test_connect_says_what_is_wrong(proxy: Proxy) -> None:
    answer = await proxy.ask(b"CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: api.anthropic.com:443\r\n\r\n")
    assert "HTTPS_PROXY" in answer.message


async def test_the_upstreams_host_is_the_configured_one(proxy: Proxy, upstream: Upstream) -> None:
    fields = (
        ("X-Forwarded-Host", "evil.test"), ("Forwarded", "host=evil.test"), ("X-Host", "evil.test"), ("X-Original-URL", "/secret"),
        ("X-Rewrite-URL", "/secret"), ("X-Base-Url", "http://evil.test"), ("x-ccproxy-upstream", "http://evil.test"),
    )  # fmt: skip
    assert (await proxy.post("/api/v1/messages?base_url=http://evil.test&url=//evil.test", BODY, *fields)).status == 200
    assert upstream.last.values("host") == [f"127.0.0.1:{upstream.port}".encode()]
    assert upstream.last.target == "/v1/messages?base_url=http://evil.test&url=//evil.test"


@pytest.mark.parametrize(
    "target",
    [
        "/api/%" + "25" * 30_000, "/api/v1/%" + "25" * 30_000 + "2e", "/%" * 20_000, "/api/v1/" + "%25" * 20_000, "/api" + "/x" * 30_000,
        "/nothing/" + "a" * 60_000, "/api/v1/models/" + "%2525" * 12_000, "/claude/" + "." * 60_000, "/api/v1/files?" + "&key=1" * 10_000,
        "/api/v1/files?" + "%" * 60_000, "/api/v1/files?" + ";" * 60_000, "/api/v1/" + ";" * 60_000, "/api/v1/" + "\\" * 60_000,
    ],
    ids=lambda target: target[:30],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_a_long_target_is_answered_at_once(proxy: Proxy, upstream: Upstream, target: str, method: str) -> None:
    """Without a token too: the fake client gives up after a few seconds, where such paths took 18."""
    answer = await proxy.ask(request(target, b"", method=method))
    assert answer.status < 500
    assert len(answer.body) < 2000
    assert all(len(sent.target) <= len(target) for sent in upstream.requests)


@pytest.mark.parametrize("method", ["TRACE", "TRACK"])
async def test_a_method_that_has_the_credential_repeated_is_not_forwarded(
    proxy: Proxy, upstream: Upstream, method: str
) -> None:
    answer = await proxy.ask(request("/api/v1/files", b"", method=method))
    assert answer.status == 405
    assert upstream.connections == 0


_PIECES = st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2F", "%5c", "\\", "api", "codex", "v1", "messages", "responses", "zai", "@evil.test", ":80", "http:", "a", "%25",
     "2e", "%252e", ";", "%00", "%0a", "?", "#", "%c0%ae", "~"]
)  # fmt: skip


@given(pieces=st.lists(_PIECES, max_size=10), root=st.sampled_from(["/api/v1/", "/api/codex/", "/zai/v1/", "/"]))
async def test_whatever_the_target_the_upstream_sees_its_own_path(
    proxy: Proxy, upstream: Upstream, pieces: list[str], root: str
) -> None:
    from urllib.parse import unquote

    target = root + "".join(pieces)
    upstream.requests.clear()
    answer = await proxy.ask(request(target, BODY))
    assert answer.status in {200, 400, 403, 404, 405, 501}, answer.line
    if not upstream.requests:
        return
    path = upstream.last.target.partition("?")[0]
    below = {"/api/v1/": "/v1/", "/api/codex/": "/backend-api/codex/", "/zai/v1/": "/anthropic/v1/"}
    assert any(path.startswith(start) for start in below.values()), path
    while True:
        assert "//" not in path
        assert "\\" not in path
        assert not {".", ".."} & set(path.split("/"))
        if unquote(path) == path:
            break
        path = unquote(path)


# ---- smuggling

TAIL = b"GET /api/v1/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def raw(*lines: bytes, body: bytes = BODY) -> bytes:
    return (
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(line + b"\r\n" for line in lines)
        + b"\r\n"
        + body
    )


AMBIGUOUS = {
    "length and chunks": raw(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=CHUNKED + TAIL),
    "chunks and length": raw(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=CHUNKED + TAIL),
    "two lengths": raw(b"Content-Length: 4", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "two equal lengths": raw(b"Content-Length: %d" % len(BODY), b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "a list of lengths": raw(b"Content-Length: %d, %d" % (len(BODY), len(BODY)), body=BODY + TAIL),
    "a signed length": raw(b"Content-Length: +%d" % len(BODY), body=BODY + TAIL),
    "a negative length": raw(b"Content-Length: -1", body=BODY + TAIL),
    "a length in hex": raw(b"Content-Length: 0x10", body=BODY + TAIL),
    "a length with a zero in front": raw(b"Content-Length: 0%d" % len(BODY), body=BODY + TAIL),
    "a length of other digits": raw("Content-Length: \u0664".encode(), body=BODY + TAIL),
    "an empty length and chunks": raw(b"Content-Length:", b"Transfer-Encoding: chunked", body=CHUNKED + TAIL),
    "two codings": raw(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKED + TAIL),
    "chunked twice": raw(b"Transfer-Encoding: chunked, chunked", body=CHUNKED + TAIL),
    "chunked not last": raw(b"Transfer-Encoding: chunked, gzip", body=CHUNKED + TAIL),
    "identity": raw(b"Transfer-Encoding: identity", body=BODY + TAIL),
    "no coding": raw(b"Transfer-Encoding: xchunked", body=CHUNKED + TAIL),
    "coding in quotes": raw(b'Transfer-Encoding: "chunked"', body=CHUNKED + TAIL),
    "blank before the colon": raw(b"Transfer-Encoding : chunked", body=CHUNKED + TAIL),
    "tab before the colon": raw(b"Transfer-Encoding\t: chunked", body=CHUNKED + TAIL),
    "folded": raw(b"X-A: b\r\n Transfer-Encoding: chunked", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "folded coding": raw(b"Transfer-Encoding:\r\n chunked", body=CHUNKED + TAIL),
    "folded first": raw(b" X-A: b", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "bare CR": raw(b"X-A: b\rTransfer-Encoding: chunked", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "NUL": raw(b"X-A: b\0", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "no colon": raw(b"Transfer-Encoding chunked", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "no name": raw(b": chunked", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "name with a separator": raw(b"X(A): b", b"Content-Length: %d" % len(BODY), body=BODY + TAIL),
    "chunks for HTTP/1.0": raw(b"Transfer-Encoding: chunked", body=CHUNKED + TAIL).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a chunk size with a sign": raw(b"Transfer-Encoding: chunked", body=b"+2\r\n{}\r\n0\r\n\r\n" + TAIL),
    "a chunk size with a prefix": raw(b"Transfer-Encoding: chunked", body=b"0x2\r\n{}\r\n0\r\n\r\n" + TAIL),
    "a chunk without its line end": raw(b"Transfer-Encoding: chunked", body=b"2\r\n{}xx0\r\n\r\n" + TAIL),
    "a huge chunk": raw(b"Transfer-Encoding: chunked", body=b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n" + TAIL),
    "three words and more": raw(b"Content-Length: 0", body=b"").replace(b" HTTP/1.1", b" x HTTP/1.1"),
    "HTTP/1.2": raw(b"Content-Length: 0", body=b"").replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/0.9": b"GET /api/v1/models\r\n\r\n",
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_a_request_that_can_be_read_in_two_ways_is_refused(proxy: Proxy, upstream: Upstream, data: bytes) -> None:
    async with proxy.connect() as client:
        answer = await client.ask(data)
        assert (answer.status, answer["content-type"]) == (400, "application/json")
        assert answer["connection"] == "close"
        assert "validate_inbound_headers" not in answer.message
        assert answer["x-ccproxy-flow"]
        assert await client.rest() == b""  # what follows is never taken for a request
    assert upstream.requests == []


async def test_a_body_that_looks_like_a_request_stays_a_body(proxy: Proxy, upstream: Upstream) -> None:
    async with proxy.connect() as client:
        for _ in range(2):
            assert (await client.ask(request("/api/v1/files", TAIL, ("Content-Type", "text/plain")))).status == 200
    assert [found.body for found in upstream.requests] == [TAIL, TAIL]


async def test_tls_spoken_to_a_plain_port(proxy: Proxy) -> None:
    async with proxy.connect() as client:
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 64)
        answer = await client.answer()
        assert answer.status == 400
        assert "http://" in answer.message


async def test_http2_with_prior_knowledge(proxy: Proxy) -> None:
    async with proxy.connect() as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        answer = await client.answer()
        assert (answer.status, answer["content-type"]) == (400, "application/json")


@pytest.mark.parametrize("route", NATIVE, ids=lambda route: route.name)
async def test_an_upgrade_to_http2_is_ignored(proxy: Proxy, upstream: Upstream, route: object) -> None:
    fields = (
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    )
    answer = await proxy.post(route.path, route.body, *fields)  # type: ignore[attr-defined]
    assert answer.status == 200
    assert (
        upstream.last.values("upgrade") + upstream.last.values("http2-settings") + upstream.last.values("connection")
        == []
    )
