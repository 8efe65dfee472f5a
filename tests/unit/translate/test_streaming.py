"""Streams of any length and shape: the work is linear in what the upstream sends, what is kept of it is bounded, and the end is never a false one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from ccproxy.translate import streaming
from ccproxy.translate.exchange import StreamTranslator, Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile
from ccproxy.translate.replay import ReplayCache
from ccproxy.translate.sse import MAX_EVENT_BYTES, SseParser
from tests.examples.answers import ASKING, EVENTS, sse
from tests.fakes.scaling import assert_linear_work

Json = dict[str, Any]
A, C, R = Format

ROUTES = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
routes = pytest.mark.parametrize(("client", "upstream"), ROUTES)


def translated(client: Format, upstream: Format, **more: Any) -> Translated:
    return translate_request(client, upstream, {**ASKING[client], "stream": True, **more})


def ending(client: Format, data: bytes) -> str:
    """How a client's stream ends: "proper", "error" or "nothing"."""
    events = SseParser(limit=10**9).feed(data)
    name, last = events[-1] if events else ("", "{}")
    match client:
        case Format.ANTHROPIC:
            return {"message_stop": "proper", "error": "error"}.get(name, "nothing")
        case Format.OPENAI_CHAT:
            return "proper" if last == "[DONE]" else "error" if "error" in json.loads(last) else "nothing"
        case Format.OPENAI_RESPONSES:
            return {"response.completed": "proper", "response.failed": "error"}.get(name, "nothing")


# --- streams as upstreams send them, from beginning to end ------------------------------------------------------------

BEGIN: dict[Format, list[Json]] = {
    A: [{"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 1}}}],
    C: [{"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}],
    R: [{"type": "response.created", "response": {"id": "resp_1", "model": "m"}}],
}
END: dict[Format, list[Json]] = {
    A: [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}],
    C: [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}],
    R: [{"type": "response.completed", "response": {"id": "resp_1", "model": "m", "status": "completed"}}],
}
OPEN: dict[tuple[Format, str], list[Json]] = {
    (A, "text"): [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}],
    (A, "thinking"): [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
    ],
    (A, "call"): [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "c1", "name": "now", "input": {}},
        }
    ],
    (C, "text"): [],
    (C, "thinking"): [],
    (C, "call"): [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "now"}}]
                    },
                }
            ]
        }
    ],
    (R, "text"): [
        {
            "type": "response.content_part.added",
            "output_index": 0,
            "content_index": 0,
            "part": {"type": "output_text", "text": ""},
        }
    ],
    (R, "thinking"): [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "reasoning", "id": "rs_1", "summary": []},
        }
    ],
    (R, "call"): [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "now", "arguments": ""},
        }
    ],
}


def delta(upstream: Format, kind: str, text: str) -> Json:
    match upstream:
        case Format.ANTHROPIC:
            inner = {
                "text": {"type": "text_delta", "text": text},
                "thinking": {"type": "thinking_delta", "thinking": text},
                "call": {"type": "input_json_delta", "partial_json": text},
            }[kind]
            return {"type": "content_block_delta", "index": 0, "delta": inner}
        case Format.OPENAI_CHAT:
            chunk: dict[str, Json] = {
                "text": {"content": text},
                "thinking": {"reasoning_content": text},
                "call": {"tool_calls": [{"index": 0, "function": {"arguments": text}}]},
            }
            return {"choices": [{"index": 0, "delta": chunk[kind]}]}
        case Format.OPENAI_RESPONSES:
            name = {
                "text": "response.output_text.delta",
                "thinking": "response.reasoning_summary_text.delta",
                "call": "response.function_call_arguments.delta",
            }[kind]
            return {"type": name, "output_index": 0, "content_index": 0, "summary_index": 0, "delta": text}


