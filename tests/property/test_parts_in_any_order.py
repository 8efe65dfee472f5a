"""Parts of an answer that begin, go on and end in any order: every encoder makes a stream of them that its SDK takes, and loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings, strategies as st

from ccproxy.translate.answer import AnswerContext
from ccproxy.translate.dialects import DIALECTS
from ccproxy.translate.formats import Format
from ccproxy.translate.names import Names
from ccproxy.translate.neutral import Delta, Event, Finish, Part, PartEnd, PartStart, Start, UsageUpdate
from ccproxy.translate.stops import StopClass
from ccproxy.translate.usage import Tokens, Usage
from tests.referees import sdk
from tests.referees.facts import facts

Json = dict[str, Any]
A, C, R = Format

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)


@st.composite
def parts(draw: st.DrawFn, index: int) -> tuple[Part, list[str]]:
    kind = draw(st.sampled_from(["text", "reasoning", "tool_call"]))
    if kind == "tool_call":
        text = json.dumps(draw(st.dictionaries(words, words, max_size=2)), ensure_ascii=False)
        part = Part("tool_call", text, f"call_{index}", draw(st.sampled_from(["now", "find"])))
        pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
    else:
        pieces = draw(st.lists(words, max_size=3))
        part = Part("text" if kind == "text" else "reasoning", "".join(pieces))
    if kind == "reasoning":
        part.fmt, part.encrypted, part.raw = (
            Format.ANTHROPIC,
            "c2ln",
            {"type": "thinking", "thinking": part.text, "signature": "c2ln"},
        )
    return part, pieces


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Part], list[Event]]:
    """Parts, and their events in an order in which each part's own are in a row."""
    found = [draw(parts(index)) for index in range(draw(st.integers(0, 5)))]
    lanes: list[list[Event]] = []
    for index, (part, pieces) in enumerate(found):
        begun = Part(part.kind, id=part.id, name=part.name, fmt=part.fmt)
        lanes.append([PartStart(index, begun), *(Delta(index, piece) for piece in pieces), PartEnd(index, part)])
    events: list[Event] = []
    started = 0
    while any(lanes):
        ready = [i for i, lane in enumerate(lanes) if lane and (i < started or i == started)]
        chosen = draw(st.sampled_from(ready))
        started = max(started, chosen + 1)
        events.append(lanes[chosen].pop(0))
    return [part for part, _ in found], events


@settings(max_examples=200, deadline=None)
@given(answer=answers(), client=st.sampled_from(list(Format)))
def test_every_order_makes_a_stream_that_the_sdk_takes(answer: tuple[list[Part], list[Event]], client: Format) -> None:
    expected, events = answer
    context = AnswerContext({"input": "hi"}, Names(64), "m", include_usage=True)
    encoder, folding = (DIALECTS[client].encoder(replace(context, folding=fold)) for fold in (False, True))
    calls = [part for part in expected if part.kind == "tool_call"]
    whole_stream: list[Event] = [
        Start("msg_1", "m"),
        *events,
        UsageUpdate(Usage(Tokens(input=1, output=2))),
        Finish(StopClass.TOOL_USE if calls else StopClass.END),
    ]
    data = b"".join(encoder.encode(event) for event in whole_stream)
    for event in whole_stream:
        folding.encode(event)
    whole = folding.result()
    sdk.check_answer(client, whole)
    assert sdk.plain(sdk.accumulate(client, data)) == sdk.plain(whole)
    found = facts(client, whole)
    assert found.calls == tuple((part.name, json.loads(part.text)) for part in calls)
    texts = [part.text for part in expected if part.kind == "text"]
    if client is not C:
        assert found.text == "".join(texts) or sorted(found.text) == sorted("".join(texts))
    else:
        assert sorted(found.text) == sorted("".join(texts)), "one string holds all texts, in the order of their pieces"
    thoughts = [part.text for part in expected if part.kind == "reasoning" and part.text]
    assert sorted(found.reasoning.replace("\n\n", "")) == sorted("".join(thoughts).replace("\n\n", ""))
    if client is A:
        order = [block["type"] for block in whole["content"]]
        kinds = {"text": "text", "reasoning": "thinking", "tool_call": "tool_use"}
        assert order == [kinds[part.kind] for part in expected if part.kind != "text" or part.text]
