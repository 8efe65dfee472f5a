"""Stored logins through the gateway: on the wire and nowhere else, renewed once, and never a key that is not the provider's."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from mitmproxy import http

from ccproxy.auth.store import Store
from ccproxy.providers.identity import LINE
from ccproxy.translate.formats import Format
from tests.conftest import Serve
from tests.fakes.claude import Claude
from tests.fakes.client import message
from tests.fakes.codex import Codex
from tests.fakes.oauth import FakeOAuth, Reply, codex_jwt
from tests.fakes.plot import Json, Said
from tests.fakes.proxy import Proxy
from tests.fakes.routes import RESPONSES_BODY
from tests.fakes.talk import talking
from tests.fakes.upstream import Received, Upstream, Wire
from tests.unit.auth.conftest import stored

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES
SAID = [Said("", "Hello.")]
PLAIN: Json = {"tools": None}


@dataclass(frozen=True)
class Vendor:
    """A provider with logins, and what its users have."""

    name: str
    prefix: str
    model: str
    command: str
    token_path: str

    def fake(self, accepts: Callable[[str], bool] = bool) -> Claude | Codex:
        return (Claude if self.name == "claude_api" else Codex)(SAID, accepts=accepts)


CLAUDE = Vendor("claude_api", "/api", "claude-opus-5-5", "ccproxy auth login", "/v1/oauth/token")
CODEX = Vendor("codex", "/api/codex", "gpt-5.5", "ccproxy auth login-openai", "/oauth/token")

VENDORS = pytest.mark.parametrize("vendor", [CLAUDE, CODEX], ids=lambda vendor: vendor.name)
TWO_CLIENTS = pytest.mark.parametrize("fmt", [A, C], ids=lambda fmt: fmt.value)
CLIENTS = pytest.mark.parametrize("fmt", [A, C, R], ids=lambda fmt: fmt.value)
WAYS = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


@dataclass
class Watch:
    """An addon that sees what all addons see: flows as mitmweb, dumps and scripts have them."""

    seen: list[str] = field(default_factory=list)

    def _note(self, flow: http.HTTPFlow) -> None:
        self.seen.append(repr(flow.get_state()))

    requestheaders = request = responseheaders = response = error = _note


@dataclass
class House:
    """A vendor's OAuth server, its API, and a ccproxy between."""

    oauth: FakeOAuth
    upstream: Upstream
    store: Store
    serve: Serve

    def signs_in(self, vendor: Vendor, *, left: timedelta = timedelta(hours=7)) -> str:
        """Store a login; its access token."""
        client = self.oauth.claude if vendor is CLAUDE else self.oauth.codex
        login = stored(self.store, self.oauth, client, datetime.now(UTC), left=left)
        return login.access_token.get_secret_value()

    async def start(self, **more: Any) -> Proxy:
        claude, codex = self.oauth.claude, self.oauth.codex
        providers = {
            "claude_api": {"api_key": "", "oauth": {"token_url": claude.token_url}},
            "codex": {"api_key": "", "oauth": {"token_url": codex.token_url}},
        }
        for name, sections in more.pop("providers", {}).items():
            providers[name].update(sections)
        proxy: Proxy = await self.serve(auth={"dir": str(self.store.folder)}, providers=providers, **more)
        return proxy

    def issued(self, token: str) -> bool:
        """Whether the vendor gave this token out after the first one."""
        return token in self.oauth.secrets and not token.endswith("-access-first")

    def refreshes(self, vendor: Vendor) -> int:
        return self.oauth.count(vendor.token_path, grant_type="refresh_token")

    @property
    def posts(self) -> list[Received]:
        return [request for request in self.upstream.requests if request.method == "POST"]


@pytest.fixture
def oauth(caplog: pytest.LogCaptureFixture) -> Iterator[FakeOAuth]:
    """Its secrets must not be in the log, however talkative that is."""
    caplog.set_level(logging.DEBUG)
    with FakeOAuth() as fake:
        yield fake
    logged = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert not [secret for secret in fake.secrets if secret in logged]


