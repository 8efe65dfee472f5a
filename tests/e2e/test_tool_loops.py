"""Whole conversations through ccproxy: the official SDKs as clients of every format, upstreams that refuse what the real ones refuse."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from ccproxy.translate.formats import Format
from tests.conftest import Serve
from tests.fakes.claude import Claude
from tests.fakes.codex import Codex
from tests.fakes.plot import CACHED, THOUGHT, WRITTEN, Call, Failure, Json, Said, fresh, objects, spent
from tests.fakes.proxy import Proxy
from tests.fakes.talk import NOTHING, Heard, Talk, settle, talking
from tests.fakes.upstream import Upstream
from tests.referees.sdk import plain

PLOT = [
    Said("Two cities, so two calls.", "Let me look.", (Call("weather", {"city": "Zürich"}), Call("weather", {"city": "Oslo", "unit": "F"}))),
    Said("Oslo failed; the time may help.", "", (Call("now"), Call("weather", {"city": "Oslo", "unit": "C"}))),
    Said("", "Zürich 21 °C 🌤, Oslo 4 °C."),
    Said("They want one more.", "Fine — one more:", (Call("weather", {"city": "北京"}),)),
    Said("Done now.", "北京 30 °C."),
]  # fmt: skip
RESULTS = {
    (0, 0): ("21 °C", False), (0, 1): ("station down", True), (1, 0): ("12:00", False), (1, 1): ("4 °C", False), (3, 0): ("30 °C", False),
}  # fmt: skip

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES


@dataclass(frozen=True)
class Side:
    """An upstream, and how to reach it."""

    name: str
    prefix: str
    model: str
    format: Format

    def fake(self, said: list[Said] = PLOT) -> Claude | Codex:
        return Claude(said) if self.prefix == "/api" else Codex(said)

    def talk(self, fmt: Format, proxy: Proxy, **options: Any) -> AbstractAsyncContextManager[Talk]:
        return talking(fmt, proxy.url + self.prefix, self.model, **options)


CLAUDE = Side("claude", "/api", "claude-opus-5-5", A)
CLASSIC = Side("codex", "/api/codex", "gpt-5.5", R)
LITE = Side("codex-lite", "/api/codex", "gpt-6.1-sol", R)

SIDES = pytest.mark.parametrize("side", [CLAUDE, CLASSIC, LITE], ids=lambda side: side.name)
UPSTREAMS = pytest.mark.parametrize("side", [CLAUDE, CLASSIC], ids=lambda side: side.name)
CLIENTS = pytest.mark.parametrize("fmt", [A, C, R], ids=lambda fmt: fmt.value)
WAYS = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


async def loop(talk: Talk, *, streamed: bool) -> list[Heard]:
    """Go through the whole plot, as an agent does."""
    heard = []
    talk.says("How is the weather in Zürich and Oslo?")
    for turn, said in enumerate(PLOT):
        answer = await talk.turn(streamed=streamed)
        heard.append(answer)
        if said.calls:
            talk.results({call[0]: RESULTS[turn, i] for i, call in enumerate(answer.calls)})
        else:
            talk.says("And in 北京?")
    return heard


STOPS = {A: ("tool_use", "end_turn"), C: ("tool_calls", "stop"), R: ("completed", "completed")}


PAIRS = [
    pytest.param(side, fmt, id=f"{fmt.value}-{side.name}")
    for side in (CLAUDE, CLASSIC, LITE)
    for fmt in (A, C, R)
    if (side, fmt) != (LITE, R)  # a native client chooses the shape of its requests itself
]


@pytest.mark.parametrize(("side", "fmt"), PAIRS)
async def test_a_tool_loop(side: Side, fmt: Format, serve: Serve, upstream: Upstream) -> None:
    await both_ways(side, fmt, serve, upstream, echoes=True)


@SIDES
async def test_a_tool_loop_of_a_client_that_forgets_what_it_does_not_know(
    side: Side, serve: Serve, upstream: Upstream
) -> None:
    await both_ways(side, C, serve, upstream, echoes=False)


async def both_ways(side: Side, fmt: Format, serve: Serve, upstream: Upstream, *, echoes: bool) -> None:
    fake = upstream.script = side.fake()
    proxy = await serve()
    told: list[list[Heard]] = []
    for streamed in (True, False):  # as two clients, so that one cannot live on what is remembered for the other
        async with side.talk(fmt, proxy, key=f"dummy-{streamed}", echoes=echoes) as talk:
            told.append(await loop(talk, streamed=streamed))
        assert not fake.refused
    for heard in told:
        for turn, (said, answer) in enumerate(zip(PLOT, heard, strict=True)):
            assert answer.text == said.text
            assert answer.thinking == said.thinking
            assert [(name, arguments) for _, name, arguments in answer.calls] == [
                (call.name, call.arguments) for call in said.calls
            ]
            assert len({call[0] for call in answer.calls}) == len(said.calls)
            assert answer.stop == STOPS[fmt][not said.calls]
            assert answer.usage == (fresh(turn) + CACHED + WRITTEN, CACHED, spent(turn), THOUGHT)
    for streamed_answer, whole in zip(*told, strict=True):
        assert timeless(streamed_answer.body) == timeless(whole.body)


def timeless(body: Json) -> Any:
    """Without the time, and without the spelling of arguments: a stream has the model's own, a whole answer of Claude's none."""
    found = plain({key: value for key, value in body.items() if key not in {"created", "created_at", "completed_at"}})
    for part in objects(found):
        if isinstance(part.get("arguments"), str):
            part["arguments"] = json.loads(part["arguments"])
    return found


@pytest.mark.parametrize(("side", "fmt"), PAIRS)
async def test_a_client_may_change_between_streams_and_whole_answers(
    side: Side, fmt: Format, serve: Serve, upstream: Upstream
) -> None:
    fake = upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(fmt, proxy) as talk:
        talk.says("How is the weather in Zürich and Oslo?")
        for turn, said in enumerate(PLOT):
            answer = await talk.turn(streamed=turn % 2 == 0)
            talk.results({call[0]: ("21 °C", False) for call in answer.calls}) if said.calls else talk.says("More?")
    assert not fake.refused


# --- errors ----------------------------------------------------------------------------------------------------------

OVERLOADED = {
    "/api": Failure(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "/api/codex": Failure(503, {"error": {"code": "server_is_overloaded", "message": "Overloaded"}}),
}
TOO_LONG = {
    "/api": Failure(
        400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}
    ),
    "/api/codex": Failure(
        400, {"error": {"code": "context_length_exceeded", "type": "invalid_request_error", "message": "Your input exceeds the context window."}}
    ),
}  # fmt: skip
LIMITED = {
    "/api": Failure(
        429, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}, (("retry-after", "61"),)
    ),
    "/api/codex": Failure(
        429,
        {
            "error": {
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "plus",
                "resets_in_seconds": 61,
            }
        },
    ),
}
DETAIL = {
    "/api": Failure(
        404, {"type": "error", "error": {"type": "not_found_error", "message": "model: nope"}, "request_id": "r"}
    ),
    "/api/codex": Failure(400, {"detail": "The 'nope' model is not supported."}),
}


async def fails(talk: Talk, *, streamed: bool) -> Any:
    with pytest.raises((anthropic.APIStatusError, openai.APIStatusError)) as caught:
        await talk.turn(streamed=streamed)
    return caught.value


@UPSTREAMS
@CLIENTS
@WAYS
async def test_an_error_turn(side: Side, fmt: Format, streamed: bool, serve: Serve, upstream: Upstream) -> None:
    """An error is one of the client's own kind, and the conversation goes on after it."""
    fake = upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(fmt, proxy) as talk:
        talk.says("Hello?")
        for failures in (OVERLOADED, TOO_LONG, LIMITED, DETAIL):
            fake.failures.append(failures[side.prefix])
            error = await fails(talk, streamed=streamed)
            is_native = fmt is side.format
            if failures is OVERLOADED:
                own = failures[side.prefix].status
                assert error.status_code == (own if is_native else 529 if fmt is A else 503)
                assert "verloaded" in error.message
            elif failures is TOO_LONG:
                assert error.status_code == 400
                if fmt is A:
                    assert "prompt is too long" in error.message or is_native
                else:
                    assert error.code == "context_length_exceeded"
            elif failures is LIMITED:
                assert isinstance(error, (anthropic.RateLimitError, openai.RateLimitError))
                if not is_native or side is CLAUDE:
                    assert error.response.headers["retry-after"] == "61"
            else:
                assert error.status_code == failures[side.prefix].status
                assert "nope" in error.response.text
                assert is_native or "nope" in error.message
            if fmt is A:
                assert error.body["type"] == "error"
        answer = await talk.turn(streamed=streamed)
        assert answer.text == PLOT[0].text
    assert not fake.refused


