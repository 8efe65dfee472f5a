"""Lists of models: fetched in bounds, cached for each credential, never waited for long."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from ccproxy.errors import BadRequest
from ccproxy.providers import model_lists
from ccproxy.providers.model_lists import Credential, Json, ModelLists, cards_of, fetch, in_both_shapes
from ccproxy.providers.registry import providers
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from tests.fakes.upstream import Received, Upstream, Wire, chunk, turns

KEY: Credential = ((b"x-api-key", b"one"),)
OTHER: Credential = ((b"x-api-key", b"other"),)


def claude(upstream: Upstream | None = None, name: str = "claude_api") -> Provider:
    settings = {name: {"base_url": upstream.url if upstream else "http://u.test"}}
    return next(provider for provider in providers(Settings(providers=settings)) if provider.name == name)


CLAUDE = claude()


class Fetches:
    """Stands for `fetch`: keeps what it was asked, and answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Credential]] = []
        self.answers: list[asyncio.Future[list[Json]]] = []
        self.cancelled = 0

    async def __call__(self, provider: Provider, credential: Credential) -> list[Json]:
        self.asked.append((provider.name, credential))
        self.answers.append(asyncio.get_running_loop().create_future())
        try:
            return await self.answers[-1]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def names(models: Iterable[Json]) -> list[str]:
    return [model["id"] for model in models]


async def listed(lists: ModelLists, credential: Credential = KEY, provider: Provider = CLAUDE) -> list[str]:
    return names(await lists.listing(provider, lambda: credential))


async def answered(lists: ModelLists, fetches: Fetches, credential: Credential, *models: str) -> None:
    """Have the list of a credential fetched."""
    lists.at_hand(CLAUDE, lambda: credential)
    await turns()
    fetches.answers[-1].set_result([{"id": name} for name in models])
    await turns()


# ---- the cache


async def test_a_list_is_fetched_once_for_each_credential() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    await answered(lists, fetches, KEY, "mine")
    await answered(lists, fetches, OTHER, "theirs")
    for _ in range(3):
        assert await listed(lists) == ["mine"]
        assert await listed(lists, OTHER) == ["theirs"]
    assert fetches.asked == [("claude_api", KEY), ("claude_api", OTHER)]
    assert lists.card(CLAUDE, "mine", lambda: KEY) == {"id": "mine"}
    assert lists.card(CLAUDE, "mine", lambda: OTHER) is None
    assert lists.card(CLAUDE, "mine", lambda: ()) is None


async def test_providers_do_not_share_a_list() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    await answered(lists, fetches, KEY, "mine")
    assert lists.card(claude(name="codex"), "mine", lambda: KEY) is None


async def test_the_cache_does_not_hold_a_credential() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    await answered(lists, fetches, ((b"x-api-key", b"a-secret-word"),), "m")
    fetches.asked.clear()
    assert "a-secret-word" not in repr(lists)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (((b"a", b"bc"),), ((b"ab", b"c"),)),
        (((b"a", b"b"), (b"c", b"d")), ((b"a", b"b\0c\0d"),)),
        ((), ((b"", b""),)),
        (((b"a", b"b"),), ((b"a", b"B"),)),
    ],
)
async def test_no_two_credentials_are_taken_for_one(one: Credential, other: Credential) -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    await answered(lists, fetches, one, "m")
    assert lists.card(CLAUDE, "m", lambda: other) is None


async def test_an_old_list_serves_while_a_new_one_is_fetched() -> None:
    fetches, clock = Fetches(), Clock()
    lists = ModelLists(fetches, clock)
    await answered(lists, fetches, KEY, "old")
    clock.now += model_lists.FRESH + 1
    assert await listed(lists) == ["old"]
    await turns()
    assert len(fetches.asked) == 2
    fetches.answers[-1].set_result([{"id": "new"}])
    await turns()
    assert await listed(lists) == ["new"]


