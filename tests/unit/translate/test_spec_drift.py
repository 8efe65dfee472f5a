"""Everything that the installed SDKs can say has a line in the tables. A new release of an SDK fails here with the list of its new names."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import anthropic.types as a
import anthropic.types.beta as ab
import openai.types.chat as c
import openai.types.responses as r
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from ccproxy.translate import answer_policy, policy
from ccproxy.translate.formats import Format
from ccproxy.translate.openai_responses.decode import Decoder as ResponsesDecoder
from ccproxy.translate.stops import CLASSES


def members(union: Any) -> list[Any]:
    """The members of a union, however nested."""
    origin = get_origin(union)
    if origin is typing.Annotated or str(origin).endswith("Required"):
        return members(get_args(union)[0])
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        return [member for part in get_args(union) for member in members(part)]
    return [union]


def kinds(union: Any) -> set[str]:
    """The values of `type` that the members of a union have."""
    found: set[str] = set()
    for member in members(union):
        if inspect.isclass(member):
            found |= set(_literals(_hint(member, "type")))
    return found


def _hint(member: Any, name: str) -> Any:
    if hasattr(member, "model_fields"):
        return member.model_fields[name].annotation if name in member.model_fields else None
    return typing.get_type_hints(member, include_extras=True).get(name)


def _literals(hint: Any) -> Iterable[str]:
    if hint is None:
        return
    if get_origin(hint) is typing.Literal:
        yield from get_args(hint)
        return
    for part in get_args(hint):
        if isinstance(part, str):
            continue
        yield from _literals(part)


def fields(params: Any) -> set[str]:
    return set(typing.get_type_hints(params)) - {"betas"}


FIELDS = [
    (Format.ANTHROPIC, message_create_params.MessageCreateParamsBase),
    (Format.ANTHROPIC, beta_create_params.MessageCreateParamsBase),
    (Format.OPENAI_CHAT, completion_create_params.CompletionCreateParamsBase),
    (Format.OPENAI_RESPONSES, response_create_params.ResponseCreateParamsBase),
]


@pytest.mark.parametrize(("fmt", "params"), FIELDS, ids=range(len(FIELDS)))
def test_every_request_field_has_a_line(fmt: Format, params: Any) -> None:
    assert fields(params) - set(policy.FIELDS[fmt]) == set()


CONTENT = [
    (Format.ANTHROPIC, a.ContentBlockParam),
    (Format.ANTHROPIC, ab.BetaContentBlockParam),
    (Format.OPENAI_CHAT, c.ChatCompletionContentPartParam),
    (Format.OPENAI_RESPONSES, r.ResponseInputItemParam),
    (Format.OPENAI_RESPONSES, r.ResponseInputContentParam),
]


@pytest.mark.parametrize(("fmt", "union"), CONTENT, ids=range(len(CONTENT)))
def test_every_kind_of_content_has_a_line(fmt: Format, union: Any) -> None:
    assert kinds(union) - set(policy.CONTENT[fmt]) == set()


def test_every_chat_role_has_a_line() -> None:
    roles = {
        role
        for member in members(c.ChatCompletionMessageParam)
        for role in _literals(typing.get_type_hints(member, include_extras=True)["role"])
    }
    assert {f"role:{role}" for role in roles} - set(policy.CONTENT[Format.OPENAI_CHAT]) == set()


TOOLS = [
    (Format.ANTHROPIC, a.ToolUnionParam),
    (Format.ANTHROPIC, ab.BetaToolUnionParam),
    (Format.OPENAI_CHAT, c.ChatCompletionToolUnionParam),
    (Format.OPENAI_RESPONSES, r.ToolParam),
]


@pytest.mark.parametrize(("fmt", "union"), TOOLS, ids=range(len(TOOLS)))
def test_every_tool_has_a_line(fmt: Format, union: Any) -> None:
    assert {kind for kind in kinds(union) if policy.tool_row(fmt, kind) is None} == set()


PARTS = [
    (Format.ANTHROPIC, a.ContentBlock),
    (Format.ANTHROPIC, ab.BetaContentBlock),
    (Format.OPENAI_RESPONSES, r.ResponseOutputItem),
]


@pytest.mark.parametrize(("fmt", "union"), PARTS, ids=range(len(PARTS)))
def test_every_part_of_an_answer_has_a_line(fmt: Format, union: Any) -> None:
    assert kinds(union) - set(answer_policy.PARTS[fmt]) == set()


def test_every_member_of_a_chat_answer_has_a_line() -> None:
    assert set(c.ChatCompletionMessage.model_fields) - {"role"} - set(answer_policy.PARTS[Format.OPENAI_CHAT]) == set()


EVENTS = [
    (Format.ANTHROPIC, a.RawMessageStreamEvent),
    (Format.ANTHROPIC, a.RawContentBlockDelta),
    (Format.ANTHROPIC, ab.BetaRawContentBlockDelta),
    (Format.OPENAI_RESPONSES, r.ResponseStreamEvent),
]


@pytest.mark.parametrize(("fmt", "union"), EVENTS, ids=range(len(EVENTS)))
def test_every_event_is_read_or_passed_over_for_a_reason(fmt: Format, union: Any) -> None:
    assert kinds(union) - answer_policy.READ[fmt] - set(answer_policy.IGNORED[fmt]) == set()


def test_the_events_that_the_tables_call_read_are_those_that_are_read() -> None:
    known = set(ResponsesDecoder.readers) | {"response.output_text.delta"}
    assert known == answer_policy.READ[Format.OPENAI_RESPONSES]


def test_every_stop_reason_has_a_line() -> None:
    assert set(get_args(a.StopReason)) | set(get_args(ab.BetaStopReason)) <= set(answer_policy.STOPS[Format.ANTHROPIC])
    assert set(CLASSES[Format.ANTHROPIC]) == set(answer_policy.STOPS[Format.ANTHROPIC])
    finishes = set(get_args(c.chat_completion.Choice.model_fields["finish_reason"].annotation))
    assert finishes <= set(answer_policy.STOPS[Format.OPENAI_CHAT])
    details = _hint(r.response.IncompleteDetails, "reason")
    reasons = {f"incomplete: {reason}" for reason in _literals(details)}
    assert reasons <= set(answer_policy.STOPS[Format.OPENAI_RESPONSES])


@pytest.mark.parametrize("fmt", list(Format))
def test_every_line_says_what_happens_for_every_other_upstream(fmt: Format) -> None:
    others = [
        target
        for target in policy.Target
        if target.value != fmt.value and (fmt is not Format.OPENAI_RESPONSES or target != "codex")
    ]
    for table in (policy.FIELDS[fmt], policy.CONTENT[fmt], policy.TOOLS[fmt]):
        for name, row in table.items():
            assert set(others) <= set(row.actions), name
            if policy.DROP in row.actions.values() or policy.REJECT in row.actions.values():
                assert row.why, name
