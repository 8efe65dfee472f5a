from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from ccproxy.auth.broker import Broker
from ccproxy.auth.credentials import Login
from ccproxy.auth.renewal import NoLogin
from ccproxy.auth.sources import ProviderAuth, Source
from ccproxy.auth.store import Store
from ccproxy.auth.wire import RequestCredential
from ccproxy.errors import LoginError, StartError, Unauthenticated, UpstreamUnreachable
from ccproxy.ledger.metrics import Metrics
from ccproxy.network import Network
from tests.fakes.oauth import FakeOAuth, Reply
from tests.unit.auth.conftest import Clock, stored

QUICK = Network(connect_timeout=30, read_timeout=30)
HOURS = timedelta(hours=7)
TWO_MINUTES = timedelta(minutes=2)
GONE = timedelta(seconds=-1)


@pytest.fixture
async def broker(server: FakeOAuth, store: Store, clock: Clock) -> AsyncIterator[Broker]:
    made = new_broker(server, store, clock)
    yield made
    await made.aclose()


def new_broker(server: FakeOAuth, store: Store, clock: Clock, **fields: object) -> Broker:
    providers = [
        ProviderAuth("claude_api", client=server.claude, **fields),  # type: ignore[arg-type]
        ProviderAuth("codex", client=server.codex, key_header="authorization"),
        ProviderAuth("mine", api_key=SecretStr("my-key")),
    ]
    return Broker(store, providers, network=QUICK, now=clock, own_token=SecretStr("own-token"))


def bearer(credential: RequestCredential) -> str:
    return dict(credential.headers)["authorization"].get_secret_value().removeprefix("Bearer ")


def on_disk(store: Store, name: str = "claude_api") -> dict[str, object]:
    document: dict[str, object] = json.loads(store.path(name).read_text("utf-8"))
    return document


async def settled(broker: Broker) -> None:
    await broker.aclose()


async def test_a_living_token_comes_from_memory(server: FakeOAuth, store: Store, clock: Clock, broker: Broker) -> None:
    login = stored(store, server, server.claude, clock(), left=HOURS)
    first = await broker.headers("claude_api")
    assert bearer(first) == login.access_token.get_secret_value()
    assert await broker.headers("claude_api") is first
    assert not server.requests


