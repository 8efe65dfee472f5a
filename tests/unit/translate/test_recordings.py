"""Recorded exchanges, asked for in every other format. Runs when CCPROXY_CORPUS names the folder of recordings."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile
from tests.referees import sdk
from tests.referees.facts import Facts, facts
from tests.referees.recordings import Recording, recordings

Json = dict[str, Any]

RECORDINGS = list(recordings())
PAIRS = [
    pytest.param(r, client, id=f"{r.name[:-5]}-as-{client}")
    for r in RECORDINGS
    for client in Format
    if client is not r.fmt
]

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="CCPROXY_CORPUS names no folder of recordings")

ASKING: dict[Format, Json] = {
    Format.ANTHROPIC: {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    Format.OPENAI_CHAT: {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": True},
    },
    Format.OPENAI_RESPONSES: {"model": "m", "input": "hi"},
}


def expected(recording: Recording, client: Format) -> Facts:
    """The facts of the recording, in the words of the client's format where it has fewer."""
    found = facts(recording.fmt, recording.whole())
    calls = found.calls
    if client is Format.ANTHROPIC:
        calls = tuple((name, given if isinstance(given, dict) else _as_input(given)) for name, given in calls)
    if recording.fmt is Format.ANTHROPIC:
        calls = tuple((name, _as_arguments(given)) for name, given in calls)
    text = found.text
    if client is not Format.ANTHROPIC and found.stop == "refusal" and not text:
        text = ((recording.whole().get("stop_details") or {}).get("explanation")) or ""
    return found._replace(calls=calls, text=text)


def _as_input(given: Any) -> Json:
    """A free text, or JSON that was cut, in Anthropic's `input`."""
    return {"input": given} if isinstance(given, str) else {"_raw_arguments": json.dumps(given)}


def _as_arguments(given: Any) -> Any:
    return given


@pytest.mark.parametrize(("recording", "client"), PAIRS)
def test_an_answer_keeps_what_it_says(recording: Recording, client: Format) -> None:
    exchange = translate_request(client, recording.fmt, {**ASKING[client], "stream": recording.stream})
    folder = exchange.folder()
    if recording.stream:
        folder.feed(recording.answer)
        status, _, body = folder.result()
    else:
        status, _, body = exchange.whole(200, recording.answer)
    assert status == 200, body
    whole = json.loads(body)
    sdk.check_answer(client, whole)
    found, want = facts(client, whole), expected(recording, client)
    assert found.text == want.text
    assert found.calls == want.calls
    assert found.stop == want.stop
    assert found.usage == want.usage
    assert found.reasoning == want.reasoning
    assert found.citations == want.citations


@pytest.mark.parametrize(("recording", "client"), PAIRS)
def test_a_stream_is_the_whole_answer_to_the_sdk(recording: Recording, client: Format) -> None:
    exchange = translate_request(client, recording.fmt, {**ASKING[client], "stream": True})
    stream = exchange.stream_translator()
    if recording.stream:
        step = 97
        pieces = [stream.feed(recording.answer[i : i + step]) for i in range(0, len(recording.answer), step)]
        data = b"".join(pieces) + stream.close()
        folder = exchange.folder()
        folder.feed(recording.answer)
        _, _, body = folder.result()
    else:
        data = exchange.whole_as_stream(recording.answer)
        _, _, body = exchange.whole(200, recording.answer)
    try:
        accumulated = sdk.accumulate(client, data)
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as refused:
        accumulated = refused.completion.to_dict(mode="json") if hasattr(refused, "completion") else {}
        if not accumulated:
            return  # the SDK keeps nothing of an answer that was filtered
    except AttributeError:
        assert b'"type":"custom"' in data  # the SDK cannot accumulate custom tool calls, OpenAI's own neither
        return
    assert sdk.plain(accumulated) == sdk.plain(json.loads(body))


def _profiles(upstream: Format) -> list[Profile]:
    match upstream:
        case Format.ANTHROPIC:
            return [AnthropicProfile.of_model("claude-opus-5"), AnthropicProfile.of_model("claude-sonnet-4-5")]
        case Format.OPENAI_CHAT:
            return [ChatProfile()]
        case Format.OPENAI_RESPONSES:
            return [
                ResponsesProfile.of_model("gpt-5.5"),
                ResponsesProfile.of_model("gpt-5.5", codex=True),
                ResponsesProfile.of_model("gpt-6.1-sol", codex=True),
            ]


@pytest.mark.parametrize(("recording", "upstream"), PAIRS)
def test_a_request_is_valid_for_its_upstream_or_refused_by_name(recording: Recording, upstream: Format) -> None:
    if recording.request is None:
        pytest.skip("only the answer was recorded")
    for profile in _profiles(upstream):
        try:
            exchange = translate_request(recording.fmt, upstream, recording.request, profile)
        except BadRequest as refused:
            if not refused.param:
                raise
            continue
        body = exchange.body
        if isinstance(profile, ResponsesProfile) and profile.lite:
            body = sdk.with_image_detail(body)  # Responses-Lite refuses what the public API demands
        sdk.check_request(upstream, body)