def stream_of(upstream: Format, kind: str, pieces: int, text: str = "five ") -> list[bytes]:
    """One part in so many pieces, as chunks."""
    chunk = sse(upstream, [delta(upstream, kind, text)], done=False)
    first = sse(upstream, [*BEGIN[upstream], *OPEN[upstream, kind]], done=False)
    return [first, *[chunk] * pieces, sse(upstream, END[upstream])]


def fed(stream: StreamTranslator, chunks: list[bytes]) -> bytes:
    out = [stream.feed(chunk) for chunk in chunks]
    return b"".join(out) + stream.close()


def text_in(client: Format, data: bytes, kind: str) -> str:
    """All text of a kind in a client's stream."""
    texts: list[str] = []
    for _, text in SseParser(limit=10**9).feed(data):
        if text == "[DONE]":
            continue
        event = json.loads(text)
        match client:
            case Format.ANTHROPIC:
                inner = event.get("delta", {})
                key = {"text": "text", "thinking": "thinking", "call": "partial_json"}[kind]
                texts.append(inner.get(key, "") if inner.get("type", "").endswith("_delta") else "")
            case Format.OPENAI_CHAT:
                for choice in event.get("choices", ()):
                    inner = choice["delta"]
                    if kind == "call":
                        texts += [call["function"].get("arguments", "") for call in inner.get("tool_calls", ())]
                    else:
                        texts.append(inner.get({"text": "content", "thinking": "reasoning_content"}[kind]) or "")
            case Format.OPENAI_RESPONSES:
                texts.append(event.get("delta", "") if event["type"].endswith(".delta") else "")
    return "".join(texts)


# --- an event without an end ------------------------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("fill", [b"x" * 2**16, b"data: x\n" * 2**13], ids=["a line", "an event"])
def test_an_event_without_an_end_ends_in_an_error(client: Format, upstream: Format, fill: bytes) -> None:
    stream = translated(client, upstream).stream_translator()
    out = stream.feed(sse(upstream, BEGIN[upstream], done=False) + b"data: ")
    sent = 0
    while not stream.stopped:
        out += stream.feed(fill)
        sent += len(fill)
        assert sent < MAX_EVENT_BYTES + 2**21
    assert sent > MAX_EVENT_BYTES - 2**21
    assert ending(client, out) == "error"
    assert b"an event of more than" in out
    assert stream.feed(b"data: x\n\n") == b""
    assert stream.close() == b""
    assert stream.failed is not None


@routes
def test_an_event_without_an_end_ends_a_whole_answer_in_an_error(client: Format, upstream: Format) -> None:
    folder = translated(client, upstream).folder()
    folder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))
    status, _, body = folder.result()
    assert status == 502
    assert b"an event of more than" in body


# --- streams of any length --------------------------------------------------------------------------------------------


@routes
@pytest.mark.parametrize("kind", ["text", "thinking", "call"])
def test_a_stream_of_any_length_passes_whole(
    client: Format, upstream: Format, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 2000)
    pieces = 300
    text = "[1]" if kind == "call" else "five "
    out = fed(translated(client, upstream).stream_translator(), stream_of(upstream, kind, pieces, text))
    if client is R:  # its last event holds all of it
        assert ending(client, out) == "error"
        assert b"is larger than 32 MiB" in out
        return
    assert ending(client, out) == "proper"
    assert text_in(client, out, kind) == text * pieces
    assert out.count(b"content_block_start\n") == (1 if client is A else 0)


