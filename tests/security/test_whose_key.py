"""Which credential an upstream gets: the configured one, or the client's own where that is allowed, and nothing else of the client's."""

from __future__ import annotations

import base64
import json

import pytest

from tests.conftest import Serve
from tests.fakes.client import message
from tests.fakes.proxy import ANTHROPIC_KEY, CODEX_KEY, OWN_KEY, Proxy
from tests.fakes.routes import NATIVE, Native
from tests.fakes.upstream import Received, Upstream, Wire

CLAUDE = "sk-ant-" + "clients-own"


def jwt() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': 'clients-own'})}.c2ln"


def carriers(key: str) -> list[tuple[str, str]]:
    return [
        ("x-api-key", key),
        ("X-API-KEY", key),
        ("Authorization", f"Bearer {key}"),
        ("authorization", f"bearer  {key}"),
        ("Authorization", key),
    ]


@pytest.mark.parametrize("key", ["dummy", CLAUDE, jwt(), "sk-" + "openai-like", ""])
@pytest.mark.parametrize("route", NATIVE, ids=lambda route: route.name)
async def test_with_a_configured_key_the_clients_own_never_goes_upstream(
    proxy: Proxy, upstream: Upstream, route: Native, key: str
) -> None:
    for carrier in carriers(key):
        answer = await proxy.post(
            route.path,
            route.body,
            carrier,
            ("Cookie", "session=clients-own"),
            ("Proxy-Authorization", "Basic clients-own"),
        )
        assert answer.status == 200
        sent = upstream.last
        assert b"clients-own" not in sent.everything
        assert not key or key.encode() not in sent.everything
        assert len(sent.values("x-api-key") + sent.values("authorization")) == 1
        assert sent.values("cookie") == []


@pytest.mark.parametrize(
    ("provider", "path", "body", "key", "passes"),
    [
        ("claude_api", "/api/v1/messages", message(), CLAUDE, True),
        ("claude_api", "/api/v1/messages", message(), "dummy", False),
        ("claude_api", "/api/v1/messages", message(), "sk-" + "openai-like", False),
        ("claude_api", "/api/v1/messages", message(), jwt(), False),
        ("claude_api", "/api/v1/messages", message(), "x" + CLAUDE, False),
        ("claude_api", "/api/v1/messages", message(), CLAUDE + " x", False),
        ("codex", "/api/codex/responses", NATIVE[2].body, jwt(), True),
        ("codex", "/api/codex/responses", NATIVE[2].body, "dummy", False),
        ("codex", "/api/codex/responses", NATIVE[2].body, CLAUDE, False),
        ("codex", "/api/codex/responses", NATIVE[2].body, "a.b.c", False),
    ],
)
async def test_without_one_a_key_of_the_providers_own_shape_passes(
    serve: Serve, upstream: Upstream, provider: str, path: str, body: bytes, key: str, passes: bool
) -> None:
    proxy: Proxy = await serve(providers={provider: {"api_key": ""}})
    for name, value in (("x-api-key", key), ("Authorization", f"Bearer {key}")):
        upstream.requests.clear()
        answer = await proxy.post(path, body, (name, value), ("Cookie", "c=1"))
        if passes:
            assert answer.status == 200
            # where and as the client sent it, but on Codex, which reads bearer tokens only
            sent = ("authorization", f"Bearer {key}") if provider == "codex" else (name, value)
            assert upstream.last.values(sent[0]) == [sent[1].encode()]
        else:
            assert answer.status == 401
            assert f"providers.{provider}.api_key" in answer.message
            assert "ccproxy auth login" in answer.message
            assert key not in answer.message
            assert upstream.requests == []


async def test_no_key_anywhere(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(providers={"claude_api": {"api_key": ""}, "codex": {"api_key": ""}})
    answer = await proxy.post("/api/v1/messages", message())
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
    assert "ccproxy auth login" in answer.message
    answer = await proxy.post("/api/codex/responses", NATIVE[2].body)
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
    assert "ccproxy auth login-openai" in answer.message
    assert upstream.connections == 0


async def test_passthrough_takes_the_clients_key_whatever_it_looks_like(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(providers={name: {"auth": "passthrough"} for name in ("claude_api", "codex", "zai")})
    for path, body in (
        ("/api/v1/messages", message()),
        ("/api/codex/responses", NATIVE[2].body),
        ("/zai/v1/messages", message()),
    ):
        for name, value in (("X-Api-Key", "anything"), ("Authorization", "Bearer anything")):
            assert (await proxy.post(path, body, (name, value))).status == 200
            sent = ("authorization", "Bearer anything") if "codex" in path else (name, value)
            assert upstream.last.values(sent[0]) == [sent[1].encode()]
            for configured in (ANTHROPIC_KEY, CODEX_KEY, OWN_KEY):
                assert configured.encode() not in upstream.last.everything
        assert (await proxy.post(path, body)).status == 401


async def test_api_key_takes_no_other(serve: Serve, upstream: Upstream) -> None:
    proxy: Proxy = await serve(providers={"claude_api": {"auth": "api_key", "api_key": ""}})
    answer = await proxy.post("/api/v1/messages", message(), ("x-api-key", CLAUDE))
    assert answer.status == 401
    assert "providers.claude_api.api_key" in answer.message
    assert upstream.connections == 0


async def test_an_own_provider_without_a_key_gets_none(serve: Serve, upstream: Upstream) -> None:
    """Many local servers want none, and the client's is none of theirs."""
    proxy: Proxy = await serve(providers={"zai": {"api_key": ""}})
    assert (await proxy.post("/zai/v1/messages", message(), ("x-api-key", CLAUDE))).status == 200
    assert upstream.last.values("x-api-key") + upstream.last.values("authorization") == []


async def test_an_own_providers_own_header(serve: Serve, upstream: Upstream) -> None:
    """What the client sends under the name that the key goes by is a key too."""
    proxy: Proxy = await serve(providers={"zai": {"header": "Api-Key"}})
    assert (
        await proxy.post("/zai/v1/messages", message(), ("api-key", "clients-own"), ("API-KEY", "clients-own"))
    ).status == 200
    assert upstream.last.values("api-key") == [OWN_KEY.encode()]
    proxy = await serve(providers={"zai": {"header": "api-key", "auth": "passthrough"}})
    assert (await proxy.post("/zai/v1/messages", message(), ("Api-Key", "clients-own"))).status == 200
    assert upstream.last.values("api-key") == [b"clients-own"]


async def test_keys_of_the_proxys_own_environment_are_never_read(
    serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CODEX_API_KEY",
    ):
        monkeypatch.setenv(name, "sk-ant-" + "environment")
    proxy: Proxy = await serve(providers={"claude_api": {"api_key": ""}, "codex": {"api_key": ""}})
    assert (await proxy.post("/api/v1/messages", message())).status == 401
    assert (await proxy.post("/api/codex/responses", NATIVE[2].body)).status == 401
    assert upstream.connections == 0


async def test_a_redirect_takes_no_key_along(proxy: Proxy, upstream: Upstream) -> None:
    async with Upstream() as elsewhere:

        async def script(wire: Wire, _: Received) -> None:
            await wire.answer(307, b"", ("Location", f"{elsewhere.url}/v1/messages"))

        upstream.script = script
        assert (await proxy.post("/api/v1/messages", message())).status == 307
        assert elsewhere.connections == 0
