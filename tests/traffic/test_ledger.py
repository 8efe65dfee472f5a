"""The ledger behind a running proxy: a row for every exchange, with what the client's own SDK says, whole or streamed, finished or cut."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import signal
import sqlite3
import statistics
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from ccproxy.ledger.database import State
from ccproxy.ledger.records import LIST_PRICE
from ccproxy.providers.local import LocalRequest
from ccproxy.settings.folders import data_dir
from ccproxy.translate.formats import Format
from tests.conftest import Serve
from tests.fakes import models
from tests.fakes.claude import Claude
from tests.fakes.client import connected, request
from tests.fakes.codex import Codex
from tests.fakes.plot import CACHED, THOUGHT, WRITTEN, Said, fresh, spent
from tests.fakes.provider import END, START, Scripted
from tests.fakes.proxy import Program, Proxy, running, serving
from tests.fakes.routes import RESPONSES_BODY
from tests.fakes.talk import Heard, talking
from tests.fakes.upstream import Received, Script, Upstream, Wire

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES
LEDGER = {"ledger": {"enabled": True}}
JSON = ("content-type", "application/json")
SONNET = "claude-sonnet-4-5"


def rows(file: Path | None = None) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(file or data_dir() / "ledger.sqlite3")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM exchanges ORDER BY started").fetchall()


def dollars(row: sqlite3.Row) -> Decimal | None:
    return None if row["price"] is None else Decimal(row["price"]) / 10**12


def messages(**more: Any) -> bytes:
    return json.dumps(
        {"model": SONNET, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **more}
    ).encode()


def chat(**more: Any) -> bytes:
    return json.dumps({"model": SONNET, "messages": [{"role": "user", "content": "hi"}], **more}).encode()


# ---- what the SDKs say

SPEAKS = {A: {"thinking": {"type": "disabled"}}, C: {"reasoning_effort": None}, R: {"reasoning": None}}
HAND = Decimal("0.0006495")
"""100 input at 3 $, 40 read at 0.30, 10 written at 3.75, 20 output at 15 (https://docs.claude.com/en/docs/about-claude/pricing)."""


@pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4-5' is deprecated")
@pytest.mark.parametrize(
    ("prefix", "model", "fake"),
    [("/api", SONNET, Claude), ("/api/codex", "gpt-5.5", Codex)],
    ids=["claude", "codex"],
)
async def test_rows_say_what_the_sdk_says(
    tmp_path: Path, upstream: Upstream, prefix: str, model: str, fake: Callable[[list[Said]], Script]
) -> None:
    upstream.script = fake([Said("Hm.", "Rain.")])
    heard: dict[str, tuple[Format, bool, Heard, str | None]] = {}
    async with running(tmp_path, upstream, **LEDGER) as proxy:
        for fmt in (A, C, R):
            for streamed in (False, True):
                async with talking(fmt, proxy.url + prefix, model, tools=None, **SPEAKS[fmt]) as talk:
                    talk.says("The weather?")
                    answer = await talk.turn(streamed=streamed)
                head = talk.heads[-1]
                heard[head["x-ccproxy-flow"]] = (fmt, streamed, answer, head.get("x-ccproxy-cost-usd"))
    found = {row["flow"]: row for row in rows() if row["operation"] == "create"}
    assert found.keys() == heard.keys()
    for flow, (fmt, streamed, answer, cost) in heard.items():
        row = found[flow]
        asked = (row["client_format"], bool(row["streamed"]), row["model_answered"], row["status"], row["outcome"])
        assert asked == (fmt.value, streamed, model, 200, "finished")
        prompt = row["input"] + row["cache_read"] + row["cache_write_5m"] + row["cache_write_1h"]
        assert (prompt, row["cache_read"], row["output"], row["reasoning"]) == answer.usage
        assert answer.usage == (fresh(0) + CACHED + WRITTEN, CACHED, spent(0), THOUGHT)
        assert row["client"] == ("anthropic-python" if fmt is A else "openai-python")
        assert 0 < row["first_token_ms" if streamed else "ttfb_ms"] <= row["total_ms"]
        assert 0 < row["added_ms"] < row["total_ms"]
        assert row["bytes_in"] > 0
        assert row["bytes_out"] > 0
        if model == SONNET:
            assert dollars(row) == HAND
        if not streamed and row["price"] is not None:
            assert cost is not None
            assert Decimal(cost) == dollars(row)
        assert not row["label"]  # an API key: a bill, not a list price
    told = (
        "input",
        "cache_read",
        "cache_write_5m",
        "cache_write_1h",
        "output",
        "reasoning",
        "price",
        "stop",
        "partial",
    )
    assert len({tuple(row[name] for name in told) for row in found.values()}) == 1  # streamed is whole, in every format


async def test_a_provider_in_this_process(tmp_path: Path) -> None:
    async with running(tmp_path, **LEDGER) as proxy:
        for fmt in (A, C, R):
            for streamed in (False, True):
                options = {**SPEAKS[fmt], "tools": None}
                async with talking(fmt, proxy.url + "/mock", "mock-claude", **options) as talk:
                    talk.says("Say it.")
                    answer = await talk.turn(streamed=streamed)
                row = await row_of(proxy, talk.heads[-1]["x-ccproxy-flow"])
                assert (row["input"] + row["cache_read"], row["cache_read"], row["output"]) == answer.usage[:3]
                assert (row["provider"], row["price"], row["cost_unknown"]) == ("mock", None, 1)


class Telling:
    """Events that tell what they cost, as the Claude SDK's do."""

    cost_usd = 0.0123
    losses = ()

    def __init__(self, events: AsyncIterator[dict[str, Any]]) -> None:
        self.events = events

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self.events


class SdkLike(Scripted):
    def stream(self, request: LocalRequest) -> AsyncIterator[dict[str, Any]]:
        return Telling(super().stream(request))  # type: ignore[return-value]


async def test_the_sdks_own_figure_is_kept_beside_ours(tmp_path: Path) -> None:
    start = {"type": "message_start", "message": {**START["message"], "model": SONNET}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 1000, "output_tokens": 200}}  # fmt: skip
    async with running(tmp_path, **LEDGER) as proxy:
        proxy.addon("gateway").shared.locals["claude_sdk"] = SdkLike([start, delta, END])
        for stream in (False, True):
            answer = await proxy.post("/claude/my-session/v1/messages", messages(stream=stream), JSON)
            row = await row_of(proxy, answer["x-ccproxy-flow"])
            assert (dollars(row), row["reported_cost"]) == (Decimal("0.006"), 12_300_000_000)
            assert (row["label"], row["session"], row["provider"]) == (LIST_PRICE, "my-session", "claude_sdk")
        usage = (await proxy.get("/usage", ("x-ccproxy-token", proxy.host.cli_token))).json["total"]
        assert (usage["cost_usd"], usage["subscription_cost_usd"], usage["reported_cost_usd"]) == (0.012, 0.012, 0.0246)