@pytest.fixture
def house(oauth: FakeOAuth, upstream: Upstream, tmp_path: Path, serve: Serve) -> House:
    return House(oauth, upstream, Store(tmp_path / "auth"), serve)


def bearer(request: Received) -> str:
    (value,) = request.values("authorization")
    return value.decode().removeprefix("Bearer ")


async def asks(proxy: Proxy, vendor: Vendor, fmt: Format, *, streamed: bool, key: str = "dummy", **options: Any) -> str:
    async with talking(fmt, proxy.url + vendor.prefix, vendor.model, key=key, **PLAIN, **options) as talk:
        talk.says("Hello?")
        return (await talk.turn(streamed=streamed)).text


# --- a login ---------------------------------------------------------------------------------------------------------


@VENDORS
@CLIENTS
@WAYS
async def test_a_login_is_on_the_wire_and_nowhere_else(
    vendor: Vendor, fmt: Format, streamed: bool, house: House
) -> None:
    token = house.signs_in(vendor)
    house.upstream.script = vendor.fake(lambda key: key == token)
    proxy = await house.start()
    watch = Watch()
    proxy.host.master.addons.add(watch)
    async with talking(fmt, proxy.url + vendor.prefix, vendor.model, **PLAIN) as talk:
        talk.says("Hello?")
        heard = await talk.turn(streamed=streamed)
        told = str(heard.body) + str(talk.heads)
    assert heard.text == "Hello."
    assert bearer(house.posts[-1]) == token
    assert not house.posts[-1].values("x-api-key")
    assert "dummy" not in str([request.head for request in house.upstream.requests])
    assert watch.seen
    assert token not in "".join(watch.seen)
    assert token not in told
    assert not house.oauth.requests


async def test_the_headers_of_a_claude_login(house: House) -> None:
    token = house.signs_in(CLAUDE)
    proxy = await house.start()
    sent = (("anthropic-beta", "one-2026-01-01,two-2026-02-02"), ("x-api-key", "sk-ant-" + "dummy"))
    await proxy.post("/api/v1/messages?beta=true", message(), *sent)
    last = house.upstream.last
    assert last.target == "/v1/messages?beta=true"
    assert last.values("anthropic-beta") == [b"one-2026-01-01,two-2026-02-02,oauth-2025-04-20"]
    assert last.values("anthropic-version") == [b"2023-06-01"]
    assert last.values("authorization") == [b"Bearer " + token.encode()]
    assert last.values("x-api-key") == []
    assert last.body == message()


async def test_the_headers_of_a_codex_login(house: House) -> None:
    token = house.signs_in(CODEX)
    proxy = await house.start()
    await proxy.post("/api/codex/my-session/responses", RESPONSES_BODY, ("chatgpt-account-id", "someone else"))
    last = house.upstream.last
    assert last.values("authorization") == [b"Bearer " + token.encode()]
    assert last.values("chatgpt-account-id") == [b"acct-1"]
    assert last.values("originator") == [b"ccproxy"]
    assert last.values("session-id") == [b"my-session"]
    assert last.body == RESPONSES_BODY


@VENDORS
async def test_a_login_in_another_terminal_counts_at_once(vendor: Vendor, house: House) -> None:
    house.upstream.script = vendor.fake()
    proxy = await house.start()
    with pytest.raises(openai.AuthenticationError):
        await asks(proxy, vendor, C, streamed=False)
    token = house.signs_in(vendor)
    assert await asks(proxy, vendor, C, streamed=False) == "Hello."
    assert bearer(house.posts[-1]) == token


@VENDORS
async def test_a_token_that_has_ended_is_renewed_before_anything_goes_out(vendor: Vendor, house: House) -> None:
    house.signs_in(vendor, left=timedelta(seconds=-1))
    house.upstream.script = vendor.fake(house.issued)
    proxy = await house.start()
    assert await asks(proxy, vendor, A, streamed=True) == "Hello."
    assert house.refreshes(vendor) == len(house.posts) == 1


# --- refused by the upstream -----------------------------------------------------------------------------------------


