"""Errors: each format's own shapes, and one said in the other's words."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from ccproxy import errors as tree
from ccproxy.errors import BadRequest, ExchangeError, Overloaded, TooManyRequests, UpstreamError
from ccproxy.translate.errors import error_body, error_event, error_status, read_error, unsupported_parameter
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from tests.examples.answers import ANTHROPIC, ASKING, RESPONSES, chat_chunk, response, sse
from tests.referees.sdk import accumulate, httpx

Json = dict[str, Any]
A, C, R = Format


def translated_error(
    client: Format, upstream: Format, status: int, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Json]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, out, answer = translate_request(client, upstream, ASKING[client]).error(status, headers or {}, data)
    return status, out, json.loads(answer)


def anthropic_error(kind: str, message: str = "Because.") -> Json:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("kind", "status", "to_openai", "type_", "code"),
    [
        ("invalid_request_error", 400, 400, "invalid_request_error", None),
        ("authentication_error", 401, 401, "invalid_request_error", "invalid_api_key"),
        ("billing_error", 402, 402, "insufficient_quota", "insufficient_quota"),
        ("permission_error", 403, 403, "permission_error", None),
        ("not_found_error", 404, 404, "invalid_request_error", "model_not_found"),
        ("conflict_error", 409, 409, "conflict_error", None),
        ("request_too_large", 413, 413, "invalid_request_error", "request_too_large"),
        ("rate_limit_error", 429, 429, "rate_limit_error", "rate_limit_exceeded"),
        ("api_error", 500, 500, "server_error", None),
        ("timeout_error", 504, 504, "server_error", "timeout"),
        ("overloaded_error", 529, 503, "server_error", "server_is_overloaded"),
    ],
)
@pytest.mark.parametrize("client", [C, R])
def test_anthropics_errors_for_openais_clients(
    client: Format, kind: str, status: int, to_openai: int, type_: str, code: str | None
) -> None:
    found, _, body = translated_error(client, A, status, anthropic_error(kind))
    assert found == to_openai
    assert body == {"error": {"message": "Because.", "type": type_, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "error", "to_anthropic", "kind"),
    [
        (400, {"message": "Because.", "type": "invalid_request_error", "code": None}, 400, "invalid_request_error"),
        (401, {"message": "Because.", "code": "invalid_api_key"}, 401, "authentication_error"),
        (401, {"message": "Because.", "code": "token_expired", "type": None}, 401, "authentication_error"),
        (403, {"message": "Because."}, 403, "permission_error"),
        (404, {"message": "Because.", "code": "model_not_found"}, 404, "not_found_error"),
        (413, {"message": "Because."}, 413, "request_too_large"),
        (422, {"message": "Because."}, 422, "invalid_request_error"),
        (429, {"message": "Because.", "type": "tokens", "code": "rate_limit_exceeded"}, 429, "rate_limit_error"),
        (
            429,
            {"message": "Because.", "type": "insufficient_quota", "code": "insufficient_quota"},
            402,
            "billing_error",
        ),
        (429, {"message": "Because.", "type": "usage_not_included"}, 403, "permission_error"),
        (429, {"message": "Because."}, 429, "rate_limit_error"),
        (500, {"message": "Because.", "type": "server_error"}, 500, "api_error"),
        (503, {"message": "Because.", "code": "server_is_overloaded"}, 529, "overloaded_error"),
        (503, {"message": "Because.", "code": "slow_down"}, 529, "overloaded_error"),
        (503, {"message": "Because."}, 529, "overloaded_error"),
        (504, {"message": "Because."}, 504, "timeout_error"),
        (520, {"message": "Because."}, 520, "api_error"),
        (418, {"message": "Because."}, 418, "invalid_request_error"),
    ],
    ids=range(18),
)
@pytest.mark.parametrize("upstream", [C, R])
def test_openais_errors_for_anthropics_clients(
    upstream: Format, status: int, error: Json, to_anthropic: int, kind: str
) -> None:
    found, _, body = translated_error(A, upstream, status, {"error": error})
    assert found == to_anthropic
    assert body == {"type": "error", "error": {"type": kind, "message": "Because."}, "request_id": None}


def test_a_prompt_too_long_in_the_words_that_clients_look_for() -> None:
    _, _, body = translated_error(
        R, A, 400, anthropic_error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
    )
    assert body["error"]["code"] == "context_length_exceeded"
    error = {
        "message": "Your input exceeds the context window of this model.",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
    }
    _, _, body = translated_error(A, R, 400, {"error": error})
    assert body["error"]["message"].startswith("prompt is too long: Your input")
    _, _, body = translated_error(A, C, 400, {"error": {**error, "message": "prompt is too long: 9 > 8"}})
    assert body["error"]["message"] == "prompt is too long: 9 > 8"


def test_the_field_that_is_to_blame() -> None:
    _, _, body = translated_error(
        C, A, 400, anthropic_error("invalid_request_error", "messages.3.content.0.text: may not be empty")
    )
    assert body["error"]["param"] == "messages[3].content[0].text"
    _, _, body = translated_error(C, R, 400, {"error": {"message": "No.", "param": "input[0]"}})
    assert body["error"]["param"] == "input[0]"
    _, _, body = translated_error(C, R, 400, {"error": {"message": "No.", "param": 3}})
    assert body["error"]["param"] is None


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"detail": "Store must be set to false"}, "Store must be set to false"),
        (422, {"detail": [{"msg": "one"}, "two", 3]}, "one; two"),
        (400, {"detail": {"odd": 1}}, "The upstream gave no reason"),
        (400, {"error": "plain words"}, "plain words"),
        (400, {"error": 3}, "The upstream gave no reason"),
        (400, {"message": "loose words"}, "loose words"),
        (400, [{"error": {"message": "wrapped"}}], "wrapped"),
        (400, anthropic_error("invalid_request_error"), "Because."),
        (502, b"bad gateway\n\n  really", "bad gateway really"),
        (502, b"", "The upstream answered 502 without a body"),
        (502, b"{}", "{}"),
        (500, b"x" * 2000, "x" * 500),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("client", [A, C])
def test_bodies_of_any_kind(client: Format, status: int, body: Any, message: str) -> None:
    upstream = R
    found, headers, answer = translated_error(client, upstream, status, body)
    assert answer["error"]["message"] == message
    assert headers["content-type"] == "application/json"
    assert found in (status, 502)


def test_a_web_page_is_named_as_one() -> None:
    page = b"<html><head><style>x{}</style><script>1</script></head><body><h1>Just a moment...</h1></body></html>"
    _, _, body = translated_error(C, R, 403, page, {"CF-Ray": "abc", "Content-Type": "text/html"})
    assert body["error"]["message"] == "The upstream answered 403 with a web page (cf-ray abc): Just a moment..."
    assert body["error"]["type"] == "permission_error"


def test_chat_errors_of_an_anthropic_compatible_server() -> None:
    _, _, body = translated_error(C, A, 429, {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}})
    assert body["error"]["code"] == "rate_limit_exceeded"


def test_limits_and_waiting_times_pass_in_both_words() -> None:
    headers = {
        "Retry-After": "7",
        "Request-Id": "req_9",
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-unified-5h-status": "rejected",
        "set-cookie": "secret",
    }
    _, out, _ = translated_error(C, A, 429, anthropic_error("rate_limit_error"), headers)
    assert out == {
        "content-type": "application/json",
        "anthropic-ratelimit-requests-remaining": "3",
        "x-ratelimit-remaining-requests": "3",
        "anthropic-ratelimit-unified-5h-status": "rejected",
        "retry-after": "7",
        "x-request-id": "req_9",
    }
    headers = {"x-ratelimit-limit-tokens": "9", "x-request-id": "req_8", "x-codex-plan-type": "pro"}
    _, out, body = translated_error(
        A, R, 429, {"error": {"type": "usage_limit_reached", "message": "Enough.", "resets_in_seconds": 12345}}, headers
    )
    assert out["anthropic-ratelimit-tokens-limit"] == "9"
    assert out["retry-after"] == "12345"
    assert out["request-id"] == "req_8"
    assert body["request_id"] == "req_8"
    assert body["error"]["type"] == "rate_limit_error"


def test_the_sdks_raise_what_they_should() -> None:
    _, _, body = translated_error(A, R, 429, {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}})

    def answer(request: Any) -> Any:
        return httpx.Response(429, json=body, request=request)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        sdk = anthropic.Anthropic(api_key="dummy", base_url="http://sdk.invalid", max_retries=0, http_client=http)
        with pytest.raises(anthropic.RateLimitError, match="Slow"):
            sdk.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}])


# --- in the middle of a stream ---------------------------------------------------------------------------------------


def broken(client: Format, upstream: Format, events: list[Json]) -> bytes:
    stream = translate_request(client, upstream, {**ASKING[client], "stream": True}).stream_translator()
    return stream.feed(sse(upstream, events, done=False)) + stream.close()


FAILED = [
    (A, [*ANTHROPIC[:6], {"type": "error", "error": {"type": "overloaded_error", "message": "Too many."}}]),
    (C, [chat_chunk({"content": "a"}), {"error": {"message": "Too many.", "code": "server_is_overloaded"}}]),
    (
        R,
        [
            *RESPONSES[:6],
            {
                "type": "response.failed",
                "response": response("failed", [], error={"code": "server_is_overloaded", "message": "Too many."}),
            },
        ],
    ),
    (R, [*RESPONSES[:6], {"type": "error", "code": "server_is_overloaded", "message": "Too many.", "param": None}]),
    (R, [*RESPONSES[:6], {"type": "error", "error": {"code": "server_is_overloaded", "message": "Too many."}}]),
]


@pytest.mark.parametrize(
    ("client", "upstream", "events"),
    [
        pytest.param(client, *failed, id=f"{client}-{i}")
        for client in Format
        for i, failed in enumerate(FAILED)
        if client is not failed[0]
    ],
)
def test_an_upstreams_failure_ends_the_stream_in_an_error(client: Format, upstream: Format, events: list[Json]) -> None:
    data = broken(client, upstream, events)
    last = json.loads(data.rstrip().rpartition(b"data: ")[2])
    match client:
        case Format.ANTHROPIC:
            assert last == {
                "type": "error",
                "error": {"type": "overloaded_error", "message": "Too many."},
                "request_id": None,
            }
            with pytest.raises(anthropic.APIStatusError, match="Too many"):
                accumulate(client, data)
        case Format.OPENAI_CHAT:
            assert last["error"] == {
                "message": "Too many.",
                "type": "server_error",
                "param": None,
                "code": "server_is_overloaded",
            }
            assert b"[DONE]" not in data
            with pytest.raises(openai.APIError, match="Too many"):
                accumulate(client, data)
        case Format.OPENAI_RESPONSES:
            assert last["response"]["error"] == {"code": "server_is_overloaded", "message": "Too many."}
            assert accumulate(client, data)["status"] == "failed"
    exchange = translate_request(client, upstream, ASKING[client])
    folder = exchange.folder()
    folder.feed(sse(upstream, events, done=False))
    status, _, body = folder.result()
    assert status == (529 if client is A else 503)
    assert b"Too many." in body


def test_codex_reads_the_time_to_wait_from_the_words() -> None:
    stream = translate_request(R, A, ASKING[R]).stream_translator()
    data = stream.fail(UpstreamError("Slow.", status=429, kind="rate_limit_error", headers={"retry-after": "11"}))
    failed = json.loads(data.rstrip().rpartition(b"data: ")[2])
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Slow. Please try again in 11s."}
    assert accumulate(R, data)["status"] == "failed"


@pytest.mark.parametrize("client", [A, C])
def test_a_failed_whole_answer_is_an_error_answer(client: Format) -> None:
    exchange = translate_request(client, R, ASKING[client])
    body = response("failed", [], error={"code": "rate_limit_exceeded", "message": "Slow."})
    status, _, out = exchange.whole(200, json.dumps(body).encode())
    assert status == 429
    assert b"Slow." in out
    status, _, out = exchange.whole(200, json.dumps(response("cancelled", [])).encode())
    assert status == 500
    assert b"cancelled" in out
    status, _, out = exchange.whole(200, b'{"error": {"message": "Oh.", "code": "invalid_prompt"}}')
    assert status == 400


def test_whole_answers_that_are_errors() -> None:
    status, _, out = translate_request(C, A, ASKING[C]).whole(
        200, json.dumps(anthropic_error("overloaded_error")).encode()
    )
    assert status == 503
    status, _, out = translate_request(A, C, ASKING[A]).whole(
        200, b'{"error": {"message": "Oh.", "type": "invalid_request_error"}}'
    )
    assert status == 400
    assert b"Oh." in out


# --- ccproxy's own ---------------------------------------------------------------------------------------------------


def _leaves(kind: type[ExchangeError]) -> list[type[ExchangeError]]:
    return [
        leaf
        for child in kind.__subclasses__()
        for leaf in (
            [child, *_leaves(child)] if child is not UpstreamError and child.__module__ == tree.__name__ else []
        )
    ]


@pytest.mark.parametrize("kind", _leaves(ExchangeError), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("client", list(Format))
def test_every_error_of_ccproxy_has_a_body_and_an_event(client: Format, kind: type[ExchangeError]) -> None:
    error = kind("Do this.", param="model")
    assert 400 <= error_status(client, error) < 600
    body = json.loads(error_body(client, error, "req_1"))
    assert body["error"]["message"] == "Do this."
    event = error_event(client, error, "req_1")
    assert event.endswith(b"\n\n")
    assert b"Do this." in event
    if client is A:
        assert body["request_id"] == "req_1"
        assert body["error"]["type"] == error.kind
    else:
        assert body["error"]["param"] == "model"


def test_the_tree_is_complete() -> None:
    assert {kind.__name__ for kind in _leaves(ExchangeError)} | {"UpstreamError"} == {
        name
        for name, kind in vars(tree).items()
        if isinstance(kind, type) and issubclass(kind, ExchangeError) and kind is not ExchangeError
    }


def test_statuses_that_only_one_side_knows() -> None:
    assert [error_status(fmt, Overloaded("x")) for fmt in Format] == [529, 503, 503]
    assert [error_status(fmt, TooManyRequests("x")) for fmt in Format] == [429, 429, 429]
    assert json.loads(error_body(C, TooManyRequests("x")))["error"]["code"] == "rate_limit_exceeded"
    assert json.loads(error_body(C, BadRequest("x", code="special")))["error"]["code"] == "special"


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (400, b'{"detail": "Unsupported parameter: max_output_tokens"}', "max_output_tokens"),
        (
            400,
            b'{"error": {"message": "Unsupported parameter: \'text.verbosity\' is not supported with this model."}}',
            "text.verbosity",
        ),
        (
            400,
            b'{"error": {"message": "Unsupported parameter: \'temperature\' is not supported with this model.", "type": "invalid_request_error",'
            b' "param": "temperature", "code": "unsupported_parameter"}}',
            "temperature",
        ),
        (400, b'{"detail": "Store must be set to false"}', None),
        (500, b'{"detail": "Unsupported parameter: temperature"}', None),
        (400, b"<html>", None),
        (400, b"[]", None),
        (400, b'{"detail": ["Unsupported parameter: temperature"]}', None),
        (400, b'{"error": "Unsupported parameter: temperature"}', None),
        (400, b'{"error": {"message": "Unsupported parameter: \'user\'", "param": "input[0]"}}', None),
        (400, b'{"detail": "Unsupported parameter: parameter_of_next_year"}', None),
    ],
    ids=range(11),
)
def test_the_parameter_that_a_backend_refused(status: int, body: bytes, name: str | None) -> None:
    assert unsupported_parameter(status, body) == name


@pytest.mark.parametrize(
    "name",
    [
        "model",
        "input",
        "messages",
        "stream",
        "store",
        "tools",
        "tool_choice",
        "instructions",
        "text",
        "text.format",
        "system",
    ],
)
def test_what_carries_the_conversation_is_never_left_out(name: str) -> None:
    for body in (
        {"detail": f"Unsupported parameter: {name}"},
        {"error": {"message": f"Unsupported parameter: '{name}'", "param": name}},
    ):
        assert unsupported_parameter(400, json.dumps(body).encode()) is None


QUOTES = [
    "Invalid value: 'Unsupported parameter: temperature'. Supported values are: 'auto'.",
    "Invalid 'input[0].content': Unsupported parameter: temperature",
    "Unsupported parameter: temperature\nUnsupported parameter: user",
    "Unsupported parameter: temperature, said the client",
    "Unsupported parameter: 'temperature",
    " Unsupported parameter: temperature",
    "Unsupported parameter: temperature" + " " * 5000,
]


@pytest.mark.parametrize("message", QUOTES)
def test_text_of_the_client_in_an_error_is_not_taken_for_a_refusal(message: str) -> None:
    for body in ({"detail": message}, {"error": {"message": message, "param": "temperature"}}, {"message": message}):
        assert unsupported_parameter(400, json.dumps(body).encode()) is None


def test_reading_never_fails() -> None:
    for fmt in Format:
        assert read_error(fmt, 500, {}, b"\xff\xfe").status == 500