def test_a_responses_client_gets_long_answers_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = stream_of(A, "text", 300)
    monkeypatch.setattr(streaming, "CHECKED_BYTES", sum(map(len, chunks)) * 2 // 3)
    out = fed(translated(R, A).stream_translator(), chunks)
    assert ending(R, out) == "proper"
    assert text_in(R, out, "text") == "five " * 300
    monkeypatch.setattr(streaming, "MAX_TEXT", 100)
    out = fed(translated(R, A).stream_translator(), chunks)
    assert ending(R, out) == "error"


@routes
def test_whole_answers_have_the_same_limit(client: Format, upstream: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = stream_of(upstream, "text", 300)
    monkeypatch.setattr(streaming, "CHECKED_BYTES", sum(map(len, chunks)) * 2 // 3)
    folder = translated(client, upstream).folder()
    for chunk in chunks:
        folder.feed(chunk)
    assert folder.result()[0] == 200
    monkeypatch.setattr(streaming, "MAX_TEXT", 100)
    folder = translated(client, upstream).folder()
    for chunk in chunks:
        folder.feed(chunk)
    assert folder.result()[0] == 502


@pytest.mark.parametrize(("client", "upstream"), [route for route in ROUTES if route[0] is not R])
def test_a_long_stream_is_not_kept(client: Format, upstream: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 2**20)
    stream = translated(client, upstream).stream_translator()
    first, *chunks, last = stream_of(upstream, "text", 6000, "word " * 400)
    stream.feed(first)
    tracemalloc.start()
    try:
        for chunk in chunks:
            stream.feed(chunk)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20, f"of {sum(map(len, chunks))} bytes"
    finally:
        tracemalloc.stop()
    assert ending(client, stream.feed(last) + stream.close()) == "proper"


def test_a_long_stream_with_a_stop_sequence_is_cut_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 2000)
    chunks = stream_of(R, "text", 300)
    chunks.insert(-1, sse(R, [delta(R, "text", "and STOP here")]))
    for client in (A, C):
        stream = translated(client, R, **{"stop_sequences" if client is A else "stop": ["STOP"]}).stream_translator()
        out = fed(stream, chunks)
        assert ending(client, out) == "proper"
        assert text_in(client, out, "text") == "five " * 300 + "and "


def test_parts_that_wait_for_their_turn_are_not_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anthropic's blocks come one after the other: what a Responses upstream streams at the same time has to wait, and may not do so without limit."""
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 5000)
    monkeypatch.setattr(streaming, "MAX_TEXT", 1000)
    first, *_ = stream_of(R, "text", 0)
    second = {**OPEN[R, "text"][0], "output_index": 1}
    waiting = sse(R, [{**delta(R, "text", "word "), "output_index": 1}])
    stream = translated(A, R).stream_translator()
    out = stream.feed(first + sse(R, [delta(R, "text", "open"), second]))
    for _ in range(400):
        out += stream.feed(waiting)
    assert ending(A, out) == "error"
    assert stream.stopped


@routes
def test_an_answer_of_very_many_parts_ends_in_an_error(
    client: Format, upstream: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "MAX_PARTS", 50)
    calls: dict[Format, Callable[[int], list[Json]]] = {
        A: lambda n: [
            {"type": "content_block_start", "index": n, "content_block": {"type": "text", "text": "x"}},
            {"type": "content_block_stop", "index": n},
        ],
        C: lambda n: [
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": n, "function": {"name": "now"}}]}}]}
        ],
        R: lambda n: [
            {
                "type": "response.output_item.done",
                "output_index": n,
                "item": {"type": "function_call", "call_id": f"c{n}", "name": "now", "arguments": "{}"},
            }
        ],
    }
    events = [event for n in range(60) for event in calls[upstream](n)]
    out = fed(
        translated(client, upstream).stream_translator(), [sse(upstream, [*BEGIN[upstream], *events], done=False)]
    )
    assert ending(client, out) == "error"
    assert b"more than 50 parts" in out


# --- the work ---------------------------------------------------------------------------------------------------------


def _citation(n: int) -> Json:
    return {"type": "url_citation", "url": "https://example.com", "title": "t", "start_index": 0, "end_index": n + 1}


SHAPES: dict[str, tuple[Format, Callable[[int], list[Json]], int]] = {
    "reasoning details": (
        C,
        lambda n: (
            [
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {
                                "reasoning_details": [{"type": "reasoning.text", "text": "word " * 20, "index": 0}]
                            },
                        }
                    ]
                }
            ]
            * n
        ),
        2000,
    ),
    "text and refusal in turns": (
        C,
        lambda n: [
            {"choices": [{"index": 0, "delta": inner}]}
            for _ in range(n)
            for inner in ({"content": "word " * 20}, {"refusal": "no " * 20})
        ],
        1500,
    ),
    "text and thoughts in turns": (
        C,
        lambda n: [
            {"choices": [{"index": 0, "delta": inner}]}
            for _ in range(n)
            for inner in ({"content": "word " * 20}, {"reasoning_content": "hm " * 20})
        ],
        1000,
    ),
    "citations of a growing text in Chat": (
        C,
        lambda n: [
            {"choices": [{"index": 0, "delta": {"content": "word " * 400, "annotations": [_citation(i)]}}]}
            for i in range(n)
        ],
        700,
    ),
    "citations before their text": (
        C,
        lambda n: [
            *({"choices": [{"index": 0, "delta": {"annotations": [_citation(i)]}}]} for i in range(n)),
            {"choices": [{"index": 0, "delta": {"content": "word"}}]},
        ],
        1000,
    ),
    "citations of a growing text in Responses": (
        R,
        lambda n: [
            *OPEN[R, "text"],
            *(
                event
                for i in range(n)
                for event in (
                    delta(R, "text", "word " * 400),
                    {
                        "type": "response.output_text.annotation.added",
                        "output_index": 0,
                        "content_index": 0,
                        "annotation": _citation(i),
                    },
                )
            ),
        ],
        700,
    ),
    "the same arguments done again and again": (
        R,
        lambda n: [
            *OPEN[R, "call"],
            *(
                event
                for _ in range(n)
                for event in (
                    delta(R, "call", "word " * 20),
                    {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "x"},
                )
            ),
        ],
        1000,
    ),
    "items that only the last event has": (
        R,
        lambda n: [
            {
                "type": "response.completed",
                "response": {
                    "id": "r",
                    "status": "completed",
                    "output": [
                        {"type": "function_call", "call_id": f"c{i}", "name": "now", "arguments": "{}"}
                        for i in range(n)
                    ],
                },
            }
        ],
        2000,
    ),
    "parts that wait for the first": (
        R,
        lambda n: [
            *OPEN[R, "text"],
            delta(R, "text", "x"),
            *({**OPEN[R, "text"][0], "output_index": i} for i in range(1, n)),
            *({**delta(R, "text", "x"), "output_index": i} for i in range(1, n)),
        ],
        2000,
    ),
    "contents of one message": (
        R,
        lambda n: [
            event
            for i in range(n)
            for event in (
                {**OPEN[R, "text"][0], "content_index": i},
                {**delta(R, "text", "x"), "content_index": i},
            )
        ],
        2000,
    ),
    "blocks": (
        A,
        lambda n: [
            event
            for i in range(n)
            for event in (
                {"type": "content_block_start", "index": i, "content_block": {"type": "text", "text": "x"}},
                {"type": "content_block_stop", "index": i},
            )
        ],
        1500,
    ),
    "a compaction in pieces": (
        A,
        lambda n: [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction"}},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "compaction_delta", "content": "x", f"key{i}": i},
                }
                for i in range(n)
            ),
        ],
        2000,
    ),
    "refusals": (
        R,
        lambda n: [
            event
            for i in range(n)
            for event in (
                {
                    "type": "response.content_part.added",
                    "output_index": i,
                    "content_index": 0,
                    "part": {"type": "refusal", "refusal": "no " * 30},
                },
                {
                    "type": "response.content_part.done",
                    "output_index": i,
                    "content_index": 0,
                    "part": {"type": "refusal", "refusal": "no " * 30},
                },
            )
        ],
        1500,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_is_linear_in_the_stream(shape: str) -> None:
    upstream, events, size = SHAPES[shape]
    ends = [] if shape == "items that only the last event has" else END[upstream]
    clients = [client for client in Format if client is not upstream]
    for client in clients:

        def prepare(n: int, client: Format = client) -> Callable[[], object]:
            data = sse(upstream, [*BEGIN[upstream], *events(n), *ends])
            chunks = [data[i : i + 2**14] for i in range(0, len(data), 2**14)]
            exchange = translated(client, upstream)

            def work() -> None:
                if client is clients[0]:
                    fed(exchange.stream_translator(), chunks)
                else:
                    folder = exchange.folder()
                    for chunk in chunks:
                        folder.feed(chunk)
                    folder.result()

            return work

        assert_linear_work(prepare, size)


@pytest.mark.parametrize("upstream", [A, C])
def test_free_text_that_comes_letter_by_letter_is_linear(upstream: Format) -> None:
    """A tool of free text, which a Responses client has and these upstreams know as `{"input": …}`."""
    tool = {"type": "custom", "name": "now"}
    chunk = sse(upstream, [delta(upstream, "call", "x")], done=False)

    def prepare(n: int) -> Callable[[], object]:
        opening = sse(
            upstream, [*BEGIN[upstream], *OPEN[upstream, "call"], delta(upstream, "call", '{"input": "')], done=False
        )
        chunks = [opening, *[chunk] * n, sse(upstream, [delta(upstream, "call", '"}'), *END[upstream]])]
        exchange = translate_request(R, upstream, {**ASKING[R], "stream": True, "tools": [tool]})
        return lambda: fed(exchange.stream_translator(), chunks)

    out = prepare(50)()
    assert isinstance(out, bytes)
    assert b'"input":"' + b"x" * 50 + b'"' in out
    assert_linear_work(prepare, 5000)


# --- replay -----------------------------------------------------------------------------------------------------------


class _Broken(ReplayCache):
    def put(self, *_: Any) -> None:
        raise RuntimeError("no room")


THINKING = [
    *BEGIN[A],
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": "s"},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Hi"}},
    {"type": "content_block_stop", "index": 1},
    *END[A],
]