@pytest.mark.parametrize(
    ("side", "fmt", "streamed", "breaks"),
    [
        pytest.param(side, fmt, streamed, breaks, id=f"{fmt.value}-{side.name}-{way}-{breaks}")
        for side in (CLAUDE, CLASSIC)
        for fmt in (A, C, R)
        for streamed, way in ((True, "streamed"), (False, "whole"))
        for breaks in ("reset", "end", "error")
        if streamed or side is CLASSIC  # where the upstream does not stream, no stream breaks
        if (fmt, streamed, breaks) != (side.format, True, "end")  # a native stream passes as it came, its end too
    ],
)
async def test_an_upstream_that_dies_in_the_middle(
    side: Side, fmt: Format, streamed: bool, breaks: str, serve: Serve, upstream: Upstream
) -> None:
    """It ends in the format's own error, and never as if it were whole."""
    fake = upstream.script = side.fake()
    fake.breaks = breaks
    proxy = await serve()
    async with side.talk(fmt, proxy) as talk:
        talk.says("Hello?")
        if not streamed:
            error = await fails(talk, streamed=False)
            assert error.status_code >= 500
            return
        seen, ended = await consume(talk, fmt)
        assert seen
        assert ended


async def consume(talk: Talk, fmt: Format) -> tuple[int, str]:
    """How many events came of a stream that breaks, and the error in which it ended, as the SDK tells it."""
    seen = 0
    request: Json = {**talk.options, "stream": True}
    try:
        if fmt is A:
            stream = await talk.sdk.messages.create(messages=talk.history, **request)
        elif fmt is C:
            stream = await talk.sdk.chat.completions.create(messages=talk.history, **request)
        else:
            stream = await talk.sdk.responses.create(input=talk.history, **request)
        async for event in stream:
            seen += 1
            kind = getattr(event, "type", "")
            assert kind not in {"message_stop", "response.completed", "response.incomplete"}
            if fmt is C:
                assert not [choice for choice in event.choices if choice.finish_reason]
            if kind == "response.failed":
                return seen, event.response.error.message
            if kind == "error":
                return seen, event.message
    except (anthropic.APIError, openai.APIError) as error:
        return seen, error.message
    raise AssertionError(f"a clean end after {seen} events")