async def test_sessions_of_codex(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script = models.codex
    sent = (("session-id", "s2"), ("thread-id", "t2"), ("user-agent", "codex_cli_rs/0.99.0 (Linux)"))
    async with running(tmp_path, upstream, **LEDGER) as proxy:
        assert (await proxy.post("/api/codex/s1/responses", RESPONSES_BODY, JSON)).status == 200
        assert (await proxy.post("/api/codex/responses", RESPONSES_BODY, JSON, *sent)).status == 200
    found = [(row["session"], row["agent"], row["client"]) for row in rows()]
    assert found == [("s1", None, "unknown"), ("s2", "t2", "codex")]


async def row_of(proxy: Proxy, flow: str) -> sqlite3.Row:
    await asyncio.to_thread(proxy.addon("accounting").ledger.flush)
    return next(row for row in rows() if row["flow"] == flow)


# ---- every kind of token, in every encoding

USAGE = {
    "input_tokens": 1000, "cache_read_input_tokens": 199_000, "cache_creation_input_tokens": 3000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2000, "ephemeral_1h_input_tokens": 1000},
    "output_tokens": 500, "output_tokens_details": {"thinking_tokens": 400}, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    "service_tier": "standard",
}  # fmt: skip
LONG = Decimal("0.18365")
"""Beyond 200,000 prompt tokens: 1000 at 6 $, 199,000 at 0.60, 2000 at 7.50, 1000 at 12, 500 at 22.50; two searches at 10 $ a thousand."""
LIMITS = (
    ("anthropic-ratelimit-unified-5h-utilization", "0.25"),
    ("anthropic-ratelimit-unified-5h-reset", "1795000000"),
    ("anthropic-ratelimit-unified-7d-utilization", "0.5"),
)
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "deflate": zlib.compress,
}


