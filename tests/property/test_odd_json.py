"""Odd values in every place of requests and answers: a 400 or a correct translation for requests, the client format's error or a proper end for answers.

The cases follow from fixed seeds. `HYPOTHESIS_PROFILE=nightly` runs 10,000 for each reader of a format.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings

from ccproxy.errors import BadRequest
from ccproxy.providers import json_edit
from ccproxy.translate.errors import unsupported_parameter
from ccproxy.translate.estimate import estimate_tokens
from ccproxy.translate.exchange import Translated, translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.replay import ReplayCache
from tests.examples.answers import ASKING, EVENTS, sse
from tests.examples.odd_seeds import ERRORS, REQUESTS, WHOLE
from tests.fakes.odd_json import bent, written
from tests.property.strategies import PROFILES
from tests.property.test_streams_in_any_shape import ending
from tests.referees import sdk

Json = dict[str, Any]
A, C, R = Format

CASES = max(300, settings.default.max_examples) if settings.default is not None else 300
ROUTES = [(client, upstream) for client in Format for upstream in Format if client is not upstream]
routes = pytest.mark.parametrize(("client", "upstream"), ROUTES)
profiles = pytest.mark.parametrize(
    ("client", "upstream", "flavour"),
    [(client, upstream, n) for client in Format for upstream in Format for n in range(len(PROFILES[upstream]))],
)


def is_line(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= 4096


def check_refusal(error: BadRequest) -> None:
    assert len(error.message) < 3000
    assert error.message.isprintable()
    assert error.param is None or is_line(error.param)


def request_of(body: Json, seed: str) -> Json | None:
    """The request as the gateway reads it; None when it refuses it."""
    try:
        parsed = json_edit.loads(written(body, seed))
    except BadRequest as error:
        check_refusal(error)
        return None
    return parsed if isinstance(parsed, dict) else None


@profiles
def test_odd_requests(client: Format, upstream: Format, flavour: int) -> None:
    cache = ReplayCache()
    cases = max(1, CASES // (2 * len(PROFILES[upstream])))
    profile = PROFILES[upstream][flavour]
    for n in range(cases):
        seed = f"request {client} {upstream} {flavour} {n}"
        original = REQUESTS[client][n % len(REQUESTS[client])]
        body = request_of(bent(original, seed), seed)
        if body is None:
            continue
        try:
            exchange = translate_request(client, upstream, body, profile, replay_cache=cache, session_id="s")
            sent = json.loads(exchange.encode())
        except BadRequest as error:
            check_refusal(error)
            continue
        except Exception as error:
            raise AssertionError(seed) from error
        assert isinstance(sent, dict), seed
        assert is_line(exchange.loss_header()), seed
        assert all(is_line(value) for value in exchange.headers.values()), seed
        if client is not upstream:
            answer_to(exchange, seed)


def answer_to(exchange: Translated, seed: str) -> None:
    """An ordinary answer reaches the client in full, whatever was odd in its request."""
    try:
        stream = exchange.stream_translator()
        out = stream.feed(sse(exchange.upstream, EVENTS[exchange.upstream])) + stream.close()
        assert ending(exchange.client, out) == "proper", seed
        folder = exchange.folder()
        folder.feed(sse(exchange.upstream, EVENTS[exchange.upstream]))
        status, headers, body = folder.result()
    except Exception as error:
        raise AssertionError(seed) from error
    assert status == 200, seed
    assert is_line(headers.get("x-ccproxy-loss", "")), seed
    assert json.loads(body), seed


@pytest.mark.parametrize("client", Format)
def test_odd_requests_are_counted_or_refused(client: Format) -> None:
    for n in range(CASES):
        seed = f"count {client} {n}"
        body = request_of(bent(REQUESTS[client][n % len(REQUESTS[client])], seed), seed)
        if body is None:
            continue
        try:
            assert estimate_tokens(client, body) > 0
        except BadRequest as error:
            check_refusal(error)
        except Exception as error:
            raise AssertionError(seed) from error


@routes
def test_odd_streams(client: Format, upstream: Format) -> None:
    for n in range(CASES // 2):
        seed = f"stream {client} {upstream} {n}"
        events = bent({"events": EVENTS[upstream]}, seed).get("events")
        events = events if isinstance(events, list) else [events]
        lines = [b"data: " + written(event, seed) + b"\n\n" for event in events]
        exchange = translate_request(client, upstream, {**ASKING[client], "stream": True}, replay_cache=ReplayCache())
        try:
            stream = exchange.stream_translator()
            out = b"".join(map(stream.feed, lines)) + stream.close()
            folder = exchange.folder()
            folder.feed(b"".join(lines))
            status, headers, body = folder.result()
        except Exception as error:
            raise AssertionError(seed) from error
        assert ending(client, out) in ("proper", "error"), seed
        assert (ending(client, out) == "proper") is (status == 200), seed
        check_answer(client, status, headers, body, seed)


def check_answer(client: Format, status: int, headers: dict[str, str], body: bytes, seed: str) -> None:
    assert is_line(headers.get("x-ccproxy-loss", "")), seed
    answer = json.loads(body)
    if status == 200:
        try:
            sdk.check_answer(client, answer)
        except Exception as error:
            raise AssertionError(seed) from error
    else:
        assert 400 <= status < 600, seed
        assert isinstance(answer["error"]["message"], str), seed


@routes
def test_odd_whole_answers(client: Format, upstream: Format) -> None:
    exchange = translate_request(client, upstream, ASKING[client])
    for n in range(CASES // 2):
        seed = f"whole {client} {upstream} {n}"
        data = written(bent(WHOLE[upstream], seed), seed)
        try:
            status, headers, body = exchange.whole(200, data)
            streamed = exchange.whole_as_stream(data)
        except Exception as error:
            raise AssertionError(seed) from error
        check_answer(client, status, headers, body, seed)
        assert ending(client, streamed) == ("proper" if status == 200 else "error"), seed


@routes
def test_odd_errors(client: Format, upstream: Format) -> None:
    exchange = translate_request(client, upstream, ASKING[client])
    for n in range(CASES // 2):
        seed = f"error {client} {upstream} {n}"
        data = written(bent(ERRORS[n % len(ERRORS)], seed), seed)
        try:
            status, headers, body = exchange.error((400, 429, 500, 503, 529)[n % 5], {"retry-after": "3"}, data)
            unsupported_parameter(400, data)
        except Exception as error:
            raise AssertionError(seed) from error
        check_answer(client, status, headers, body, seed)


@pytest.mark.parametrize("upstream", Format)
def test_an_answer_that_is_not_one_is_an_error(upstream: Format) -> None:
    for body in (b"{}", b"[]", b"null", b"3", b'"x"', b'{"ok": true}', b"{'a': 1}", b"", b"<html>"):
        for client in Format:
            if client is not upstream:
                status, _, out = translate_request(client, upstream, ASKING[client]).whole(200, body)
                assert status == 502, (client, body)
                assert isinstance(json.loads(out)["error"]["message"], str)
