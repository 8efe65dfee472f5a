"""Every row of every column of `docs/reference/translation.md`, over HTTP through a running proxy to an upstream that refuses what it does not know.

The page is read as its readers read it; whatever it says of a cell is compared with what arrives at the upstream and what comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic.types.beta.message_create_params
import anthropic.types.message_create_params
import openai.types.chat.completion_create_params
import openai.types.responses.response_create_params
import pytest

from ccproxy.translate.formats import Format
from ccproxy.translate.policy import Target
from tests.examples.answers import sse
from tests.examples.reference_rows import BASE, FIELDS, MODELS
from tests.fakes import codex
from tests.fakes.client import Answer
from tests.fakes.plot import Refused
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire

Json = dict[str, Any]
A, C, R = Format

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "translation.md"
TITLES = {"Anthropic Messages": A, "OpenAI Chat Completions": C, "OpenAI Responses": R}
COLUMNS = {"Anthropic": Target.ANTHROPIC, "Chat": Target.CHAT, "Responses": Target.RESPONSES, "Codex": Target.CODEX}
PREFIXES = {Target.ANTHROPIC: "/api", Target.CHAT: "/chatty", Target.RESPONSES: "/respy", Target.CODEX: "/api/codex"}
PATHS = {A: "/v1/messages", C: "/v1/chat/completions", R: "/v1/responses"}
SPEAKS = {Target.ANTHROPIC: A, Target.CHAT: C, Target.RESPONSES: R, Target.CODEX: R}


# --- the page ----------------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """One table of the page: the section and subsection that it is in, its column titles, and its cells by row name and column."""

    section: str
    subsection: str
    columns: list[str]
    rows: dict[str, dict[str, str]]


def tables() -> Iterator[Table]:
    section = subsection = ""
    table: Table | None = None
    for line in [*PAGE.read_text("utf-8").splitlines(), ""]:
        if line.startswith("#"):
            level, _, title = line.partition(" ")
            section, subsection = (section, title) if level == "###" else (title, "")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            if table is None:
                table = Table(section, subsection, cells, {})
            elif not set(line) <= set("|- "):
                table.rows[cells[0].strip("`")] = dict(zip(table.columns, cells, strict=True))
        elif table is not None:
            yield table
            table = None


def the_table(section: str, subsection: str = "") -> Table:
    (table,) = [table for table in tables() if (table.section, table.subsection) == (section, subsection)]
    return table


def signs() -> set[str]:
    return set(the_table("Translation").rows)


# --- the upstream: strict, and it answers ------------------------------------------------------------------------------


def _parameters(*types: Any) -> set[str]:
    return {name for type_ in types for name in type_.__annotations__} | {"stream"}


KNOWN = {
    A: _parameters(
        anthropic.types.message_create_params.MessageCreateParamsBase,
        anthropic.types.beta.message_create_params.MessageCreateParamsBase,
    ),
    C: _parameters(openai.types.chat.completion_create_params.CompletionCreateParamsBase)
    | {"reasoning", "top_k", "thinking"},
    R: _parameters(openai.types.responses.response_create_params.ResponseCreateParamsBase),
}
SAID = "Before the STOP and after."
ANSWER: dict[Format, Json] = {
    A: {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn",
        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    C: {
        "id": "chatcmpl_1", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": SAID}}],
    },
    R: {
        "id": "resp_1", "object": "response", "status": "completed", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 2},
        "output": [{
            "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": SAID, "annotations": []}],
        }],
    },
}  # fmt: skip


def streamed(fmt: Format, answer: Json) -> bytes:
    """A whole answer as the stream of its format."""
    match fmt:
        case Format.ANTHROPIC:
            events: list[Json] = [{"type": "message_start", "message": {**answer, "content": [], "stop_reason": None}}]
            for index, block in enumerate(answer["content"]):
                events.append({"type": "content_block_start", "index": index, "content_block": block})
                events.append({"type": "content_block_stop", "index": index})
            delta = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
            events.append({"type": "message_delta", "delta": delta, "usage": answer["usage"]})
            events.append({"type": "message_stop"})
        case Format.OPENAI_CHAT:
            (choice,) = answer["choices"]
            head = {**answer, "object": "chat.completion.chunk", "usage": None}
            events = [
                {**head, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
                {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
                {**head, "choices": [], "usage": answer["usage"]},
            ]
        case Format.OPENAI_RESPONSES:
            events = [{"type": "response.created", "response": {**answer, "status": "in_progress", "output": []}}]
            for index, item in enumerate(answer["output"]):
                events.append({"type": "response.output_item.done", "output_index": index, "item": item})
            events.append({"type": f"response.{answer['status']}", "response": answer})
    return sse(fmt, events)


class Vendors:
    """A script for `Upstream`: three vendors and the Codex backend, each refusing what it does not know."""

    def __init__(self) -> None:
        self.answers = dict(ANSWER)
        self.error: tuple[int, Json] | None = None

    async def __call__(self, wire: Wire, request: Received) -> None:
        path = request.target.partition("?")[0]
        if "/models" in path:
            await wire.answer(200, b'{"data": [], "models": []}')
            return
        fmt = A if path.endswith("/messages") else C if path.endswith("/completions") else R
        is_codex = path.startswith("/backend-api/")
        body = request.json
        refusal = _refusal(fmt, body, is_codex=is_codex)
        if refusal is not None:
            await wire.answer(400, json.dumps(refusal).encode())
        elif self.error is not None:
            await wire.answer(self.error[0], json.dumps(self.error[1]).encode())
        elif body.get("stream"):
            await wire.stream(streamed(fmt, self.answers[fmt]))
        else:
            await wire.answer(200, json.dumps(self.answers[fmt]).encode())


def _refusal(fmt: Format, body: Json, *, is_codex: bool) -> Json | None:
    if is_codex:
        unknown = [name for name in body if name not in codex._FIELDS]
        if unknown:
            return {"detail": f"Unsupported parameter: {unknown[0]}"}
        try:
            codex.check(body, lite=False)
        except Refused as error:
            return {"detail": str(error)}
        return None
    unknown = [name for name in body if name not in KNOWN[fmt]]
    return {"error": {"type": "invalid_request_error", "message": f"unknown: {unknown}"}} if unknown else None


# --- the client --------------------------------------------------------------------------------------------------------


class Exchange(NamedTuple):
    """What came back of a request, and what arrived of it."""

    answer: Answer
    sent: Json | None

    @property
    def losses(self) -> list[str]:
        return [path for value in self.answer.values("x-ccproxy-loss") for path in value.decode().split(", ")]

    @property
    def param(self) -> str | None:
        error = self.answer.json.get("error", {})
        param = error.get("param")
        return param if param is not None else re.split(r": ", str(error.get("message")))[0]

    def lost(self, path: str) -> bool:
        return any(loss == path or loss.startswith((f"{path}.", f"{path}[")) for loss in self.losses)


class Gateway:
    """A proxy and the upstream behind all of its providers."""

    def __init__(self, proxy: Proxy, upstream: Upstream) -> None:
        self.proxy = proxy
        self.upstream = upstream

    async def ask(self, client: Format, target: Target, body: Json) -> Exchange:
        before = len(self.upstream.requests)
        answer = await self.proxy.post(PREFIXES[target] + PATHS[client], json.dumps(body).encode())
        sent = [request for request in self.upstream.requests[before:] if "/models" not in request.target]
        return Exchange(answer, sent[-1].json if sent else None)


@pytest.fixture
def vendors(upstream: Upstream) -> Vendors:
    script = upstream.script = Vendors()
    return script


@pytest.fixture
async def gateway(serve: Any, upstream: Upstream, vendors: Vendors) -> Gateway:
    return Gateway(await serve(), upstream)


@pytest.fixture
async def strict(serve: Any, upstream: Upstream, vendors: Vendors) -> Gateway:
    return Gateway(await serve(translate={"strict": True}), upstream)


REQUESTS = [
    pytest.param(title, column, id=f"{TITLES[title]}-{column}")
    for title in TITLES
    for column in the_table(f"A request in {title}").columns
    if column in COLUMNS
]


def test_the_page_has_the_sections_that_are_checked_here() -> None:
    sections = {(table.section, table.subsection) for table in tables()}
    for title in TITLES:
        assert {(f"A request in {title}", part) for part in ("", "Content", "Tools")} <= sections
        assert {(f"An answer in {title}", part) for part in ("", "How it ends")} <= sections
        assert set(the_table(f"A request in {title}").rows) == set(FIELDS[TITLES[title]])
    assert ("Errors", "") in sections
    assert len(sections) == 1 + 3 * 5 + 2


@pytest.mark.parametrize(("title", "column"), REQUESTS)
async def test_every_field(gateway: Gateway, strict: Gateway, title: str, column: str) -> None:
    client, target = TITLES[title], COLUMNS[column]
    wrong = []
    for name, cells in the_table(f"A request in {title}").rows.items():
        problem = await _field(gateway, strict, client, target, name, cells[column])
        if problem:
            wrong.append(f"{name}: the page says {cells[column]!r}, but {problem}")
    assert wrong == []


async def _field(gateway: Gateway, strict: Gateway, client: Format, target: Target, name: str, sign: str) -> str | None:
    example = FIELDS[client][name]
    base = {**BASE[client], **example.also, "model": example.models.get(target, MODELS[target])}
    value = "gpt-5.5-other" if name == "model" else example.values.get(target, example.value)
    body = {**base, name: value}
    if name == "model":  # the Codex backend knows only its own
        body = {**base, "model": {**MODELS, Target.CODEX: "gpt-5.5"}[target] if target is Target.CODEX else value}
        base = {**base, "model": MODELS[target]}
    without = await gateway.ask(client, target, base)
    exchange = await gateway.ask(client, target, body)
    status, native = exchange.answer.status, SPEAKS[target] is client
    if sign == "400":
        return (
            None if (status, exchange.sent, exchange.param) == (400, None, name) else f"{status} for {exchange.param}"
        )
    if sign == "unchanged":
        return None if exchange.sent is not None and exchange.sent.get(name) == value else f"{exchange.sent} arrived"
    if status != 200:
        return f"{status} {exchange.answer.body.decode()}"
    if (sign == "dropped") != exchange.lost(name):
        return f"x-ccproxy-loss is {exchange.losses}"
    same = exchange.sent == without.sent
    if sign == "dropped":
        if not same:
            return f"{exchange.sent} arrived"
        refused = await strict.ask(client, target, body)
        if not native and (refused.answer.status, refused.sent) != (400, None):
            return f"strict makes it {refused.answer.status}"
        return None
    if sign in ("yes", "nearly"):
        if native:
            return None if (exchange.sent or {}).get(name) == value or name == "model" else f"{exchange.sent} arrived"
        return (
            f"{exchange.sent} arrived with it and without it"
            if same and not (name == "model" and target is Target.CODEX)
            else None
        )
    if sign == "by ccproxy":
        text = exchange.answer.body.decode()
        return (
            None if "Before the" in text and "STOP" not in text.replace('"STOP"', "") and "after" not in text else text
        )
    assert sign == "for ccproxy"
    if name == "stream":
        kind = exchange.answer["content-type"]
        return None if kind.startswith("text/event-stream") else f"the answer is {kind}"
    return None