def told(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def long_answer(*, stream: bool) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": SONNET, "content": []}
    if not stream:
        return json.dumps({**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE}).encode()
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        delta,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
        {"type": "message_stop"},
    ]
    return b"".join(told(event) for event in events)


async def test_every_kind_of_token_in_every_encoding(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, asked: Received) -> None:
        encoding = asked.values("x-encoding")[0].decode()
        data = ENCODINGS[encoding](long_answer(stream=asked.json.get("stream", False)))
        fields = (("content-encoding", encoding), *LIMITS)
        if asked.json.get("stream"):
            await wire.stream(*(data[at : at + 50] for at in range(0, len(data), 50)), fields=fields)
        else:
            await wire.answer(200, data, *fields)

    upstream.script = script
    ids = (
        ("x-claude-code-session-id", "session-1"),
        ("x-claude-code-agent-id", "agent-1"),
        ("x-claude-code-parent-agent-id", "agent-0"),
    )
    async with running(tmp_path, upstream, **LEDGER) as proxy:
        for encoding in ENCODINGS:
            for stream in (False, True):
                fields = (JSON, ("x-encoding", encoding), ("user-agent", "claude-cli/2.1.0 (external, cli)"), *ids)
                answer = await proxy.post("/api/v1/messages", messages(stream=stream), *fields)
                assert answer.status == 200
                assert stream or Decimal(answer["x-ccproxy-cost-usd"]) == LONG
        metrics = (await proxy.get("/metrics")).body.decode()
    found = rows()
    assert len(found) == 2 * len(ENCODINGS)
    for row in found:
        assert dollars(row) == LONG
        kinds = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "web_searches", "server_tool_uses")  # fmt: skip
        assert tuple(row[kind] for kind in kinds) == (1000, 199_000, 2000, 1000, 500, 400, 2, 3)
        who = (row["client"], row["session"], row["agent"], row["parent_agent"], row["service_tier"])
        assert who == ("claude-code", "session-1", "agent-1", "agent-0", "standard")
        assert (row["stop_reason"], row["stop"], row["partial"]) == ("end_turn", "end", 0)
    assert 'ccproxy_quota_used_ratio{provider="claude_api",window="5h"} 0.25' in metrics
    assert 'ccproxy_quota_used_ratio{provider="claude_api",window="7d"} 0.5' in metrics
    assert 'ccproxy_quota_reset_timestamp_seconds{provider="claude_api",window="5h"} 1.795e+09' in metrics
    assert 'ccproxy_open_streams{provider="claude_api"} 0.0' in metrics
    assert 'kind="cache_write_1h",model="claude-sonnet-4-5",provider="claude_api"} 10000.0' in metrics


# ---- however it ends

EVENTS = [told(json.loads(part.partition(b"data: ")[2])) for part in long_answer(stream=True).split(b"\n\n") if part]
REFUSED = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}