# --- what else clients ask for ---------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("fmt", [A, C], ids=lambda fmt: fmt.value)
async def test_stop_sequences_where_the_upstream_knows_none(
    fmt: Format, streamed: bool, serve: Serve, upstream: Upstream
) -> None:
    fake = upstream.script = Codex([Said("", "one two STOP three four " * 20), Said("", "again")])
    proxy = await serve()
    option = {"stop_sequences": ["never", "STOP"]} if fmt is A else {"stop": "STOP"}
    async with CLASSIC.talk(fmt, proxy, **option) as talk:
        talk.says("Count.")
        answer = await talk.turn(streamed=streamed)
    assert answer.text == "one two "
    assert answer.stop == ("stop_sequence" if fmt is A else "stop")
    if fmt is A:
        assert answer.body["stop_sequence"] == "STOP"
    assert not fake.refused
    assert "stop_sequences" not in fake.bodies[0]
    assert "stop" not in fake.bodies[0]


@pytest.mark.parametrize("fmt", [A, C], ids=lambda fmt: fmt.value)
async def test_at_a_stop_sequence_the_upstream_is_let_go(fmt: Format, serve: Serve, upstream: Upstream) -> None:
    fake = upstream.script = Codex([Said("", "one STOP three, and so on for ever")], breaks="never")
    proxy = await serve()
    async with CLASSIC.talk(fmt, proxy, **{"stop_sequences" if fmt is A else "stop": ["STOP"]}) as talk:
        talk.says("Count.")
        answer = await talk.turn(streamed=True)
    assert answer.text == "one "
    assert answer.usage[2] > 0
    await upstream.until(lambda _: fake.left == 1)


@pytest.mark.parametrize(
    ("side", "fmt", "options", "lost"),
    [
        (CLASSIC, A, {"stop_sequences": ["x"]}, {"max_tokens"}),
        (CLASSIC, C, {"seed": 7, "max_completion_tokens": 99, "temperature": 0.5}, {"seed", "max_completion_tokens", "temperature"}),
        (CLASSIC, R, {"max_output_tokens": 99, "temperature": 0.5}, {"max_output_tokens", "temperature"}),
        (CLAUDE, C, {"seed": 7, "temperature": 0.5}, {"seed", "temperature"}),
        (CLAUDE, R, {"truncation": "auto", "top_p": 0.5}, {"truncation", "top_p"}),
        (CLAUDE, A, {}, set()),
    ],
    ids=lambda value: value.name if isinstance(value, Side) else value.value if isinstance(value, Format) else "",
)  # fmt: skip
@WAYS
async def test_what_a_request_lost_is_listed(
    side: Side, fmt: Format, options: Json, lost: set[str], streamed: bool, serve: Serve, upstream: Upstream
) -> None:
    fake = upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(fmt, proxy, **options) as talk:
        talk.says("Hello?")
        assert (await talk.turn(streamed=streamed)).text == PLOT[0].text
        assert sorted(talk.losses) == sorted(lost)
    assert not fake.refused