async def test_after_a_failure_the_fallback_serves_and_the_upstream_is_left_alone_for_a_while() -> None:
    fetches, clock = Fetches(), Clock()
    lists = ModelLists(fetches, clock)
    assert not lists.at_hand(CLAUDE, lambda: KEY)
    await turns()
    fetches.answers[-1].set_exception(OSError("down"))
    await turns()
    assert lists.at_hand(CLAUDE, lambda: KEY)
    assert CLAUDE.catalogue
    assert tuple(await listed(lists)) == CLAUDE.catalogue.fallback
    assert len(fetches.asked) == 1
    clock.now += model_lists.RETRY + 1
    assert not lists.at_hand(CLAUDE, lambda: KEY)


async def test_a_request_does_not_wait_longer_than_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_lists, "PATIENCE", 0.01)
    fetches = Fetches()
    lists = ModelLists(fetches)
    assert CLAUDE.catalogue
    async with asyncio.timeout(5):
        assert tuple(await listed(lists)) == CLAUDE.catalogue.fallback
        await lists.arrived(CLAUDE, lambda: KEY)
    fetches.answers[-1].set_result([{"id": "late"}])
    await turns()
    assert await listed(lists) == ["late"]
    assert len(fetches.asked) == 1


async def test_no_more_lists_are_kept_or_fetched_than_the_limits_allow() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    await answered(lists, fetches, KEY, "mine")
    for number in range(3 * model_lists.MAX_LISTS):
        made_up = ((b"x-api-key", b"%d" % number),)
        lists.at_hand(CLAUDE, lambda made_up=made_up: made_up)  # type: ignore[misc]
        await turns()
        running = len(fetches.asked) - 1 - fetches.cancelled
        assert running <= model_lists.MAX_FETCHES
        assert lists.kept[0] <= model_lists.MAX_LISTS
    assert await listed(lists) == ["mine"]  # keys without a list go first
    lists.forget()
    await turns()
    assert len(fetches.asked) - 1 == fetches.cancelled


async def test_a_request_beyond_the_limit_of_fetches_does_not_wait() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    for number in range(model_lists.MAX_FETCHES):
        assert not lists.at_hand(CLAUDE, lambda number=number: ((b"k", b"%d" % number),))  # type: ignore[misc]
    assert lists.at_hand(CLAUDE, lambda: KEY)
    lists.forget()
    await turns()


async def test_the_least_recently_used_list_goes_first() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    for number in range(model_lists.MAX_LISTS):
        await answered(lists, fetches, ((b"k", b"%d" % number),), f"m{number}")
    assert await listed(lists, ((b"k", b"0"),)) == ["m0"]  # used now
    await answered(lists, fetches, KEY, "mine")
    assert lists.card(CLAUDE, "m0", lambda: ((b"k", b"0"),))
    assert lists.card(CLAUDE, "m1", lambda: ((b"k", b"1"),)) is None


async def test_the_bytes_of_all_lists_are_bounded() -> None:
    fetches = Fetches()
    lists = ModelLists(fetches)
    long = "x" * 6000
    for number in range(12):
        credential = ((b"k", b"%d" % number),)
        await answered(lists, fetches, credential, *(f"{n}{long}" for n in range(400)))
        assert lists.kept[1] <= model_lists.MAX_KEPT
        assert lists.card(CLAUDE, f"0{long}", lambda credential=credential: credential)  # type: ignore[misc]
    assert 2 <= lists.kept[0] < 12


async def test_a_provider_in_this_process_is_not_asked() -> None:
    mock = next(provider for provider in providers(Settings()) if provider.name == "mock")
    fetches = Fetches()
    lists = ModelLists(fetches)
    assert lists.at_hand(mock, lambda: ())
    assert await listed(lists, (), mock) == []
    assert fetches.asked == []


# ---- an upstream's list, as it comes


