"""Host, Origin and token: a listener on loopback is open to every web page that its user visits, and to every program on the machine."""

from __future__ import annotations

import hmac

import pytest

from ccproxy.addons.gateway import guard
from tests.conftest import Serve
from tests.fakes.client import message, request
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Upstream

TOKEN = "correct-horse"
PATHS = ["/api/v1/messages", "/api/codex/responses", "/mock/v1/messages", "/health", "/metrics", "/nothing/here"]


# ---- Host: a name of the attacker's that resolves to 127.0.0.1


@pytest.mark.parametrize(
    "host",
    [
        "evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test", "evil.test#localhost", "localhost@evil.test", "127.0.0.2",
        "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "192.168.1.2:8000", "localhost.", "localhost:abc", "localhost:", "localhost:\u00b2", "localhost:123456",
        "2130706433", "127.1", " evil.test",
        "localhost evil.test", "::1", "api.anthropic.com", "127.0.0.1:8000:8000", "localhost,evil.test",
    ],
)  # fmt: skip
async def test_a_foreign_host_is_refused(proxy: Proxy, upstream: Upstream, host: str) -> None:
    for path in PATHS:
        answer = await proxy.ask(request(path, message(), host=host))
        assert answer.status == 403, (path, answer.line)
        assert "server.allowed_hosts" in answer.message
    assert upstream.connections == 0


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8000", "Localhost"]
)
async def test_our_own_names_are_taken(proxy: Proxy, host: str) -> None:
    assert (await proxy.ask(request("/mock/v1/messages", message(), host=host))).status == 200


@pytest.mark.parametrize(
    "fields", [[], [""], ["localhost", "localhost"], ["localhost", "evil.test"], ["evil.test", "localhost"]]
)
async def test_there_must_be_one_host(proxy: Proxy, upstream: Upstream, fields: list[str]) -> None:
    answer = await proxy.ask(request("/api/v1/messages", message(), *(("Host", value) for value in fields), host=""))
    assert answer.status == 400
    assert "Host" in answer.message
    assert upstream.connections == 0


async def test_names_that_are_allowed(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"allowed_hosts": ["proxy.lan", "Box:8443"]})
    for host, status in (
        ("proxy.lan", 200), ("PROXY.LAN:8000", 200), ("box:8443", 200), ("box:1", 403), ("box", 403), ("x.proxy.lan", 403),
    ):  # fmt: skip
        assert (await proxy.ask(request("/mock/v1/messages", message(), host=host))).status == status, host


async def test_an_absolute_target_names_a_host_too(proxy: Proxy, upstream: Upstream) -> None:
    for target in (
        "http://evil.test/api/v1/messages",
        "http://evil.test:80/api/v1/messages",
        "https://api.anthropic.com/api/v1/messages",
    ):
        answer = await proxy.ask(request(target, message()))
        assert answer.status == 403
    assert upstream.connections == 0
    answer = await proxy.ask(request("http://localhost:8000/api/v1/messages", message()))
    assert (answer.status, upstream.last.target) == (200, "/v1/messages")
    assert (
        await proxy.ask(request("http://localhost:8000/api/v1/messages", message(), host="evil.test"))
    ).status == 403


# ---- Origin: another web page