async def ending(wire: Wire, asked: Received) -> None:
    """Ends as the request's text says."""
    if asked.method == "GET":  # the list of models, before the first translation
        await wire.answer(404)
        return
    text = asked.json["messages"][0]["content"]
    how = text if isinstance(text, str) else text[0]["text"]
    if how == "overloaded":
        await wire.answer(529, json.dumps(REFUSED).encode())
    elif how == "error event":
        await wire.stream(*EVENTS[:3], told(REFUSED))
    else:
        await wire.stream(*EVENTS[:3], end=False)
        if how == "cut":
            wire.close()
        else:
            await wire.left()  # the client leaves


async def test_however_it_ends_it_is_a_row(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script = ending
    wanted: dict[tuple[str, str], tuple[int, str, str, str]] = {}
    """By client format and end: status, outcome, class of the stop, type of the error."""
    async with running(tmp_path, upstream, **LEDGER) as proxy:
        for fmt, path, body in ((A, "/api/v1/messages", messages), (C, "/api/v1/chat/completions", chat)):

            def asking(how: str, path: str = path, body: Callable[..., bytes] = body) -> bytes:
                return request(path, body(stream=True, messages=[{"role": "user", "content": how}]), JSON)

            for how in ("overloaded", "error event", "cut"):
                await proxy.ask(asking(how))
            async with proxy.connect() as client:
                await client.send(asking("leave"))
                await client.until(b"hi")
                metrics = (await proxy.get("/metrics")).body
                assert b'ccproxy_open_streams{provider="claude_api"} 1.0' in metrics
            await upstream.deserted()
            refused = await proxy.post(path, b"{", JSON)
            assert refused.status == 400
            wanted |= {
                (fmt.value, "overloaded"): (529 if fmt is A else 503, "finished", "", "overloaded_error"),
                (fmt.value, "error event"): (200, "error", "error", "overloaded_error"),
                (fmt.value, "cut"): (200, "cut", "", ""),
                (fmt.value, "leave"): (200, "client_left", "", ""),
                (fmt.value, "no JSON"): (400, "error", "error", ""),
            }
        assert (await proxy.get("/nowhere")).status == 404
    found = [row for row in rows() if row["operation"] == "create"]  # what no route takes is in the access log alone
    assert len(found) == len(wanted)
    for row, ((fmt_value, how), expected) in zip(found, wanted.items(), strict=True):
        assert row["client_format"] == fmt_value
        seen = (row["status"], row["outcome"], row["stop"] or "", row["error_type"] or "")
        assert seen == expected, (fmt_value, how)
        if how in {"error event", "cut", "leave"}:  # the count at the start is all that was told: a lower bound
            assert (row["partial"], row["cache_read"], row["output"]) == (1, 199_000, 1)
            assert dollars(row) == LONG - Decimal("0.0112275")
        else:
            assert (row["partial"], row["input"], row["price"], row["cost_unknown"]) == (0, None, None, 0)


# ---- a database that says no, while traffic goes on


async def test_a_locked_database_harms_no_exchange(tmp_path: Path, upstream: Upstream) -> None:
    async def whole(wire: Wire, _: Received) -> None:
        await wire.answer(200, long_answer(stream=False))

    upstream.script = whole
    async with running(tmp_path, upstream, **LEDGER) as proxy:
        ledger = proxy.addon("accounting").ledger
        first = await proxy.post("/api/v1/messages", messages(), JSON)
        await row_of(proxy, first["x-ccproxy-flow"])
        with closing(sqlite3.connect(data_dir() / "ledger.sqlite3", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            delays = []
            while ledger.status().state is not State.WAITING:
                began = time.monotonic()
                assert (await proxy.post("/api/v1/messages", messages(), JSON)).status == 200
                delays.append(time.monotonic() - began)
            asked = len(upstream.requests)
            assert ledger.status().queued == asked - 1
            assert statistics.median(delays) < 0.9  # the writer waits a whole second for the lock; nobody else does
        answer = await proxy.get("/usage", ("x-ccproxy-token", proxy.host.cli_token))
        assert answer.json["total"]["requests"] == asked
        assert Decimal(str(answer.json["total"]["cost_usd"])) == LONG * asked
    assert len(rows()) == asked


async def test_usage_is_asked_for_with_a_token(tmp_path: Path, serve: Serve) -> None:
    proxy = await serve(ledger={"enabled": True}, server={"auth_token": "the-token"})
    token = ("authorization", "Bearer the-token")
    await proxy.post("/mock/v1/messages", messages(model="mock-claude"), JSON, token)
    assert (await proxy.get("/usage")).status == 401
    assert (await proxy.get("/usage", ("x-api-key", "another"))).status == 401
    for fields in (token, ("x-ccproxy-token", proxy.host.cli_token)):
        by_provider = await proxy.get("/usage?by=provider&since=all", fields)
        assert [line["provider"] for line in by_provider.json["lines"]] == ["mock"]
        assert by_provider.json["total"]["cost_unknown"] == 1
    for query in ("by=colour", "since=tomorrow"):
        assert (await proxy.get(f"/usage?{query}", token)).status == 400
    off = await serve(server={"auth_token": "the-token"})
    refused = await off.get("/usage", token)
    assert (refused.status, "ledger.enabled" in refused.message) == (503, True)


# ---- the program under load

EXCHANGES = 240


async def load(program: Program, exchanges: int, done: Callable[[], object]) -> None:
    """Eight clients at a time; three of four wait for the answer, the fourth leaves in the middle of it."""
    number = 0

    async def work() -> None:
        nonlocal number
        while number < exchanges:
            number += 1
            leaves = number % 4 == 0
            model = "mock-hang" if leaves else "mock-claude"
            path, body = ("/mock/v1/chat/completions", chat) if number % 2 else ("/mock/v1/messages", messages)
            async with connected(program.port, "127.0.0.1") as client:
                await client.send(request(path, body(model=model, stream=leaves or number % 4 > 1), JSON))
                if leaves:
                    await client.until(b"data: ")
                else:
                    assert (await client.answer()).status == 200
            done()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())


def file_of(folder: Path) -> Path:
    (found,) = folder.rglob("ledger.sqlite3")
    return found


async def test_a_clean_stop_under_load_loses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, "--log-level", "error", env={"PROVIDERS__CLAUDE_SDK__ENABLED": "false"}) as program:
        await load(program, EXCHANGES, lambda: None)
        program.signal(signal.SIGTERM)
        assert await program.ends() == 0
    outcomes = Counter(row["outcome"] for row in rows(file_of(tmp_path)))
    assert outcomes == {"finished": EXCHANGES * 3 // 4, "client_left": EXCHANGES // 4}


async def test_kill_9_under_load_loses_the_last_second_at_most(tmp_path: Path) -> None:
    done: list[float] = []
    async with serving(tmp_path, "--log-level", "error", env={"PROVIDERS__CLAUDE_SDK__ENABLED": "false"}) as program:
        first_row = math.inf  # on a busy machine it takes seconds until there is a table

        def kill_in_time() -> None:
            nonlocal first_row
            done.append(time.monotonic())
            if first_row == math.inf:
                with suppress(ValueError, sqlite3.OperationalError):
                    first_row = done[-1] if rows(file_of(tmp_path)) else math.inf
            if done[-1] - first_row > 1.3:
                program.signal(signal.SIGKILL)

        with pytest.raises(ExceptionGroup) as broke_off:
            await load(program, 100_000, kill_in_time)
        assert await program.ends() == -signal.SIGKILL
    assert broke_off.group_contains((ConnectionError, asyncio.IncompleteReadError))
    found = rows(file_of(tmp_path))
    safe = [at for at in done if at < done[-1] - 1]
    assert safe
    assert len(safe) <= len(found) <= len(done) + 8
    with closing(sqlite3.connect(file_of(tmp_path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