def test_an_answer_that_cannot_be_stored_ends_in_an_error() -> None:
    profile = AnthropicProfile.of_model("claude-opus-5")
    failures: list[Exception] = []
    cache = _Broken(on_failure=failures.append)
    exchange = translate_request(C, A, {**ASKING[C], "stream": True}, profile, replay_cache=cache)
    stream = exchange.stream_translator()
    out = fed(stream, [sse(A, THINKING)])
    assert ending(C, out) == "error"
    assert not stream.finished
    assert stream.failed is not None
    assert [str(failure) for failure in failures] == ["no room"]
    folder = exchange.folder()
    folder.feed(sse(A, THINKING))
    status, _, body = folder.result()
    assert status == 500
    assert "could not store" in json.loads(body)["error"]["message"]


def test_an_answer_of_which_nothing_would_be_lost_needs_no_store() -> None:
    exchange = translate_request(C, A, {**ASKING[C], "stream": True}, replay_cache=_Broken())
    out = fed(exchange.stream_translator(), stream_of(A, "text", 3))
    assert ending(C, out) == "proper"


def test_a_long_answer_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ReplayCache()
    exchange = translate_request(C, A, {**ASKING[C], "stream": True}, replay_cache=cache)
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 100)
    out = b"".join(exchange.stream_translator().feed(sse(A, [event])) for event in THINKING)
    monkeypatch.setattr(streaming, "CHECKED_BYTES", 10**6)
    stream = exchange.stream_translator()
    out = fed(stream, [sse(A, THINKING)])
    assert ending(C, out) == "proper"
    assert len(cache) == 1


def test_every_example_is_translated_completely() -> None:
    for client, upstream in ROUTES:
        out = fed(translated(client, upstream).stream_translator(), [sse(upstream, EVENTS[upstream])])
        assert ending(client, out) == "proper"