@pytest.mark.parametrize(
    "fields",
    [
        [("Origin", "http://evil.test")], [("Origin", "null")], [("Origin", "http://localhost:3000")], [("Origin", "https://localhost")],
        [("Origin", "file://")], [("Origin", "http://localhost.evil.test")], [("Origin", "chrome-extension://abc")],
        [("Sec-Fetch-Site", "cross-site")], [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
        [("Origin", "http://localhost"), ("Sec-Fetch-Site", "cross-site")], [("Origin", "http://localhost"), ("Origin", "http://evil.test")],
    ],
    ids=repr,
)  # fmt: skip
async def test_a_foreign_page_is_refused(proxy: Proxy, upstream: Upstream, fields: list[tuple[str, str]]) -> None:
    for path in PATHS:
        for method in ("POST", "GET", "OPTIONS"):
            answer = await proxy.ask(request(path, message(), *fields, method=method))
            assert answer.status == 403, (path, method, answer.line)
            assert "server.allowed_origins" in answer.message
            assert not [name for name, _ in answer.fields if name.lower().startswith(b"access-control-")]
    assert upstream.connections == 0


@pytest.mark.parametrize(
    "fields",
    [
        [("Origin", "http://localhost")], [("Sec-Fetch-Site", "same-origin")], [("Sec-Fetch-Site", "none")],
        [("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")], [],
    ],
    ids=repr,
)  # fmt: skip
async def test_no_page_or_our_own(proxy: Proxy, fields: list[tuple[str, str]]) -> None:
    answer = await proxy.post("/mock/v1/messages", message(), *fields)
    assert answer.status == 200
    assert not [name for name, _ in answer.fields if name.lower().startswith(b"access-control-")]


async def test_no_cors_headers_whatever_is_asked_for(proxy: Proxy) -> None:
    for method in ("OPTIONS", "GET", "POST"):
        for path in PATHS:
            answer = await proxy.ask(request(path, message(), ("Access-Control-Request-Method", "POST"), method=method))
            assert not [name for name, _ in answer.fields if name.lower().startswith(b"access-control-")]


async def test_an_origin_that_is_allowed(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(server={"allowed_origins": ["https://app.test/", "http://localhost:3000"]})
    preflight = (
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    )
    for origin in ("https://app.test", "http://localhost:3000"):
        answer = await proxy.ask(request("/api/v1/messages", b"", ("Origin", origin), *preflight, method="OPTIONS"))
        assert answer.status == 204
        assert answer["access-control-allow-origin"] == origin
        assert "POST" in answer["access-control-allow-methods"]
        assert "authorization" in answer["access-control-allow-headers"]
        answer = await proxy.post("/api/v1/messages", message(), ("Origin", origin), ("Sec-Fetch-Site", "cross-site"))
        assert (answer.status, answer["access-control-allow-origin"]) == (200, origin)
        answer = await proxy.post("/api/v1/nothing", b"", ("Origin", origin), ("Content-Length", "0"))
        assert answer["access-control-allow-origin"] == origin
        assert answer.values("access-control-allow-credentials") == []
    assert (await proxy.post("/api/v1/messages", message(), ("Origin", "https://other.test"))).status == 403
    assert len(upstream.requests) == 4


async def test_an_error_for_an_allowed_origin_can_be_read_there(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"allowed_origins": ["https://app.test"], "auth_token": TOKEN})
    answer = await proxy.post("/api/v1/messages", message(), ("Origin", "https://app.test"))
    assert (answer.status, answer["access-control-allow-origin"]) == (401, "https://app.test")


async def test_every_403_names_the_setting(proxy: Proxy) -> None:
    for answer in (
        await proxy.ask(request("/health", host="evil.test", method="GET")),
        await proxy.get("/health", ("Origin", "http://evil.test")),
        await proxy.get("/health", ("Sec-Fetch-Site", "cross-site")),
    ):
        assert answer.status == 403
        assert answer["content-type"] == "application/json"
        assert "server.allowed_" in answer.message


# ---- the token


def carriers(token: str) -> list[tuple[str, str]]:
    return [
        ("x-ccproxy-token", token),
        ("Authorization", f"Bearer {token}"),
        ("authorization", f"bearer {token}"),
        ("X-Api-Key", token),
    ]


async def test_no_token_is_needed_on_loopback_by_default(proxy: Proxy) -> None:
    assert (await proxy.post("/api/v1/messages", message())).status == 200


@pytest.mark.parametrize(
    "path",
    ["/api/v1/messages", "/api/codex/responses", "/mock/v1/messages", "/mock/v1/models", "/health", "/metrics", "/"],
)
async def test_the_token_opens_and_nothing_else_does(serve: Serve, upstream: Upstream, path: str) -> None:
    proxy: Proxy = await serve(server={"auth_token": TOKEN})
    get = path in {"/health", "/metrics", "/", "/mock/v1/models"}
    body = b"" if get else message(instructions="", store=False, stream=True)
    for wrong in ("", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), " ", "Bearer"):
        for carrier in (
            *carriers(wrong),
            ("Cookie", TOKEN),
            ("X-Token", TOKEN),
            ("Proxy-Authorization", f"Bearer {TOKEN}"),
        ):
            answer = await proxy.ask(request(path, body, carrier, method="GET" if get else "POST"))
            assert answer.status == 401, carrier
            assert answer.json["error"]["type"] in {"authentication_error", "invalid_request_error"}
            assert TOKEN not in answer.message
    assert (await proxy.ask(request(path, body, method="GET" if get else "POST"))).status == 401
    assert upstream.connections == 0
    for carrier in carriers(TOKEN):
        answer = await proxy.ask(request(path, body, carrier, method="GET" if get else "POST"))
        assert answer.status == 200, carrier


async def test_what_supervisors_ask_needs_no_token(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"auth_token": TOKEN})
    for path in ("/health/live", "/health/ready"):
        answer = await proxy.get(path)
        assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_token_of_other_letters(serve: Serve) -> None:
    proxy: Proxy = await serve(server={"auth_token": "Schlüssel"})
    answer = await proxy.get("/mock/v1/models", ("x-ccproxy-token", "Schlüssel"))
    assert answer.status == 200
    assert (await proxy.get("/mock/v1/models", ("x-ccproxy-token", "Schlussel"))).status == 401


async def test_the_token_is_compared_in_constant_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that ends at the first difference tells how much of a guess is right."""
    compared: list[tuple[object, object]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(guard, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    proxy: Proxy = await serve(server={"auth_token": TOKEN})
    assert (await proxy.get("/mock/v1/models", ("x-api-key", "guess"))).status == 401
    assert compared == [(b"guess", TOKEN.encode())]


@pytest.mark.parametrize("auth", ["auto", "api_key", "passthrough"])
async def test_the_token_never_goes_upstream(serve: Serve, upstream: Upstream, auth: str) -> None:
    proxy: Proxy = await serve(server={"auth_token": TOKEN}, providers={"claude_api": {"auth": auth}})
    own = "sk-ant-" + "clients-own"
    for carrier in carriers(TOKEN):
        other = ("x-api-key", own) if carrier[0].lower() != "x-api-key" else ("Authorization", f"Bearer {own}")
        answer = await proxy.post("/api/v1/messages", message(), carrier, other, ("x-ccproxy-anything", TOKEN))
        assert answer.status == 200
        assert TOKEN.encode() not in upstream.last.everything


async def test_with_passthrough_a_token_alone_is_not_a_key(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(server={"auth_token": TOKEN}, providers={"claude_api": {"auth": "passthrough"}})
    for carrier in carriers(TOKEN):
        answer = await proxy.post("/api/v1/messages", message(), carrier)
        assert answer.status == 401
    assert upstream.connections == 0