async def test_what_is_asked_for(upstream: Upstream) -> None:
    async def script(wire: Wire, request: Received) -> None:
        await wire.answer(200, b'{"data": [{"id": "m"}], "models": [{"slug": "c", "visibility": "list"}]}')

    upstream.script = script
    assert await fetch(claude(upstream), KEY) == [{"id": "m"}]
    sent = upstream.last
    assert (sent.method, sent.target) == ("GET", "/v1/models?limit=1000")
    assert sent.values("x-api-key") == [b"one"]
    assert sent.values("accept-encoding") == [b"identity"]
    assert sent.values("anthropic-version") == [b"2023-06-01"]
    assert await fetch(claude(upstream, "codex"), KEY) == [{"slug": "c", "visibility": "list"}]
    assert upstream.last.target == "/models?client_version=0.169.0"
    assert upstream.last.values("user-agent")[0].startswith(b"ccproxy/")


BIG = b'{"data": [' + b",".join(b'{"id": "m%d"}' % n for n in range(400_000)) + b"]}"
ODD = {
    "empty": b"", "not JSON": b"<html>", "a list": b"[1, 2]", "a string": b'"data"', "no list": b'{"data": {"a": 1}}', "null": b'{"data": null}',
    "deep": b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cut": b'{"data": [{"id": "m"}', "other bytes": b'\xff\xfe{"data": []}', "too large": BIG,
}  # fmt: skip


@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
async def test_a_list_of_another_shape_is_an_error_that_the_fallback_covers(upstream: Upstream, body: bytes) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(200, body)

    upstream.script = script
    provider = claude(upstream)
    with pytest.raises((BadRequest, TypeError, ValueError)):
        await fetch(provider, KEY)
    assert provider.catalogue
    assert tuple(await listed(ModelLists(), KEY, provider)) == provider.catalogue.fallback


@pytest.mark.parametrize("status", [204, 301, 401, 404, 429, 500])
async def test_a_status_that_is_no_success_is_an_error(upstream: Upstream, status: int) -> None:
    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(
            status, b"" if status == 204 else b'{"data": [{"id": "m"}]}', ("Location", "http://evil.test/")
        )

    upstream.script = script
    with pytest.raises((httpx.HTTPStatusError, BadRequest)):
        await fetch(claude(upstream), KEY)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_a_compressed_list_is_not_unpacked(upstream: Upstream, encoding: str) -> None:
    """A few bytes could become any number."""

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(200, gzip.compress(b'{"data": []}'), ("Content-Encoding", encoding))

    upstream.script = script
    with pytest.raises(ValueError, match="compressed"):
        await fetch(claude(upstream), KEY)


async def test_a_list_without_end_is_left(upstream: Upstream) -> None:
    sent = 0

    async def script(wire: Wire, _: Received) -> None:
        nonlocal sent
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await wire.send(chunk(b" " * 2**16))
                sent += 2**16
        except ConnectionError:
            return

    upstream.script = script
    with pytest.raises(ValueError, match="too large"):
        await fetch(claude(upstream), KEY)
    await upstream.deserted()
    assert sent < 4 * model_lists.MAX_RESPONSE + 2**23  # what was in the buffers between


async def test_tiny_pieces_are_counted_and_others_get_their_turn(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lists, "MAX_PIECES", 5000)

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await wire.send(chunk(b" ") * 5000)
        except ConnectionError:
            return

    upstream.script = script
    task = asyncio.create_task(fetch(claude(upstream), KEY))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1
    with pytest.raises(ValueError, match="too large"):
        await task
    assert rounds > 5000 / 64


async def test_a_silent_upstream_is_left_after_a_while(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_lists, "TIMEOUT", 0.05)
    upstream.silent = True
    with pytest.raises((TimeoutError, httpx.TimeoutException)):
        await fetch(claude(upstream), KEY)


