"""Conversations of any course: what was said goes over and comes back, and what was sent is the beginning of what is sent next."""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

from hypothesis import given, settings, strategies as st

from ccproxy.translate.dialects import DIALECTS
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import Image, Text, ToolCall, ToolResult
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile

Json = dict[str, Any]
A, C, R = Format

PROFILES: list[tuple[Format, Profile]] = [
    (A, AnthropicProfile.of_model("claude-opus-5")),
    (A, AnthropicProfile.of_model("claude-sonnet-4-5")),
    (C, ChatProfile()),
    (R, ResponsesProfile.of_model("gpt-5.5")),
    (R, ResponsesProfile.of_model("gpt-5.5", codex=True)),
    (R, ResponsesProfile.of_model("gpt-6", codex=True)),
]
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and text
)
arguments = st.dictionaries(
    st.sampled_from(["a", "ü"]), st.integers() | words | st.lists(st.booleans(), max_size=2), max_size=2
)


class Step(NamedTuple):
    """One answer and what the user's side says to it."""

    texts: list[str]
    calls: list[tuple[str, Json]]
    results: list[str]
    instruction: str
    question: str
    image: bool


@st.composite
def steps(draw: st.DrawFn) -> Step:
    calls = draw(st.lists(st.tuples(st.sampled_from(["now", "find"]), arguments), max_size=3))
    texts = draw(st.lists(words, min_size=0 if calls else 1, max_size=2))
    results = [draw(words) for _ in calls]
    question = draw(words) if not calls or draw(st.booleans()) else ""
    return Step(texts, calls, results, draw(words | st.just("")), question, draw(st.booleans()) and bool(question))


class History(NamedTuple):
    instructions: list[str]
    opening: str
    steps: list[Step]


@st.composite
def histories(draw: st.DrawFn) -> History:
    return History(draw(st.lists(words, max_size=2)), draw(words), draw(st.lists(steps(), max_size=5)))


PNG = "aGk="


def write(fmt: Format, history: History) -> Json:
    """The history as a client of this format sends it."""
    return {A: _messages, C: _chat, R: _responses}[fmt](history)


def _messages(history: History) -> Json:
    messages: list[Json] = [{"role": "user", "content": history.opening}]
    for n, step in enumerate(history.steps):
        content: list[Json] = [{"type": "text", "text": text} for text in step.texts]
        content += [
            {"type": "tool_use", "id": f"c{n}_{i}", "name": name, "input": given}
            for i, (name, given) in enumerate(step.calls)
        ]
        messages.append({"role": "assistant", "content": content})
        said: list[Json] = [
            {"type": "tool_result", "tool_use_id": f"c{n}_{i}", "content": text} for i, text in enumerate(step.results)
        ]
        if step.question:
            said.append({"type": "text", "text": step.question})
        if step.image:
            said.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
        messages.append({"role": "user", "content": said})
        if step.instruction:
            messages.append({"role": "system", "content": step.instruction})
    body: Json = {"model": "m", "max_tokens": 100, "messages": messages}
    if history.instructions:
        body["system"] = [{"type": "text", "text": text} for text in history.instructions]
    body["tools"] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in ("now", "find")]
    return body


def _chat(history: History) -> Json:
    messages: list[Json] = [{"role": "system", "content": text} for text in history.instructions]
    messages.append({"role": "user", "content": history.opening})
    for n, step in enumerate(history.steps):
        answer: Json = {"role": "assistant", "content": [{"type": "text", "text": text} for text in step.texts] or None}
        if step.calls:
            answer["tool_calls"] = [
                {"id": f"c{n}_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                for i, (name, given) in enumerate(step.calls)
            ]
        messages.append(answer)
        messages += [
            {"role": "tool", "tool_call_id": f"c{n}_{i}", "content": text} for i, text in enumerate(step.results)
        ]
        if step.instruction:
            messages.append({"role": "system", "content": step.instruction})
        if step.question:
            said: list[Json] = [{"type": "text", "text": step.question}]
            if step.image:
                said.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}})
            messages.append({"role": "user", "content": said})
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
        for name in ("now", "find")
    ]
    return {"model": "m", "messages": messages, "tools": tools}