@VENDORS
@CLIENTS
@WAYS
async def test_a_refused_token_is_renewed_once_and_the_request_sent_again(
    vendor: Vendor, fmt: Format, streamed: bool, house: House
) -> None:
    first = house.signs_in(vendor)
    house.upstream.script = vendor.fake(house.issued)
    proxy = await house.start()
    assert await asks(proxy, vendor, fmt, streamed=streamed) == "Hello."
    assert [bearer(request) == first for request in house.posts] == [True, False]
    assert house.posts[0].body == house.posts[1].body
    assert house.refreshes(vendor) == 1
    assert json.loads(house.store.path(vendor.name).read_text("utf-8"))["access_token"] == bearer(house.posts[1])
    assert await asks(proxy, vendor, fmt, streamed=streamed) == "Hello."
    assert len(house.posts) == 3
    assert house.refreshes(vendor) == 1


@pytest.mark.parametrize(
    ("vendor", "path", "body"),
    [(CLAUDE, "/api/v1/messages", message()), (CODEX, "/api/codex/responses", RESPONSES_BODY)],
    ids=["claude", "codex"],
)
async def test_a_second_refusal_reaches_the_client_as_it_is(
    vendor: Vendor, path: str, body: bytes, house: House
) -> None:
    house.signs_in(vendor)
    refusal = b'{"error" : {"message":"no, and in my own words"} }'

    async def refuses(wire: Wire, _: Received) -> None:
        await wire.answer(401, refusal, ("x-own", "kept"), reason="Unauthorized")

    house.upstream.script = refuses
    proxy = await house.start()
    answer = await proxy.post(path, body)
    assert answer.status == 401
    assert answer.body == refusal
    assert answer["x-own"] == "kept"
    assert len(house.posts) == 2
    assert house.refreshes(vendor) == 1


@VENDORS
@CLIENTS
async def test_a_second_refusal_in_the_clients_own_format(vendor: Vendor, fmt: Format, house: House) -> None:
    house.signs_in(vendor)
    house.upstream.script = vendor.fake(lambda _: False)
    proxy = await house.start()
    with pytest.raises((anthropic.AuthenticationError, openai.AuthenticationError)):
        await asks(proxy, vendor, fmt, streamed=True)
    assert len(house.posts) == 2
    assert house.refreshes(vendor) == 1


@VENDORS
async def test_requests_in_parallel_share_one_refresh(vendor: Vendor, house: House) -> None:
    house.signs_in(vendor)
    house.upstream.script = vendor.fake(house.issued)
    proxy = await house.start()
    kinds = [(fmt, streamed) for fmt in (A, C, R) for streamed in (True, False)] * 2
    answers = await asyncio.gather(*(asks(proxy, vendor, fmt, streamed=streamed) for fmt, streamed in kinds[:10]))
    assert answers == ["Hello."] * 10
    assert house.refreshes(vendor) == 1


@VENDORS
async def test_a_login_that_the_vendor_ended_names_the_command(vendor: Vendor, house: House) -> None:
    house.signs_in(vendor)
    house.upstream.script = vendor.fake(house.issued)
    house.oauth.answers[vendor.token_path] = [Reply(400, {"error": "invalid_grant", "error_description": "ended"})]
    proxy = await house.start()
    for _ in range(2):  # the vendor is asked once: it has answered for good
        with pytest.raises(openai.AuthenticationError) as caught:
            await asks(proxy, vendor, C, streamed=True)
        assert f"`{vendor.command}`" in caught.value.message
    assert house.refreshes(vendor) == 1


@VENDORS
async def test_a_redirect_does_not_take_the_token_along(vendor: Vendor, house: House) -> None:
    token = house.signs_in(vendor)
    async with Upstream() as elsewhere:

        async def redirects(wire: Wire, _: Received) -> None:
            await wire.answer(307, b"{}", ("location", f"{elsewhere.url}/v1/messages"), reason="Temporary Redirect")

        house.upstream.script = redirects
        proxy = await house.start()
        body = message() if vendor is CLAUDE else RESPONSES_BODY
        path = "/api/v1/messages" if vendor is CLAUDE else "/api/codex/responses"
        answer = await proxy.post(path, body)
        translated = await proxy.post(f"{vendor.prefix}/v1/chat/completions", message())
        assert token.encode() not in answer.head + answer.body + translated.head + translated.body
        assert not elsewhere.requests


