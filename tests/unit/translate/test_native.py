"""Client and upstream speak the same format: what passes, and the little that does not."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from ccproxy.errors import UpstreamUnreachable
from ccproxy.translate import capsule
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import ResponsesProfile
from ccproxy.translate.stops import StopClass
from tests.examples.answers import EVENTS, RESPONSES, response, sse
from tests.examples.requests import RICH

Json = dict[str, Any]
A, C, R = Format
CODEX = ResponsesProfile.of_model("gpt-5.5", codex=True)


@pytest.mark.parametrize("fmt", list(Format))
def test_a_request_passes_untouched(fmt: Format) -> None:
    exchange = translate_request(fmt, fmt, RICH[fmt])
    assert exchange.body is RICH[fmt]
    assert not exchange.changed
    assert exchange.losses == []
    assert exchange.stream


# --- capsules --------------------------------------------------------------------------------------------------------


def test_another_providers_thinking_is_taken_out() -> None:
    sealed = capsule.seal(R, "m", {"id": "rs_1"})
    own = {"type": "thinking", "thinking": "own", "signature": "c2ln"}
    cited = {
        "type": "web_search_result_location",
        "url": "u",
        "title": "t",
        "cited_text": "c",
        "encrypted_index": sealed,
    }
    blocks = [
        own,
        {"type": "thinking", "thinking": "x", "signature": sealed},
        {"type": "redacted_thinking", "data": sealed},
        {"type": "server_tool_use", "id": "srvtoolu_ws_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_ws_1", "content": []},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_2",
            "content": [{"type": "web_search_result", "encrypted_content": sealed}],
        },
        {"type": "server_tool_use", "id": "srvtoolu_3", "name": "web_search", "input": {}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_3",
            "content": [{"type": "web_search_result", "encrypted_content": "own"}],
        },
        {"type": "text", "text": "a", "citations": [cited]},
        {"type": "text", "text": "b", "citations": [cited, {**cited, "encrypted_index": "own"}]},
        {"type": "text", "text": "c", "citations": []},
        "not a block",
    ]
    messages = [
        {"role": "user", "content": [{"type": "thinking", "signature": sealed}]},
        {"role": "assistant", "content": blocks},
        {"role": "assistant", "content": [blocks[1]]},
        {"role": "assistant", "content": "plain"},
        "not a message",
    ]
    body = {"model": "m", "messages": messages}
    before = deepcopy(body)
    exchange = translate_request(A, A, body)
    assert body == before
    kept = exchange.body["messages"]
    assert kept[0] is messages[0], "only the assistant's own words are looked at"
    assert kept[1]["content"] == [
        own,
        *blocks[7:9],
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "citations": [{**cited, "encrypted_index": "own"}]},
        *blocks[11:],
    ]
    assert kept[2:] == messages[3:]
    assert [loss.path for loss in exchange.losses] == [f"messages[1].content[{i}]" for i in (1, 2, 3, 4, 5, 6)] + [
        "messages[2].content[0]"
    ]


def test_claudes_thinking_never_reaches_openai() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": capsule.seal(A, "m", {})},
        {"role": "user", "content": "hi"},
    ]
    exchange = translate_request(R, R, {"model": "m", "input": items})
    assert exchange.body["input"] == items[1:]
    assert [loss.path for loss in exchange.losses] == ["input[0]"]
    own = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}]
    assert not translate_request(R, R, {"model": "m", "input": own}).changed


@pytest.mark.parametrize(
    "body", [{}, {"messages": "x"}, {"messages": [{"role": "assistant", "content": "x"}]}, {"input": 3}]
)
def test_bodies_of_any_shape_pass(body: Json) -> None:
    for fmt in Format:
        assert translate_request(fmt, fmt, body).body is body


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [A, C])
def test_a_whole_answer_is_folded_from_a_stream(fmt: Format) -> None:
    exchange = translate_request(fmt, fmt, {"model": "m"})
    folder = exchange.folder()
    folder.feed(sse(fmt, EVENTS[fmt]))
    status, _, body = folder.result()
    assert status == 200
    whole = json.loads(body)
    if fmt is A:
        assert [block["type"] for block in whole["content"]] == [
            "thinking",
            "redacted_thinking",
            "server_tool_use",
            "web_search_tool_result",
            "text",
            "text",
            "tool_use",
            "tool_use",
        ]
        assert whole["content"][0]["signature"] == "c2lnbmF0dXJl"
        assert whole["content"][5]["citations"][0]["encrypted_index"] == "aW5kZXg="
    else:
        assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Zürich"}'


def test_a_codex_stream_folds_into_its_own_last_word() -> None:
    exchange = translate_request(R, R, {"model": "m", "input": "hi"}).noting(["top_p"], "refused")
    folder = exchange.folder()
    data = sse(R, RESPONSES)
    for i in range(0, len(data), 50):
        folder.feed(data[i : i + 50])
    status, headers, body = folder.result()
    assert status == 200
    assert json.loads(body) == RESPONSES[-1]["response"]
    assert headers["x-ccproxy-loss"] == "top_p"
    assert folder.reading.usage is not None
    assert folder.reading.usage.tokens.output == 42
    assert folder.reading.stop is StopClass.TOOL_USE
    assert folder.reading.model == "gpt-5.5"
    assert not folder.stopped


def test_an_empty_output_is_filled_from_the_items() -> None:
    last = {**RESPONSES[-1], "response": {**RESPONSES[-1]["response"], "output": []}}
    folder = translate_request(R, R, {"model": "m", "input": "hi"}).folder()
    folder.feed(sse(R, [*RESPONSES[:-1], last]).rstrip())
    _, _, body = folder.result()
    assert json.loads(body)["output"] == RESPONSES[-1]["response"]["output"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (sse(R, RESPONSES[:6]), 502),
        (b"data: {half\n\n", 502),
        (b"data: 3\n\n", 502),
        (b"", 502),
        (
            sse(
                R,
                [
                    {
                        "type": "response.failed",
                        "response": response("failed", [], error={"code": "rate_limit_exceeded", "message": "Slow."}),
                    }
                ],
            ),
            429,
        ),
        (sse(R, [{"type": "error", "message": "Oh.", "code": "invalid_prompt"}]), 400),
    ],
    ids=range(6),
)
def test_a_codex_stream_that_fails_folds_into_an_error(data: bytes, status: int) -> None:
    folder = translate_request(R, R, {"model": "m", "input": "hi"}).folder()
    folder.feed(data)
    found, _, body = folder.result()
    assert found == status
    assert json.loads(body)["error"]["message"]
    assert folder.failed is not None


def test_a_codex_answer_that_fails_at_ccproxy() -> None:
    folder = translate_request(R, R, {"model": "m", "input": "hi"}).folder()
    folder.fail(UpstreamUnreachable("The line went dead"))
    assert folder.result()[0] == 502
    other = translate_request(
        A, R, {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    ).folder()
    other.fail(UpstreamUnreachable("The line went dead"))
    assert other.failed is not None
    assert b"The line" in other.result()[2]


def test_whole_answers_pass_byte_for_byte() -> None:
    raw = b'{ "any":  1 }'
    for fmt in Format:
        assert translate_request(fmt, fmt, RICH[fmt]).whole(200, raw)[2] == raw
    body = json.dumps(RESPONSES[-1]["response"]).encode()
    exchange = translate_request(R, R, {"model": "m", "input": "hi", "stream": True})
    assert b"response.completed" in exchange.whole_as_stream(body)
    folder = exchange.folder()
    folder.feed_whole(json.loads(body))
    assert json.loads(folder.result()[2]) == json.loads(body)
    assert exchange.error(400, {}, b'{"detail": "No."}')[0] == 400