async def test_what_the_backend_refuses_of_a_native_request_joins_what_it_is_known_to(
    serve: Serve, upstream: Upstream
) -> None:
    fake = upstream.script = Codex(PLOT, unsupported={"parallel_tool_calls"})
    proxy = await serve()
    async with CLASSIC.talk(R, proxy, max_output_tokens=99, parallel_tool_calls=True) as talk:
        talk.says("Hello?")
        assert (await talk.turn(streamed=False)).text == PLOT[0].text
        assert sorted(talk.losses) == ["max_output_tokens", "parallel_tool_calls"]
    assert fake.refused == ["Unsupported parameter: parallel_tool_calls"]


async def test_losses_are_listed_once_where_the_answer_is_made_here(proxy: Proxy) -> None:
    answer = await proxy.post("/mock/v1/chat/completions", json.dumps(asked_with_seed()).encode())
    assert answer["x-ccproxy-loss"] == "seed"


def asked_with_seed() -> Json:
    return {"model": "m", "seed": 7, "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("side", "fmt", "options", "param"),
    [(CLAUDE, C, {"n": 2}, "n"), (CLASSIC, C, {"n": 2}, "n"), (CLAUDE, R, {"previous_response_id": "resp_x"}, "previous_response_id")],
    ids=["claude", "codex", "claude-responses"],
)  # fmt: skip
async def test_what_cannot_be_said_is_refused_by_name(
    side: Side, fmt: Format, options: Json, param: str, serve: Serve, upstream: Upstream
) -> None:
    upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(fmt, proxy, **options) as talk:
        talk.says("Hello?")
        error = await fails(talk, streamed=False)
    assert error.status_code == 400
    assert error.param == param
    assert not [request for request in upstream.requests if request.method == "POST"]


async def test_a_parameter_that_is_refused_today_is_left_out(serve: Serve, upstream: Upstream) -> None:
    fake = upstream.script = Codex(PLOT, unsupported={"parallel_tool_calls"})
    proxy = await serve()
    async with CLASSIC.talk(C, proxy) as talk:
        talk.says("Hello?")
        first = await talk.turn(streamed=True)
        assert talk.losses == ["parallel_tool_calls"]
        talk.results({call[0]: ("ok", False) for call in first.calls})
        assert (await talk.turn(streamed=False)).calls
        assert talk.losses == ["parallel_tool_calls"]
    assert fake.refused == ["Unsupported parameter: parallel_tool_calls"]


@UPSTREAMS
async def test_models_are_listed_for_either_sdk(side: Side, serve: Serve, upstream: Upstream) -> None:
    upstream.script = side.fake()
    proxy = await serve()
    for fmt in (A, C):
        async with side.talk(fmt, proxy) as talk:
            models = [model async for model in talk.sdk.models.list()]
            assert side.model in {model.id for model in models}
            one = await talk.sdk.models.retrieve(side.model)
            assert one.id == side.model
            assert models[0].display_name if fmt is A else models[0].created


@UPSTREAMS
async def test_tokens_are_counted_without_a_bill(side: Side, serve: Serve, upstream: Upstream) -> None:
    fake = upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(A, proxy) as talk:
        talk.says("Hello? " * 100)
        asked = {key: value for key, value in talk.options.items() if key != "max_tokens"}
        counted = await settle(talk.sdk.messages.count_tokens(messages=talk.history, **asked))
        if side is CLAUDE:
            assert counted.input_tokens == 1234
            assert "x-ccproxy-estimate" not in talk.heads[-1]
        else:
            assert 100 < counted.input_tokens < 1000
            assert talk.heads[-1]["x-ccproxy-estimate"] == "1"
            assert not fake.bodies


async def test_old_models_take_budgets_and_temperatures(serve: Serve, upstream: Upstream) -> None:
    fake = upstream.script = Claude(PLOT)
    proxy = await serve()
    async with talking(C, proxy.url + "/api", "claude-sonnet-4-5", reasoning_effort="medium") as talk:
        await loop(talk, streamed=True)
    assert not fake.refused
    assert fake.bodies[0]["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    async with talking(
        C, proxy.url + "/api", "claude-sonnet-4-5", reasoning_effort=None, temperature=1.7, tools=None
    ) as talk:
        talk.says("Hello?")
        await talk.turn(streamed=False)
    assert not fake.refused
    assert fake.bodies[-1]["temperature"] == 1.0