# --- no login --------------------------------------------------------------------------------------------------------


@VENDORS
@CLIENTS
async def test_without_a_login_the_answer_names_the_command(vendor: Vendor, fmt: Format, house: House) -> None:
    house.upstream.script = vendor.fake()
    proxy = await house.start()
    with pytest.raises((anthropic.AuthenticationError, openai.AuthenticationError)) as caught:
        await asks(proxy, vendor, fmt, streamed=True)
    assert f"`{vendor.command}`" in caught.value.message
    body: Any = caught.value.body
    assert body["error"]["type"] == "authentication_error" if fmt is A else body["code"] == "invalid_api_key"
    assert not house.upstream.requests


OPENAI_KEY, CLAUDE_KEY = "sk-proj-" + "dummy", "sk-ant-" + "dummy"


@pytest.mark.parametrize(
    ("vendor", "key", "passes"),
    [
        (CLAUDE, OPENAI_KEY, False),
        (CLAUDE, CLAUDE_KEY, True),
        (CLAUDE, "a JWT", False),
        (CODEX, OPENAI_KEY, False),
        (CODEX, CLAUDE_KEY, False),
        (CODEX, "a JWT", True),
    ],
    ids=["openai-to-claude", "claude-to-claude", "jwt-to-claude", "openai-to-codex", "claude-to-codex", "jwt-to-codex"],
)
@TWO_CLIENTS
async def test_a_clients_own_key_goes_to_its_own_vendor_only(
    vendor: Vendor, key: str, passes: bool, fmt: Format, house: House
) -> None:
    key = codex_jwt() if key == "a JWT" else key
    house.upstream.script = vendor.fake(lambda came: came == key)
    proxy = await house.start()
    if passes:
        assert await asks(proxy, vendor, fmt, streamed=True, key=key) == "Hello."
    else:
        with pytest.raises((anthropic.AuthenticationError, openai.AuthenticationError)):
            await asks(proxy, vendor, fmt, streamed=True, key=key)
        assert not house.upstream.requests


@pytest.mark.parametrize("sent", [(), (("ChatGPT-Account-ID", "acct-2"),)], ids=["none", "own"])
@pytest.mark.parametrize("carrier", ["authorization", "x-api-key"])
async def test_codex_reads_a_bearer_token_only(carrier: str, sent: tuple[tuple[str, str], ...], house: House) -> None:
    key = codex_jwt()
    proxy = await house.start()
    given = f"Bearer {key}" if carrier == "authorization" else key
    await proxy.post("/api/codex/responses", RESPONSES_BODY, (carrier, given), *sent)
    last = house.upstream.last
    assert bearer(last) == key
    assert not last.values("x-api-key")
    assert last.values("chatgpt-account-id") == [b"acct-2" if sent else b"acct-1"]


@VENDORS
async def test_a_login_goes_before_the_clients_own_key(vendor: Vendor, house: House) -> None:
    token, key = house.signs_in(vendor), CLAUDE_KEY if vendor is CLAUDE else codex_jwt()
    house.upstream.script = vendor.fake()
    proxy = await house.start()
    assert await asks(proxy, vendor, A, streamed=False, key=key) == "Hello."
    assert bearer(house.posts[-1]) == token
    assert key.encode() not in b"".join(request.everything for request in house.upstream.requests)


