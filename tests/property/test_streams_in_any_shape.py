"""However an upstream's stream is cut, bent or broken, the client gets its format's stream, and a proper end only when there was one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ccproxy.errors import UpstreamUnreachable
from ccproxy.translate.exchange import StreamTranslator, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.sse import SseParser
from tests.examples.answers import ASKING, EVENTS, sse
from tests.property.strategies import bent, cuts

Json = dict[str, Any]

ROUTES = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
routes = st.sampled_from(ROUTES)
whole_streams = {fmt: sse(fmt, events) for fmt, events in EVENTS.items()}


def translator(client: Format, upstream: Format) -> StreamTranslator:
    return translate_request(client, upstream, {**ASKING[client], "stream": True}).stream_translator()


def translated(client: Format, upstream: Format, pieces: list[bytes]) -> bytes:
    stream = translator(client, upstream)
    return b"".join(stream.feed(piece) for piece in pieces) + stream.close()


def events_of(data: bytes) -> list[tuple[str, str]]:
    return SseParser().feed(data)


def ending(client: Format, data: bytes) -> str:
    """How a client's stream ends: "proper", "error" or "nothing"."""
    events = events_of(data)
    assert data.endswith(b"\n\n") or not data
    if not events:
        return "nothing"
    name, last = events[-1]
    match client:
        case Format.ANTHROPIC:
            return {"message_stop": "proper", "error": "error"}.get(name, "nothing")
        case Format.OPENAI_CHAT:
            return "proper" if last == "[DONE]" else "error" if "error" in json.loads(last) else "nothing"
        case Format.OPENAI_RESPONSES:
            return {"response.completed": "proper", "response.incomplete": "proper", "response.failed": "error"}.get(
                name, "nothing"
            )


@settings(max_examples=150, deadline=None)
@given(data=st.data(), route=routes)
def test_cuts_do_not_matter(data: st.DataObject, route: tuple[Format, Format]) -> None:
    client, upstream = route
    stream = whole_streams[upstream]
    assert translated(client, upstream, data.draw(cuts(stream))) == translated(client, upstream, [stream])


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_every_single_cut_does_not_matter(client: Format, upstream: Format) -> None:
    stream = sse(upstream, EVENTS[upstream][:12])
    expected = translated(client, upstream, [stream])
    for place in range(len(stream)):
        assert translated(client, upstream, [stream[:place], stream[place:]]) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_line_ends_do_not_matter(client: Format, upstream: Format, end: str) -> None:
    stream = sse(upstream, EVENTS[upstream], end=end)
    expected = translated(client, upstream, [whole_streams[upstream]])
    assert translated(client, upstream, [stream]) == expected
    assert translated(client, upstream, [bytes([byte]) for byte in stream]) == expected


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_a_stream_that_breaks_off_never_ends_properly(client: Format, upstream: Format) -> None:
    events = EVENTS[upstream]
    complete = next(i for i, event in enumerate(events) if _is_last_word(upstream, event))
    for count in range(complete):
        data = translated(client, upstream, [sse(upstream, events[:count], done=False)])
        assert ending(client, data) == "error", events[:count][-1:]
    assert ending(client, translated(client, upstream, [whole_streams[upstream]])) == "proper"


def _is_last_word(upstream: Format, event: Json) -> bool:
    """The event after which nothing of the answer is missing."""
    if upstream is Format.OPENAI_CHAT:
        return bool(event["choices"] and event["choices"][0]["finish_reason"])
    return event["type"] in ("message_stop", "response.completed")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), route=routes)
def test_bent_events_end_the_stream_one_way_or_the_other(data: st.DataObject, route: tuple[Format, Format]) -> None:
    client, upstream = route
    holder = data.draw(bent({"events": EVENTS[upstream]}))
    events = holder.get("events")
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in (events if isinstance(events, list) else [events]))
    out = translated(client, upstream, [lines.encode("utf-8", "surrogatepass")])
    assert ending(client, out) in ("proper", "error")


@settings(max_examples=200, deadline=None)
@given(
    route=routes,
    pieces=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{}", b"null", b"\r", b"event: error\n"]),
        max_size=8,
    ),
)
def test_arbitrary_bytes_end_in_an_error(route: tuple[Format, Format], pieces: list[bytes]) -> None:
    client, upstream = route
    assert ending(client, translated(client, upstream, pieces)) in ("error", "proper")


@settings(max_examples=100, deadline=None)
@given(
    route=routes,
    body=st.binary(max_size=80)
    | st.sampled_from([b"null", b"[]", b"{}", b'{"error": 1}', b'{"choices": null}', b'{"output": [1]}']),
)
def test_an_arbitrary_whole_answer_is_converted_or_an_error(route: tuple[Format, Format], body: bytes) -> None:
    client, upstream = route
    exchange = translate_request(client, upstream, ASKING[client])
    status, headers, out = exchange.whole(200, body)
    assert headers["content-type"] == "application/json"
    assert isinstance(json.loads(out), dict)
    assert status == 200 or "error" in json.loads(out)
    assert ending(client, exchange.whole_as_stream(body)) in ("error", "proper")


@settings(max_examples=100, deadline=None)
@given(
    route=routes,
    status=st.integers(400, 599),
    body=st.binary(max_size=80) | st.text().map(lambda text: json.dumps({"detail": text}).encode()),
)
def test_an_arbitrary_error_is_sent_in_the_clients_format(
    route: tuple[Format, Format], status: int, body: bytes
) -> None:
    client, upstream = route
    exchange = translate_request(client, upstream, ASKING[client])
    converted, _, out = exchange.error(status, {"Retry-After": "3", "content-type": "text/html"}, body)
    error = json.loads(out)["error"]
    assert error["message"]
    assert 400 <= converted < 600


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_a_failure_in_the_middle_is_sent_once(client: Format, upstream: Format, count: int) -> None:
    stream = translator(client, upstream)
    out = stream.feed(sse(upstream, EVENTS[upstream][:count], done=False))
    out += stream.fail(UpstreamUnreachable("The line went dead"))
    assert ending(client, out) == "error"
    assert b"The line went dead" in out
    assert stream.fail(UpstreamUnreachable("again")) == b""
    assert stream.feed(whole_streams[upstream]) == b""
    assert stream.close() == b""
    assert not stream.finished
    assert stream.failed is not None


@pytest.mark.parametrize(("client", "upstream"), ROUTES)
def test_repeated_words_do_not_stop_a_stream(client: Format, upstream: Format) -> None:
    events = EVENTS[upstream]
    delta = next(
        e
        for e in events
        if json.dumps(e).count("text_delta") or json.dumps(e).count("output_text.delta") or _chat_text(e)
    )
    place = events.index(delta)
    data = translated(client, upstream, [sse(upstream, [*events[:place], *[delta] * 500, *events[place:]])])
    assert ending(client, data) == "proper"


def _chat_text(event: Json) -> bool:
    return bool(event.get("choices") and event["choices"][0]["delta"].get("content"))