async def test_a_system_message_in_the_middle_stays_where_it_was(serve: Serve, upstream: Upstream) -> None:
    """Thinking is bound to all that came before it: nothing may be hoisted to the top."""
    fake = upstream.script = Claude(PLOT)
    proxy = await serve()
    async with CLAUDE.talk(C, proxy) as talk:
        talk.says("Hello?")
        first = await talk.turn(streamed=True)
        talk.results({call[0]: ("ok", False) for call in first.calls})
        talk.history.append({"role": "system", "content": "Be short from now on."})
        second = await talk.turn(streamed=True)
        talk.results({call[0]: ("ok", False) for call in second.calls})
        await talk.turn(streamed=True)
    assert not fake.refused
    assert "Be short" not in str(fake.bodies[-1]["system"])


async def test_a_conversation_that_changes_its_provider(serve: Serve, upstream: Upstream) -> None:
    """What one provider signed never reaches the other: the visible conversation does."""
    proxy = await serve()
    plot = [Said("Hmm.", "From Claude."), Said("Hm.", "From Codex."), Said("H.", "Claude again.")]
    # No provider demands the other's thinking, so each is told what it may see.
    claude, codex = Claude(plot), Codex([Said("", "From Claude."), plot[1]])
    async with (
        CLAUDE.talk(A, proxy, tools=None) as first,
        CLASSIC.talk(A, proxy, tools=None) as second,
    ):
        upstream.script = claude
        first.says("Hello?")
        await first.turn(streamed=True)
        second.history = first.history
        second.says("And now you.")
        upstream.script = codex
        heard = await second.turn(streamed=True)
        assert heard.text == "From Codex."
        assert heard.thinking == "Hm."
        assert not codex.refused
        first.says("And back.")
        claude.said = [plot[0], Said("", "From Codex."), plot[2]]
        upstream.script = claude
        assert (await first.turn(streamed=True)).text == "Claude again."
        assert not claude.refused


@pytest.mark.parametrize(
    ("side", "fmt", "options"),
    [
        (CLASSIC, A, {"thinking": {"type": "adaptive", "display": "omitted"}}),
        (LITE, A, {"thinking": {"type": "adaptive", "display": "omitted"}}),
        (CLAUDE, A, {"thinking": {"type": "adaptive"}}),
        (CLAUDE, R, {"reasoning": {"effort": "high"}}),
        (CLASSIC, R, {"reasoning": {"effort": "high"}}),
    ],
    ids=["anthropic-codex", "anthropic-lite", "anthropic-claude", "responses-claude", "responses-codex"],
)
@WAYS
async def test_thinking_that_is_not_shown_comes_back_too(
    side: Side, fmt: Format, options: Json, streamed: bool, serve: Serve, upstream: Upstream
) -> None:
    fake = upstream.script = side.fake()
    proxy = await serve()
    async with side.talk(fmt, proxy, **options) as talk:
        heard = await loop(talk, streamed=streamed)
    assert not fake.refused
    assert not any(answer.thinking for answer in heard)
    assert [answer.text for answer in heard] == [said.text for said in PLOT]


@WAYS
async def test_a_freeform_tool_on_claude(streamed: bool, serve: Serve, upstream: Upstream) -> None:
    patch = '*** Begin Patch\n+print("ü")\n*** End Patch'
    said = [Said("A patch.", "", (Call("apply_patch", {"input": patch}), Call("now"))), Said("", "Applied.")]
    fake = upstream.script = Claude(said)
    proxy = await serve()
    tools = [
        {"type": "custom", "name": "apply_patch"},
        {"type": "function", "name": "now", "parameters": NOTHING, "strict": False},
    ]
    async with CLAUDE.talk(R, proxy, tools=tools) as talk:
        talk.says("Patch it.")
        first = await talk.turn(streamed=streamed)
        custom = next(item for item in first.body["output"] if item["type"] == "custom_tool_call")
        assert (custom["name"], custom["input"]) == ("apply_patch", patch)
        talk.history.append({"type": "custom_tool_call_output", "call_id": custom["call_id"], "output": "done"})
        talk.results({call[0]: ("12:00", False) for call in first.calls})
        assert (await talk.turn(streamed=streamed)).text == "Applied."
    assert not fake.refused