def _responses(history: History) -> Json:
    items: list[Json] = [{"role": "user", "content": history.opening}]
    for n, step in enumerate(history.steps):
        if step.texts:
            content = [{"type": "output_text", "text": text, "annotations": []} for text in step.texts]
            items.append({"type": "message", "role": "assistant", "content": content})
        items += [
            {"type": "function_call", "call_id": f"c{n}_{i}", "name": name, "arguments": json.dumps(given)}
            for i, (name, given) in enumerate(step.calls)
        ]
        items += [
            {"type": "function_call_output", "call_id": f"c{n}_{i}", "output": text}
            for i, text in enumerate(step.results)
        ]
        if step.instruction:
            items.append({"role": "developer", "content": step.instruction})
        if step.question:
            said: list[Json] = [{"type": "input_text", "text": step.question}]
            if step.image:
                said.append({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"})
            items.append({"role": "user", "content": said})
    body: Json = {"model": "m", "input": items}
    if history.instructions:
        body["instructions"] = history.instructions[0]
        body["input"] = [{"role": "developer", "content": text} for text in history.instructions[1:]] + items
    body["tools"] = [
        {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False}
        for name in ("now", "find")
    ]
    return body


@settings(max_examples=150, deadline=None)
@given(history=histories(), client=st.sampled_from(list(Format)), route=st.sampled_from(PROFILES))
def test_what_was_sent_is_the_beginning_of_what_is_sent_next(
    history: History, client: Format, route: tuple[Format, Profile]
) -> None:
    upstream, profile = route
    if client is upstream:
        return
    sent = [
        translate_request(client, upstream, write(client, history._replace(steps=history.steps[:count])), profile).body
        for count in range(len(history.steps) + 1)
    ]
    key = "input" if upstream is R else "messages"
    for before, after in itertools.pairwise(sent):
        assert after[key][: len(before[key])] == before[key]
        assert {name: value for name, value in after.items() if name != key} == {
            name: value for name, value in before.items() if name != key
        }


def facts(fmt: Format, body: Json) -> list[tuple[str, list[Any]]]:
    """Who said what, with neighbours of one role in one turn and results first, as all formats can say it."""
    turns: list[tuple[str, list[Any]]] = []
    for turn in DIALECTS[fmt].parse(body, Losses()).turns:
        said: list[Any] = []
        for part in turn.parts:
            match part:
                case Text():
                    said.append(("text", part.text))
                case Image():
                    said.append(("image", part.data))
                case ToolCall():
                    said.append(
                        (
                            "call",
                            part.id,
                            part.name,
                            part.input if part.arguments is None else json.loads(part.arguments),
                        )
                    )
                case ToolResult():
                    assert isinstance(part.content, str)
                    said.append(("result", part.id, part.content))
        if turns and turns[-1][0] == turn.role:
            turns[-1][1].extend(said)
        else:
            turns.append((turn.role, said))
    return [(role, sorted(said, key=lambda one: one[0] != "result")) for role, said in turns]


BACK: dict[Format, Profile] = {
    A: AnthropicProfile.of_model("claude-opus-5"),
    C: ChatProfile(),
    R: ResponsesProfile.of_model("gpt-5.5"),
}


@settings(max_examples=150, deadline=None)
@given(history=histories(), client=st.sampled_from(list(Format)), upstream=st.sampled_from(list(Format)))
def test_a_conversation_survives_the_way_there_and_back(history: History, client: Format, upstream: Format) -> None:
    if client is upstream:
        return
    if A in (client, upstream):  # the place of instructions among what the user says differs: Anthropic's follow it
        history = history._replace(steps=[step._replace(instruction="") for step in history.steps])
    body = write(client, history)
    there = translate_request(client, upstream, body, BACK[upstream])
    back = translate_request(upstream, client, there.body, BACK[client])
    assert facts(client, back.body) == facts(client, body)
    again = translate_request(client, upstream, back.body, BACK[upstream])
    assert facts(upstream, again.body) == facts(upstream, there.body)
    key = "input" if client is R else "messages"
    assert [loss.path for loss in there.losses if loss.path.startswith(key)] == []
    names = [tool.name for tool in DIALECTS[client].parse(back.body, Losses()).tools]
    assert names == ["now", "find"]
