"""Which credential an upstream gets: the configured one, or the client's own where that is allowed, and nothing else of the client's."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

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


# ---- other vendors' keys, and what describes the client's network or page

FOREIGN = (
    ("Api-Key", "foreign-1"), ("x-goog-api-key", "foreign-2"), ("Ocp-Apim-Subscription-Key", "foreign-3"), ("x-functions-key", "foreign-4"),
    ("X-Auth-Token", "foreign-5"), ("Cookie", "session=foreign-6"), ("Proxy-Authorization", "Basic foreign-7"), ("x-vendor-token", "foreign-8"),
    ("Referer", "http://localhost/foreign-9"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "same-origin"),
    ("X-Forwarded-For", "foreign-10"), ("X-Forwarded-Host", "foreign-11"), ("X-Real-IP", "foreign-12"), ("Forwarded", "for=foreign-13"),
    ("Via", "1.1 foreign-14"), ("True-Client-IP", "foreign-15"), ("CF-Connecting-IP", "foreign-16"), ("Sec-CH-UA", "foreign-17"),
    ("Origin", "http://localhost"),
)  # fmt: skip
QUERY = "beta=true&key=foreign-18&x=%2F;&API_KEY=foreign-19&%6Bey=foreign-20&y=+&access_token=foreign-21"
STAYS = "beta=true&x=%2F;&y=+"


def names_sent(sent: Received) -> set[str]:
    return {name.decode().lower() for name, _ in sent.fields}


def assert_nothing_foreign(sent: Received) -> None:
    assert b"foreign-" not in sent.everything
    assert not names_sent(sent) & {name.lower() for name, _ in FOREIGN}


TRANSLATED = (
    ("/api/v1/chat/completions", json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()),
    ("/api/v1/responses", json.dumps({"model": "m", "input": "hi"}).encode()),
    ("/api/codex/v1/messages", message()),
    ("/zai/v1/chat/completions", json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()),
    ("/chatty/v1/messages", message()),
    ("/respy/v1/messages", message()),
)


@pytest.mark.parametrize(("auth", "key"), [("api_key", "dummy"), ("passthrough", "passed-on")])
@pytest.mark.parametrize("route", NATIVE, ids=lambda route: route.name)
async def test_other_vendors_keys_and_the_clients_network_stay_here(
    serve: Serve, upstream: Upstream, route: Native, auth: str, key: str
) -> None:
    proxy: Proxy = await serve(
        providers={name: {"auth": auth} for name in ("claude_api", "codex", "zai", "chatty", "respy")}
    )
    answer = await proxy.post(f"{route.path}?{QUERY}", route.body, *FOREIGN, ("Authorization", f"Bearer {key}"))
    assert answer.status == 200
    assert_nothing_foreign(upstream.last)
    assert upstream.last.target.partition("?")[2] == STAYS
    assert (key.encode() in upstream.last.everything) is (auth == "passthrough")


@pytest.mark.parametrize("auth", ["api_key", "passthrough"])
@pytest.mark.parametrize(("path", "body"), TRANSLATED)
async def test_they_stay_here_where_a_request_is_translated(
    serve: Serve, upstream: Upstream, path: str, body: bytes, auth: str
) -> None:
    proxy: Proxy = await serve(
        providers={name: {"auth": auth} for name in ("claude_api", "codex", "zai", "chatty", "respy")}
    )
    await proxy.post(f"{path}?{QUERY}", body, *FOREIGN, ("x-api-key", "passed-on"))
    assert upstream.requests
    for sent in upstream.requests:  # the list of models is among them
        assert_nothing_foreign(sent)
        assert sent.target.partition("?")[2] in {"", "limit=1000", "client_version=0.169.0"}
        assert (b"passed-on" in sent.everything) is (auth == "passthrough")


async def test_they_stay_here_where_models_and_other_paths_are_asked_for(proxy: Proxy, upstream: Upstream) -> None:
    paths = (
        "/api/v1/models",
        "/api/v1/models/m",
        "/api/codex/models",
        "/chatty/v1/models",
        "/api/v1/files",
        "/api/codex/wham/usage",
    )
    for path in paths:
        for agent in ("curl", "OpenAI/Python 3"):
            await proxy.get(f"{path}?{QUERY}", *FOREIGN, ("User-Agent", agent))
    assert upstream.requests
    for sent in upstream.requests:
        assert_nothing_foreign(sent)
        assert sent.target.partition("?")[2] in {STAYS, "limit=1000", "client_version=0.169.0"}


def files_below(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_a_key_in_the_query_is_neither_logged_nor_kept(
    serve: Serve, upstream: Upstream, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    raw = tmp_path / "raw"
    proxy: Proxy = await serve(
        raw_log={"enabled": True, "dir": str(raw)}, ledger={"enabled": True, "url": f"sqlite:///{tmp_path}/ledger.db"}
    )
    for path in ("/api/v1/messages", "/api/v1/nothing", "/mock/v1/messages", "/nothing", "/api/v1/chat/completions"):
        await proxy.post(f"{path}?{QUERY}", message())
    proxy.host.stop()
    await proxy.task
    assert "foreign-" not in caplog.text
    written = files_below(tmp_path)
    assert any(raw in file.parents for file in written)
    for file, data in written.items():
        assert b"foreign-" not in data, file


async def test_the_account_of_another_login_stays_here(serve: Serve, upstream: Upstream) -> None:
    """ChatGPT's header with a ChatGPT token, and with nothing else."""
    account = ("ChatGPT-Account-ID", "clients-account")
    proxy: Proxy = await serve(providers={"codex": {"api_key": ""}})
    assert (
        await proxy.post("/api/codex/responses", NATIVE[2].body, account, ("Authorization", f"Bearer {jwt()}"))
    ).status == 200
    assert upstream.last.values("chatgpt-account-id") == [b"clients-account"]
    for path, body in (("/api/v1/messages", message()), ("/respy/v1/responses", NATIVE[2].body)):
        assert (await proxy.post(path, body, account)).status == 200
        assert upstream.last.values("chatgpt-account-id") == []
    proxy = await serve()
    assert (await proxy.post("/api/codex/responses", NATIVE[2].body, account)).status == 200
    assert upstream.last.values("chatgpt-account-id") == []