async def test_five_minutes_before_the_end_nobody_waits(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    login = stored(store, server, server.claude, clock(), left=TWO_MINUTES)
    answering = threading.Event()
    server.before_answer = lambda _: answering.wait(10)
    for _ in range(3):  # the vendor takes its time: requests go on with the token that still lives
        assert bearer(await broker.headers("claude_api")) == login.access_token.get_secret_value()
    answering.set()
    await settled(broker)
    assert bearer(await broker.headers("claude_api")) == on_disk(store)["access_token"] != "claude-access-first"
    assert server.count("/v1/oauth/token", grant_type="refresh_token") == 1


async def test_after_the_end_all_wait_for_one_refresh(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=HOURS)
    await broker.headers("claude_api")
    clock.forward(hours=9)  # the laptop slept
    credentials = await asyncio.gather(*(broker.headers("claude_api") for _ in range(20)))
    assert {bearer(credential) for credential in credentials} == {on_disk(store)["access_token"]}
    assert len(server.requests) == 1


async def test_each_question_to_the_vendor_is_counted(server: FakeOAuth, store: Store, clock: Clock) -> None:
    metrics = Metrics()
    broker = Broker(store, [ProviderAuth("claude_api", client=server.claude)], network=QUICK, now=clock, refreshed=metrics.refreshed)  # fmt: skip
    stored(store, server, server.claude, clock(), left=HOURS)
    await broker.headers("claude_api")
    clock.forward(hours=9)
    await broker.headers("claude_api")
    clock.forward(hours=9)
    server.refresh_tokens.clear()
    with pytest.raises(Unauthenticated):
        await broker.headers("claude_api")
    await broker.aclose()
    rendered = metrics.render().decode()
    assert 'ccproxy_refreshes_total{provider="claude_api",result="ok"} 1.0' in rendered
    assert 'ccproxy_refreshes_total{provider="claude_api",result="failed"} 1.0' in rendered


async def test_the_background_renews_without_requests(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    await broker.tick()
    await settled(broker)
    assert not server.requests
    clock.forward(hours=6, minutes=56)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await settled(broker)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await broker.run(pause)
    assert len(server.requests) == 1
    assert bearer(await broker.headers("codex")) == on_disk(store, "codex")["access_token"]


async def test_a_login_made_elsewhere_counts_at_once_and_so_does_a_logout(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    with pytest.raises(Unauthenticated, match="`ccproxy auth login`"):
        await broker.headers("claude_api")
    stored(store, server, server.claude, clock(), left=HOURS)
    assert (await broker.headers("claude_api")).source is Source.LOGIN
    stored(store, server, server.claude, clock(), left=HOURS, access_token=SecretStr("another"))
    assert bearer(await broker.headers("claude_api")) == "another"
    store.delete("claude_api")
    with pytest.raises(Unauthenticated, match="`ccproxy auth login`"):
        await broker.headers("claude_api")


async def test_what_another_process_renewed_is_adopted(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    other = new_broker(server, store, clock)
    one, two = await asyncio.gather(broker.headers("claude_api"), other.headers("claude_api"))
    assert bearer(one) == bearer(two)
    assert len(server.requests) == 1
    assert await broker.refresh_after_401("claude_api", one) is not None
    assert bearer(await other.headers("claude_api")) == on_disk(store)["access_token"]
    assert len(server.requests) == 2


@pytest.mark.parametrize("kind", ["claude_api", "codex"])
async def test_a_permanent_refusal_is_remembered_and_told(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker, kind: str
) -> None:
    client = server.claude if kind == "claude_api" else server.codex
    stored(store, server, client, clock(), left=GONE)
    server.refresh_tokens.clear()
    for _ in range(3):
        with pytest.raises(Unauthenticated, match=f"has ended .*: run `{client.command}`"):
            await broker.headers(kind)
    other = new_broker(server, store, clock)
    with pytest.raises(Unauthenticated, match=f"run `{client.command}`"):
        await other.headers(kind)
    assert len(server.requests) == 1  # the second process reads it in the file
    assert on_disk(store, kind)["refresh_token"], "the loser of a race must not clear the winner's login"
    stored(store, server, client, clock(), left=HOURS)
    assert (await broker.headers(kind)).source is Source.LOGIN


async def test_a_refused_refresh_leaves_the_living_token_alone(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=TWO_MINUTES)
    server.refresh_tokens.clear()
    for _ in range(3):
        assert bearer(await broker.headers("claude_api")) == "claude-access-first"
        await settled(broker)
    assert len(server.requests) == 1
    clock.forward(minutes=3)
    with pytest.raises(Unauthenticated, match="invalid_grant"):
        await broker.headers("claude_api")
    assert len(server.requests) == 1


async def test_a_lack_of_network_backs_off_and_uses_the_living_token(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=TWO_MINUTES)
    server.answers["/v1/oauth/token"] = [Reply(503)] * 100
    asked = []
    for _ in range(100):
        assert bearer(await broker.headers("claude_api")) == "claude-access-first"
        await settled(broker)
        asked.append(len(server.requests))
        clock.forward(seconds=1)
    # after 2, 4, 8, 16, 32 and 60 seconds
    assert [second for second in range(1, 100) if asked[second] > asked[second - 1]] == [2, 6, 14, 30, 62]
    server.answers.clear()
    clock.forward(seconds=25)
    assert bearer(await broker.headers("claude_api")) == on_disk(store)["access_token"]


async def test_an_ended_token_without_network_says_when_to_come_back(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    server.answers["/v1/oauth/token"] = [Reply(429, {}, {"Retry-After": "40"})]
    for _ in range(2):
        with pytest.raises(UpstreamUnreachable, match="no capacity now") as caught:
            await broker.headers("claude_api")
        assert caught.value.headers == {"retry-after": "40"}
    assert len(server.requests) == 1
    clock.forward(seconds=41)
    assert (await broker.headers("claude_api")).source is Source.LOGIN


async def test_a_request_that_goes_away_does_not_end_the_refresh(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    asked, answering = threading.Event(), threading.Event()

    def slowly(_: object) -> None:
        asked.set()
        answering.wait(10)

    server.before_answer = slowly
    waiting = [asyncio.create_task(broker.headers("claude_api")) for _ in range(2)]
    await asyncio.to_thread(asked.wait, 10)
    waiting[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    answering.set()
    assert bearer(await waiting[1]) == on_disk(store)["access_token"]
    assert len(server.requests) == 1


async def test_closing_waits_for_a_refresh(server: FakeOAuth, store: Store, clock: Clock) -> None:
    stored(store, server, server.claude, clock(), left=TWO_MINUTES)
    broker = new_broker(server, store, clock)
    await broker.headers("claude_api")
    await broker.aclose()
    assert on_disk(store)["access_token"] != "claude-access-first"


async def test_parallel_401s_share_one_refresh(server: FakeOAuth, store: Store, clock: Clock, broker: Broker) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    used = await broker.headers("codex")
    again = await asyncio.gather(*(broker.refresh_after_401("codex", used) for _ in range(20)))
    assert {bearer(each) for each in again if each is not None} == {on_disk(store, "codex")["access_token"]}
    late = await broker.refresh_after_401("codex", used)
    assert late is again[0]
    assert len(server.requests) == 1


async def test_a_401_after_a_refresh_elsewhere_needs_none(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    used = await broker.headers("codex")
    stored(store, server, server.codex, clock(), left=HOURS, access_token=SecretStr("theirs"))
    again = await broker.refresh_after_401("codex", used)
    assert again is not None
    assert bearer(again) == "theirs"
    assert not server.requests


async def test_an_upstream_that_refuses_everything_does_not_cost_token_after_token(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    replays = [await broker.refresh_after_401("codex", await broker.headers("codex")) for _ in range(6)]
    assert [replay is not None for replay in replays] == [True, True, True, False, False, False]
    assert (await broker.headers("codex")).source is Source.LOGIN  # and it stays in use
    assert len(server.requests) == 3
    clock.forward(seconds=61)
    assert await broker.refresh_after_401("codex", await broker.headers("codex")) is not None


async def test_a_401_with_a_dead_login_names_the_command(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    used = await broker.headers("codex")
    server.refresh_tokens.clear()
    for _ in range(2):
        with pytest.raises(Unauthenticated, match=r"refresh_token_reused.*run `ccproxy auth login-openai`"):
            await broker.refresh_after_401("codex", used)
    assert len(server.requests) == 1


async def test_a_401_without_network(server: FakeOAuth, store: Store, clock: Clock, broker: Broker) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    used = await broker.headers("codex")
    server.answers["/oauth/token"] = [Reply(500)]
    with pytest.raises(UpstreamUnreachable):
        await broker.refresh_after_401("codex", used)
    assert await broker.headers("codex") is used  # one 401 may have been the upstream's mistake


async def test_a_401_after_a_logout(server: FakeOAuth, store: Store, clock: Clock, broker: Broker) -> None:
    stored(store, server, server.codex, clock(), left=HOURS)
    used = await broker.headers("codex")
    store.delete("codex")
    with pytest.raises(Unauthenticated, match="`ccproxy auth login-openai`"):
        await broker.refresh_after_401("codex", used)


async def test_only_a_login_can_be_renewed(broker: Broker) -> None:
    key = await broker.headers("mine")
    passed = await broker.headers("claude_api", ((b"x-api-key", b"sk-ant-dummy"),))
    assert (key.source, passed.source) == (Source.API_KEY, Source.CLIENT)
    assert await broker.refresh_after_401("mine", key) is None
    assert await broker.refresh_after_401("claude_api", passed) is None


async def test_a_configured_key_comes_first_and_needs_no_file(server: FakeOAuth, store: Store, clock: Clock) -> None:
    stored(store, server, server.claude, clock(), left=HOURS)
    store.path("claude_api").chmod(0o644)
    broker = new_broker(server, store, clock, api_key=SecretStr("configured"))
    assert (await broker.headers("claude_api")).source is Source.API_KEY


async def test_the_own_token_is_no_credential(broker: Broker) -> None:
    with pytest.raises(Unauthenticated):
        await broker.headers("codex", ((b"authorization", b"Bearer own-token"),))


async def test_a_file_that_others_can_read_is_refused_until_it_is_mended(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    stored(store, server, server.claude, clock(), left=HOURS)
    store.path("claude_api").chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        broker.check()
    with pytest.raises(Unauthenticated, match="chmod 600"):
        await broker.headers("claude_api")
    await broker.tick()
    store.path("claude_api").chmod(0o600)
    broker.check()
    assert (await broker.headers("claude_api")).source is Source.LOGIN


async def test_a_wrong_clock_does_not_make_a_refresh_for_every_request(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    server.expires_in = 0
    for _ in range(5):
        assert bearer(await broker.headers("claude_api")) == on_disk(store)["access_token"]
        await settled(broker)
    assert len(server.requests) == 1
    assert "clock" in caplog.text


async def test_a_refresh_token_that_stays_is_kept(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker
) -> None:
    server.rotate = False
    login = stored(store, server, server.claude, clock(), left=GONE, unknown={"kept": True})
    await broker.headers("claude_api")
    assert login.refresh_token is not None
    assert on_disk(store)["refresh_token"] == login.refresh_token.get_secret_value()
    assert on_disk(store)["unknown"] == {"kept": True}


async def test_a_login_that_cannot_be_written_goes_on_in_memory(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    replace = type(store.folder).replace

    def refused(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(store.folder), "replace", refused)
    first = await broker.headers("claude_api")
    assert bearer(first) != on_disk(store)["access_token"] == "claude-access-first"
    assert await broker.headers("claude_api") is first
    monkeypatch.setattr(type(store.folder), "replace", replace)
    other = new_broker(server, store, clock)  # the written file was left, and is taken over
    assert bearer(await other.headers("claude_api")) == bearer(first) == on_disk(store)["access_token"]
    assert len(server.requests) == 1


async def test_memory_is_newer_than_a_file_that_could_not_be_written(
    server: FakeOAuth, store: Store, clock: Clock, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store, server, server.claude, clock(), left=GONE)
    with monkeypatch.context() as patch:
        patch.setattr("ccproxy.auth.store.Draft.commit", _no_commit)
        first = await broker.headers("claude_api")
    assert on_disk(store)["access_token"] == "claude-access-first"
    clock.forward(hours=9)
    second = await broker.headers("claude_api")
    assert bearer(second) == on_disk(store)["access_token"] != bearer(first)
    assert len(server.requests) == 2


def _no_commit(*_: object) -> None:
    from ccproxy.auth.store import StoreError

    raise StoreError("claude_api.json cannot be written")


def test_the_command_lines_door(server: FakeOAuth, store: Store, clock: Clock) -> None:
    broker = new_broker(server, store, clock)
    with pytest.raises(NoLogin, match="`ccproxy auth login`"):
        broker.login_now("claude_api")
    first = stored(store, server, server.claude, clock(), left=HOURS)
    assert broker.login_now("claude_api") == first
    clock.forward(hours=6, minutes=57)
    server.answers["/v1/oauth/token"] = [Reply(500), Reply(500)]
    assert broker.login_now("claude_api") == first
    clock.forward(hours=1)
    with pytest.raises(LoginError, match="no capacity"):
        broker.login_now("claude_api")
    renewed: Login = broker.login_now("claude_api")
    assert renewed.access_token.get_secret_value() == on_disk(store)["access_token"]


async def test_a_defect_in_the_background_is_logged(
    server: FakeOAuth, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store, server, server.claude, clock(), left=TWO_MINUTES)
    broker = new_broker(server, store, clock)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ccproxy.auth.renewal.renew", broken)
    assert bearer(await broker.headers("claude_api")) == "claude-access-first"
    await settled(broker)
    await asyncio.sleep(0)
    assert "renewing a login broke" in caplog.text