async def test_an_upstream_that_drips_is_left_after_a_while(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lists, "TIMEOUT", 0.2)

    async def script(wire: Wire, _: Received) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await wire.send(chunk(b" "))
                await asyncio.sleep(0.01)
        except ConnectionError:
            return

    upstream.script = script
    with pytest.raises(TimeoutError):
        await fetch(claude(upstream), KEY)


async def test_what_takes_long_is_done_in_a_thread(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing httpx takes 80 ms, reading the system's CAs 20 ms, parsing a large list more."""
    threads: dict[str, threading.Thread] = {}

    def noting(name: str) -> None:
        real: Any = getattr(model_lists, name)

        def called(*args: Any) -> Any:
            threads[name] = threading.current_thread()
            return real(*args)

        monkeypatch.setattr(model_lists, name, called)

    async def script(wire: Wire, _: Received) -> None:
        await wire.answer(200, b'{"data": []}')

    upstream.script = script
    noting("_client")
    noting("cards_of")
    await fetch(claude(upstream), KEY)
    assert set(threads) == {"_client", "cards_of"}
    assert threading.main_thread() not in threads.values()


# ---- what is kept of a model

WHOLE = {
    "id": "m", "slug": "s", "display_name": "M", "created_at": "2026-01-01T00:00:00Z", "created": 1, "owned_by": "v", "visibility": "list", "max_tokens": 9,
    "capabilities": {"effort": {"low": {"supported": True}}}, "supported_reasoning_levels": [{"effort": "low"}], "use_responses_lite": True,
}  # fmt: skip


def cards(*models: Any, key: str = "data") -> list[Json]:
    return cards_of(json.dumps({key: models}).encode(), key)


def test_what_is_used_of_a_model_is_kept() -> None:
    assert cards({**WHOLE, "base_instructions": "x" * 100_000, "other": 1}) == [WHOLE]
    assert cards({"id": "m"}, key="models") == [{"id": "m"}]
    assert cards_of(b'{"data": [{"id": "m"}]}', "models") == [{"id": "m"}]  # as others list theirs


@pytest.mark.parametrize(
    "model",
    [
        "m", None, 7, [], {}, {"id": ""}, {"id": 7}, {"id": None}, {"id": ["m"]}, {"id": "x" * 300}, {"id": "a\r\nb"}, {"id": "a\x1b[2J"}, {"id": "\ud800"},
        {"id": "m", "capabilities": "x" * 10_000}, {"id": "m", "capabilities": {"a": 10**400}},
    ],
)  # fmt: skip
def test_a_model_that_no_client_could_use_is_left_out(model: Any) -> None:
    assert cards(model, {"id": "good"}) == [{"id": "good"}]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("display_name", {"a": 1}), ("display_name", "x" * 300), ("created_at", 5), ("owned_by", []), ("created", 1.5), ("created", True),
        ("created", 2**70), ("max_tokens", "9"), ("max_tokens", None), ("visibility", 1),
    ],
)  # fmt: skip
def test_a_member_of_another_type_is_left_out(key: str, value: Any) -> None:
    (card,) = cards({"id": "m", key: value})
    assert card == {"id": "m"}
    assert in_both_shapes(card)["display_name"] == "m"


def test_a_very_long_list_is_cut() -> None:
    assert len(cards(*({"id": f"m{n}"} for n in range(model_lists.MAX_MODELS + 10)))) == model_lists.MAX_MODELS


def test_models_that_an_upstream_hides_are_not_shown_but_known() -> None:
    async def go() -> None:
        fetches = Fetches()
        lists = ModelLists(fetches)
        lists.at_hand(CLAUDE, lambda: KEY)
        await turns()
        fetches.answers[-1].set_result([{"slug": "a", "visibility": "hide"}, {"slug": "b", "visibility": "list"}])
        await turns()
        assert await listed(lists) == ["b"]
        assert lists.card(CLAUDE, "a", lambda: KEY)

    asyncio.run(go())