@VENDORS
@TWO_CLIENTS
@pytest.mark.parametrize("auth", ["auto", "passthrough"])
async def test_the_token_of_ccproxy_itself_goes_nowhere(vendor: Vendor, fmt: Format, auth: str, house: House) -> None:
    own = CLAUDE_KEY if vendor is CLAUDE else codex_jwt()  # of the shape that would pass
    house.upstream.script = vendor.fake()
    proxy = await house.start(server={"auth_token": own}, providers={vendor.name: {"auth": auth}})
    with pytest.raises((anthropic.AuthenticationError, openai.AuthenticationError)):
        await asks(proxy, vendor, fmt, streamed=True, key=own)
    assert not house.upstream.requests
    async with talking(fmt, proxy.url + vendor.prefix, vendor.model, key=own + "x", **PLAIN) as talk:
        talk.sdk = talk.sdk.with_options(default_headers={"x-ccproxy-token": own})
        talk.says("Hello?")
        if vendor is CODEX and auth == "auto":
            return  # a JWT that is longer is none
        assert (await talk.turn(streamed=True)).text == "Hello."
    everything = b"".join(request.everything for request in house.upstream.requests)
    assert own.encode() + b"x" in everything
    assert own.encode() not in everything.replace(own.encode() + b"x", b"")


@VENDORS
async def test_a_wrong_token_for_ccproxy_is_refused_before_anything_else(vendor: Vendor, house: House) -> None:
    house.signs_in(vendor)
    house.upstream.script = vendor.fake()
    proxy = await house.start(server={"auth_token": "the-right-one"})
    with pytest.raises(openai.AuthenticationError, match=r"server\.auth_token"):
        await asks(proxy, vendor, C, streamed=True, key="a-wrong-one")
    assert await asks(proxy, vendor, C, streamed=True, key="the-right-one") == "Hello."
    assert b"the-right-one" not in b"".join(request.everything for request in house.upstream.requests)


# --- the identity line -----------------------------------------------------------------------------------------------

SYSTEM = '{"model":"claude-opus-5-5","max_tokens":9,"system":"Be\\u0020brief.","messages":[{"role":"user","content":"caf\\u00e9"}]}'


async def test_the_identity_line_goes_in_front_where_its_user_wants_it(house: House) -> None:
    house.signs_in(CLAUDE)
    proxy = await house.start(providers={"claude_api": {"identity": True}})
    assert (await proxy.post("/api/v1/messages", SYSTEM.encode())).status == 200
    sent = house.posts[-1].body.decode()
    assert [block["text"] for block in json.loads(sent)["system"]] == [LINE, "Be brief."]
    before, after = SYSTEM.split('"Be\\u0020brief."')
    assert sent.startswith(before)
    assert sent.endswith(after)  # all else is as the client wrote it, escapes included


@pytest.mark.parametrize("identity", [True, False])
async def test_no_identity_line_for_haiku_or_without_consent(house: House, identity: bool) -> None:
    house.signs_in(CLAUDE)
    proxy = await house.start(providers={"claude_api": {"identity": identity}})
    body = SYSTEM.replace("opus", "haiku") if identity else SYSTEM
    await proxy.post("/api/v1/messages", body.encode())
    assert house.posts[-1].body == body.encode()


async def test_no_identity_line_with_an_api_key(house: House) -> None:
    proxy = await house.start(providers={"claude_api": {"identity": True, "api_key": "sk-ant-" + "configured"}})
    await proxy.post("/api/v1/messages", SYSTEM.encode())
    assert house.posts[-1].body == SYSTEM.encode()


async def test_the_identity_line_on_a_translated_request(house: House) -> None:
    house.signs_in(CLAUDE)
    fake = house.upstream.script = CLAUDE.fake()
    proxy = await house.start(providers={"claude_api": {"identity": True}})
    asked = {
        "model": "claude-opus-5-5",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }
    await proxy.post("/api/v1/chat/completions", json.dumps(asked).encode())
    assert fake
    assert [block["text"] for block in json.loads(house.posts[-1].body)["system"]] == [LINE, "Be brief."]


async def test_a_refusal_without_the_line_is_unchanged_and_hinted_at(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.signs_in(CLAUDE)
    refusal = b'{"type":"error","error":{"type":"invalid_request_error","message":"This credential is only authorized for use with Claude Code"}}'

    async def refuse(wire: Wire, _: Received) -> None:
        await wire.answer(400, refusal)

    house.upstream.script = refuse
    proxy = await house.start()
    answer = await proxy.post("/api/v1/messages", SYSTEM.encode())
    assert (answer.status, answer.body) == (400, refusal)
    assert "providers.claude_api.identity" in caplog.text