async def test_an_upstream_says_nothing_in_our_name(proxy: Proxy, upstream: Upstream) -> None:
    async def script(wire: Wire, _: Received) -> None:
        fields = (
            ("X-CCProxy-Flow", "theirs"),
            ("x-ccproxy-cost-usd", "0"),
            ("Connection", "x-hop"),
            ("x-hop", "1"),
            ("X-End", "2"),
        )
        await wire.answer(200, b"{}", *fields)

    upstream.script = script
    answer = await proxy.post("/api/v1/messages", message())
    assert answer.values("x-ccproxy-flow") != [b"theirs"]
    assert len(answer.values("x-ccproxy-flow")) == 1
    assert answer.values("x-ccproxy-cost-usd") + answer.values("x-hop") + answer.values("connection") == []
    assert answer.values("x-end") == [b"2"]


# ---- what one client's key may see is not shown to another


def listing(wire: Wire, request: Received) -> Any:
    key = (request.values("x-api-key") + request.values("authorization"))[0].decode().rpartition(" ")[2]
    models = [{"id": f"model-of-{key}", "type": "model", "max_tokens": len(key)}]
    return wire.answer(200, json.dumps({"data": models, "models": models}).encode())


@pytest.mark.parametrize(
    ("auth", "keys"), [("passthrough", ("one", "another")), ("auto", (CLAUDE + "-1", CLAUDE + "-22"))]
)
async def test_each_key_gets_its_own_list_of_models(
    serve: Serve, upstream: Upstream, auth: str, keys: tuple[str, str]
) -> None:
    upstream.script = listing
    proxy: Proxy = await serve(providers={"claude_api": {"auth": auth, "api_key": ""}})
    for _ in range(2):
        for key in keys:
            for carrier in (("x-api-key", key), ("Authorization", f"Bearer {key}")):
                answer = await proxy.get("/api/v1/models", carrier, ("User-Agent", "OpenAI/Python 3"))
                assert [model["id"] for model in answer.json["data"]] == [f"model-of-{key}"]
                answer = await proxy.get(
                    f"/api/v1/models/model-of-{keys[0]}", carrier, ("User-Agent", "OpenAI/Python 3")
                )
                assert answer.status == (200 if key == keys[0] else 404)
    assert len(upstream.requests) == 4  # one for each key and each header: then they are remembered


async def test_a_request_is_translated_by_what_its_own_key_may_see(serve: Serve, upstream: Upstream) -> None:
    async def script(wire: Wire, request: Received) -> None:
        if request.method == "GET":
            key = request.values("x-api-key")[0].decode()
            await wire.answer(200, json.dumps({"data": [{"id": "claude-x", "max_tokens": len(key)}]}).encode())
        else:
            await wire.answer()

    upstream.script = script
    proxy: Proxy = await serve(providers={"claude_api": {"auth": "passthrough"}})
    body = json.dumps({"model": "claude-x", "messages": [{"role": "user", "content": "hi"}]}).encode()
    for key in ("four", "sevenxx", "four"):
        await proxy.post("/api/v1/chat/completions", body, ("x-api-key", key))
        assert upstream.last.json["max_tokens"] == len(key)
