"""Every row of every column of `docs/reference/translation.md`, over HTTP through a running proxy to an upstream that refuses what it does not know.

The page is read as its readers read it; whatever it says of a cell is compared with what arrives at the upstream and what comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic.types.beta.message_create_params
import anthropic.types.message_create_params
import openai.types.chat.completion_create_params
import openai.types.responses.response_create_params
import pytest

from ccproxy.translate.capsule import unseal
from ccproxy.translate.formats import Format
from ccproxy.translate.policy import Target
from tests.examples.answers import sse
from tests.examples.reference_rows import (
    AT_THE_SERVER,
    BASE,
    BLOCKS,
    CONTENT,
    FIELDS,
    IN_A_CONTAINER,
    ITEMS,
    MARK,
    MEMBERS,
    MODELS,
    OTHER_SERVER_TOOL,
    TOOL,
    TOOL_MARKS,
    TOOLS,
    Field,
)  # fmt: skip
from tests.fakes import codex
from tests.fakes.client import Answer
from tests.fakes.plot import Refused
from tests.fakes.proxy import Proxy
from tests.fakes.upstream import Received, Upstream, Wire
from tests.referees import sdk

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
    )
    | {"temperature", "top_p", "top_k"},  # of earlier versions of the API, which newer SDKs no longer have
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
        assert {(f"An answer in {title}", part) for part in ("", "Stop reasons")} <= sections
        assert set(the_table(f"A request in {title}").rows) == set(FIELDS[TITLES[title]])
    assert {("Translation", ""), ("What the Codex backend accepts", ""), ("Errors", "")} <= sections
    assert len(sections) == 3 * 5 + 3


@pytest.mark.parametrize(("title", "column"), REQUESTS)
async def test_every_field(gateway: Gateway, title: str, column: str) -> None:
    client, target = TITLES[title], COLUMNS[column]
    wrong = []
    for name, cells in the_table(f"A request in {title}").rows.items():
        problem = await _field(gateway, client, target, name, cells[column])
        if problem:
            wrong.append(f"{name}: the page says {cells[column]!r}, but {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("title", "column"), REQUESTS)
async def test_every_field_that_is_dropped_is_refused_when_strict(strict: Gateway, title: str, column: str) -> None:
    client, target = TITLES[title], COLUMNS[column]
    if SPEAKS[target] is client:
        return  # the page says so: nothing is translated
    for name, cells in the_table(f"A request in {title}").rows.items():
        example = FIELDS[client][name]
        body = {
            **BASE[client],
            **example.also,
            "model": example.models.get(target, MODELS[target]),
            name: example.value,
        }
        if cells[column] == "dropped":
            exchange = await strict.ask(client, target, body)
            assert (exchange.answer.status, exchange.sent) == (400, None), name


async def _field(gateway: Gateway, client: Format, target: Target, name: str, sign: str) -> str | None:
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
        return None if same else f"{exchange.sent} arrived"
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


CONTENT_REQUESTS = [
    pytest.param(title, column, id=f"{TITLES[title]}-{column}")
    for title in TITLES
    for column in the_table(f"A request in {title}", "Content").columns
    if column in COLUMNS
]


@pytest.mark.parametrize(("title", "column"), CONTENT_REQUESTS)
async def test_every_type_of_content(gateway: Gateway, title: str, column: str) -> None:
    client, target = TITLES[title], COLUMNS[column]
    examples = CONTENT[client](target)
    rows = the_table(f"A request in {title}", "Content").rows
    assert set(rows) == set(examples)
    wrong = []
    for name, cells in rows.items():
        example = examples[name]
        key = "input" if client is R else "messages"
        body = {**BASE[client], **example.also, "model": MODELS[target], key: example.conversation}
        exchange = await gateway.ask(client, target, body)
        problem = _carried(exchange, cells[column], example.path, example.mark)
        if problem:
            wrong.append(f"{name}: the page says {cells[column]!r}, but {problem}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("title", "column"), CONTENT_REQUESTS)
async def test_every_type_of_tool(gateway: Gateway, title: str, column: str) -> None:
    client, target = TITLES[title], COLUMNS[column]
    rows = the_table(f"A request in {title}", "Tools").rows
    assert set(rows) == set(TOOL[client])
    wrong = []
    for name, cells in rows.items():
        body = {**BASE[client], "model": MODELS[target], "tools": [TOOL[client][name]]}
        exchange = await gateway.ask(client, target, body)
        # Chat Completions has web search as a setting, not as a tool.
        offered = {key: value for key, value in (exchange.sent or {}).items() if key in ("tools", "web_search_options")}
        sent = exchange if exchange.sent is None else exchange._replace(sent=offered)
        problem = _carried(sent, cells[column], "tools[0]", TOOL_MARKS.get(name, MARK))
        if problem:
            wrong.append(f"{name}: the page says {cells[column]!r}, but {problem}")
    assert not wrong, "\n".join(wrong)


def _carried(exchange: Exchange, sign: str, path: str, mark: str) -> str | None:
    status, sent = exchange.answer.status, json.dumps(exchange.sent)
    if sign == "400":
        named = (exchange.param or "").startswith(path)
        return None if (status, exchange.sent) == (400, None) and named else f"{status} for {exchange.param}"
    if status != 200:
        return f"{status} {exchange.answer.body.decode()}"
    if sign == "dropped":
        if mark in sent:
            return f"{sent} arrived"
        return None if exchange.lost(path) else f"x-ccproxy-loss is {exchange.losses}"
    assert sign in ("yes", "nearly")
    if path in exchange.losses:
        return f"x-ccproxy-loss is {exchange.losses}"
    return None if mark in sent else f"{sent} arrived"


async def test_every_parameter_of_codex(gateway: Gateway) -> None:
    wrong = []
    for name, cells in the_table("What the Codex backend accepts").rows.items():
        example = FIELDS[R].get(name, Field(1))
        value = example.values.get(Target.CODEX, example.value) if name != "model" else "gpt-5.5"
        body = {"input": [{"role": "user", "content": "hello"}], "instructions": "", "store": False, "stream": True}
        body |= {**example.also, "model": "gpt-5.5", "stream": name != "stream", name: value}
        exchange = await gateway.ask(R, Target.CODEX, body)
        sent = (exchange.sent or {}).get(name)
        lost = [name] if cells["in a Responses request"] == "removed" else []
        expected = {"removed": None, "set": name == "stream"}.get(cells["in a Responses request"], value)
        if (sent, exchange.losses) != (expected, lost):
            wrong.append(
                f"{name}: the page says {cells['in a Responses request']!r}, but {sent} arrived, lost: {exchange.losses}"
            )
        accepted = cells["in a Responses request"] != "unchanged"
        if accepted != (exchange.answer.status == 200):
            wrong.append(
                f"{name}: the page says {cells['in a Responses request']!r}, but {exchange.answer.status} came back"
            )
    assert not wrong, "\n".join(wrong)


async def test_references_to_stored_items_are_removed_and_listed(gateway: Gateway) -> None:
    items = [
        {"role": "user", "content": "hello"},
        {"type": "item_reference", "id": "msg_1"},
        {"role": "user", "content": "more"},
    ]
    body = {"model": "gpt-5.5", "input": items, "instructions": "", "stream": True}
    exchange = await gateway.ask(R, Target.CODEX, body)
    assert exchange.answer.status == 200
    assert exchange.sent is not None
    assert [item["content"] for item in exchange.sent["input"]] == ["hello", "more"]
    assert exchange.sent["include"] == ["reasoning.encrypted_content"]
    assert exchange.losses == ["input[1]"]
    refused = await gateway.ask(R, Target.CODEX, {**body, "store": False})
    assert refused.sent is not None
    assert refused.sent["input"][1] == items[1], "the client knows that nothing is stored: the backend decides"


# --- answers -----------------------------------------------------------------------------------------------------------

ROUTES = {A: Target.ANTHROPIC, C: Target.CHAT, R: Target.RESPONSES}
"""The upstream whose answers are in a format."""
ANSWERS = [
    pytest.param(title, column, id=f"{TITLES[title]}-to-{TITLES[column]}")
    for title in TITLES
    for column in the_table(f"An answer in {title}").columns
    if column in TITLES
]


def answer_with(fmt: Format, part: Any) -> Json:
    match fmt:
        case Format.ANTHROPIC:
            return {**ANSWER[A], "content": part}
        case Format.OPENAI_CHAT:
            choice = ANSWER[C]["choices"][0]
            return {**ANSWER[C], "choices": [{**choice, "message": {"role": "assistant", "content": None, **part}}]}
        case Format.OPENAI_RESPONSES:
            return {**ANSWER[R], "output": part}


def blocks(body: Json, *kinds: str) -> bool:
    """Has a Messages answer blocks of these types, and the mark in them?"""
    held = [block for block in body["content"] if block["type"] in kinds]
    return {block["type"] for block in held} == set(kinds) and MARK in json.dumps(held)


def member(body: Json, name: str) -> str:
    return json.dumps(body["choices"][0]["message"].get(name), ensure_ascii=False)


def items(body: Json, kind: str) -> list[Json]:
    return [item for item in body["output"] if item["type"] == kind]


def _opened(text: str) -> str:
    """The text with the capsules in it opened."""
    return re.sub(
        r"~ccp1\.[\w=-]+", lambda sealed: json.dumps(unsealed.raw) if (unsealed := unseal(sealed[0])) else "", text
    )


HOLDS: dict[Format, dict[str, Callable[[Json], bool]]] = {
    A: {
        "text": lambda body: blocks(body, "text"),
        "text, and stop_reason refusal": lambda body: blocks(body, "text") and body["stop_reason"] == "refusal",
        "citations": lambda body: MARK in json.dumps([block.get("citations") for block in body["content"]]),
        "thinking, sealed in its signature": lambda body: (
            blocks(body, "thinking") and MARK in _opened(body["content"][0]["signature"])
        ),
        "thinking, or redacted_thinking when it has no summary; sealed in signature or data": lambda body: (
            blocks(body, "thinking") and MARK in _opened(body["content"][0]["signature"])
        ),
        "tool_use": lambda body: blocks(body, "tool_use"),
        'tool_use with {"input": text}': lambda body: body["content"][0]["input"] == {"input": MARK},
        "tool_use when the client runs it": lambda body: blocks(body, "tool_use"),
        "tool_use; in a container dropped, with a loss": lambda body: blocks(body, "tool_use"),
        "server_tool_use and web_search_tool_result": lambda body: blocks(
            body, "server_tool_use", "web_search_tool_result"
        ),
    },
    C: {
        "content": lambda body: MARK in member(body, "content"),
        "content, all blocks in one string": lambda body: body["choices"][0]["message"]["content"] == MARK + "more",
        "reasoning_content; reasoning_details with the signature": lambda body: (
            MARK in member(body, "reasoning_content") and "c2ln" in member(body, "reasoning_details")
        ),
        "reasoning_content; reasoning_details with the encrypted content": lambda body: (
            MARK in member(body, "reasoning_content") and "sealed" in member(body, "reasoning_details")
        ),
        "reasoning_details": lambda body: MARK in member(body, "reasoning_details"),
        "tool_calls": lambda body: MARK in member(body, "tool_calls"),
        "tool_calls of type custom": lambda body: (
            MARK in member(body, "tool_calls") and "custom" in member(body, "tool_calls")
        ),
        "tool_calls when the client runs it": lambda body: MARK in member(body, "tool_calls"),
        "tool_calls; in a container dropped, with a loss": lambda body: MARK in member(body, "tool_calls"),
        "dropped; citations stay": lambda body: MARK not in json.dumps(body),
    },
    R: {
        "output_text": lambda body: MARK in json.dumps(items(body, "message")),
        "output_text; consecutive blocks are contents of one message": lambda body: (
            [part["text"] for part in items(body, "message")[0]["content"]] == [MARK, "more"]
        ),
        "refusal": lambda body: items(body, "message")[0]["content"][0] == {"type": "refusal", "refusal": MARK},
        "annotations": lambda body: MARK in json.dumps(items(body, "message")[0]["content"][0]["annotations"]),
        "reasoning, sealed in encrypted_content": lambda body: (
            MARK in json.dumps(items(body, "reasoning")[0]["summary"])
            and MARK in _opened(items(body, "reasoning")[0]["encrypted_content"])
        ),
        "reasoning without summary, sealed in encrypted_content": lambda body: (
            items(body, "reasoning")[0]["summary"] == []
            and MARK in _opened(items(body, "reasoning")[0]["encrypted_content"])
        ),
        "function_call": lambda body: MARK in json.dumps(items(body, "function_call")),
        "function_call, or the item type that the client's tool has": lambda body: (
            MARK in json.dumps(items(body, "function_call"))
        ),
        "web_search_call for web searches; others dropped, with a loss": lambda body: (
            MARK in json.dumps(items(body, "web_search_call"))
        ),
        "completes the web_search_call": lambda body: (
            items(body, "web_search_call")[0]["status"] == "completed" and MARK in json.dumps(body)
        ),
    },
}
"""What a cell of the tables of answers promises. "dropped, with a loss" and "not requested" are the same everywhere."""
LOST_VARIANTS: dict[str, list[Json]] = {
    "shell_call": IN_A_CONTAINER,
    "tool_search_call": AT_THE_SERVER,
    "server_tool_use": OTHER_SERVER_TOOL,
}
"""The examples of rows of which one variant is dropped."""


@pytest.mark.parametrize(("title", "column"), ANSWERS)
async def test_every_part_of_an_answer(gateway: Gateway, vendors: Vendors, title: str, column: str) -> None:
    upstream, client = TITLES[title], TITLES[column]
    examples: dict[str, Any] = {A: BLOCKS, C: MEMBERS, R: ITEMS}[upstream]
    rows = the_table(f"An answer in {title}").rows
    assert set(rows) == set(examples)
    wrong = []
    for name, cells in rows.items():
        for problem in [
            await _part(gateway, vendors, client, upstream, examples[name], cells[column]),
            await _part(gateway, vendors, client, upstream, LOST_VARIANTS[name], "dropped, with a loss")
            if name in LOST_VARIANTS
            else None,
        ]:
            if problem:
                wrong.append(f"{name}: the page says {cells[column]!r}, but {problem}")
    assert not wrong, "\n".join(wrong)


async def _part(
    gateway: Gateway, vendors: Vendors, client: Format, upstream: Format, part: Any, cell: str
) -> str | None:
    vendors.answers[upstream] = answer_with(upstream, part)
    target = ROUTES[upstream]
    body = {**BASE[client], "model": MODELS[target], **TOOLS[client]}
    exchange = await gateway.ask(client, target, body)
    if exchange.answer.status != 200:
        return f"{exchange.answer.status} {exchange.answer.body.decode()}"
    whole = exchange.answer.json
    text = json.dumps(whole)
    if cell == "dropped, with a loss":
        return (
            None if MARK not in _opened(text) and exchange.losses else f"{text} came back, {exchange.losses} was lost"
        )
    if cell == "not requested":
        return None if MARK not in text else f"{text} came back"
    if not HOLDS[client][cell](whole):
        return f"{text} came back"
    if cell == "tool_calls of type custom":
        return None  # the SDK cannot accumulate these, OpenAI's own neither
    stream = await gateway.ask(client, target, {**body, "stream": True})
    if not HOLDS[client][cell](sdk.plain(sdk.accumulate(client, stream.answer.body))):
        return f"the stream {stream.answer.body.decode()} came back"
    return None


TEXT: dict[Format, Any] = {A: [{"type": "text", "text": "Hi"}], C: {"content": "Hi"}, R: ITEMS["message"]}
CALLED: dict[Format, Any] = {A: BLOCKS["tool_use"], C: MEMBERS["tool_calls"], R: ITEMS["function_call"]}
DECLINED: dict[Format, Any] = {
    C: {"refusal": "No."},
    R: [{**ITEMS["message"][0], "content": [{"type": "refusal", "refusal": "No."}]}],
}


@pytest.mark.parametrize(("title", "column"), ANSWERS)
async def test_every_way_that_an_answer_ends(gateway: Gateway, vendors: Vendors, title: str, column: str) -> None:
    upstream, client = TITLES[title], TITLES[column]
    wrong = []
    for name, cells in the_table(f"An answer in {title}", "Stop reasons").rows.items():
        for part, stop, lost in _promised(upstream, name, cells[column]):
            vendors.answers[upstream] = _ended(answer_with(upstream, part), name)
            exchange = await gateway.ask(client, ROUTES[upstream], {**BASE[client], "model": MODELS[ROUTES[upstream]]})
            if (_stop(exchange), bool(exchange.losses)) != (stop, lost):
                wrong.append(
                    f"{name}: the page says {cells[column]!r}, but {_stop(exchange)} came, lost: {exchange.losses}"
                )
    assert not wrong, "\n".join(wrong)


def _promised(upstream: Format, name: str, cell: str) -> list[tuple[Any, str, bool]]:
    """The examples for a cell: the answer's content, how it has to end, and whether something is lost."""
    kinds = cell.removesuffix(", with a loss").removesuffix(", also when a call was cut")
    lost = cell.endswith(", with a loss")
    match = re.fullmatch(r"(\w+) with calls, else (\w+)(?: \((\w+) after a refusal\))?", kinds)
    if match:
        examples = [(CALLED[upstream], match[1], lost), (TEXT[upstream], match[2], lost)]
        return [*examples, *([(DECLINED[upstream], match[3], lost)] if match[3] else [])]
    match = re.fullmatch(r"(\w+) \((\w+) after a refusal\)", kinds)
    if match:
        return [(TEXT[upstream], match[1], lost), (DECLINED[upstream], match[2], lost)]
    part = CALLED[upstream] if name in ("tool_use", "tool_calls", "function_call") else TEXT[upstream]
    return [(part, kinds, lost), *([(CALLED[upstream], kinds, lost)] if "also when a call was cut" in cell else [])]


def _ended(answer: Json, name: str) -> Json:
    if "choices" in answer:
        return {**answer, "choices": [{**answer["choices"][0], "finish_reason": name}]}
    if answer["object" if "object" in answer else "type"] == "response":
        status, _, reason = name.partition(": ")
        error = {"code": "server_error", "message": "failed"} if status == "failed" else None
        return {
            **answer,
            "status": status,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
        }
    return {**answer, "stop_reason": name}


def _stop(exchange: Exchange) -> str:
    body = exchange.answer.json
    if "error" in body and exchange.answer.status >= 400:
        return "error"
    if "choices" in body:
        return str(body["choices"][0]["finish_reason"])
    if body.get("object") == "response":
        reason = (body.get("incomplete_details") or {}).get("reason")
        return f"{body['status']}: {reason}" if reason else str(body["status"])
    return str(body["stop_reason"])


# --- errors ------------------------------------------------------------------------------------------------------------


async def test_every_error(gateway: Gateway, vendors: Vendors) -> None:
    wrong = []
    for kind, cells in the_table("Errors").rows.items():
        status, kind_of_openai = int(cells["OpenAI's status"]), cells["type"].strip("`")
        code = None if cells["code"] == "—" else cells["code"].strip("`")
        vendors.error = (status_of(kind), {"type": "error", "error": {"type": kind, "message": "Because."}})
        for client in (C, R):
            exchange = await gateway.ask(client, Target.ANTHROPIC, {**BASE[client], "model": "claude-sonnet-4-5"})
            error = exchange.answer.json["error"]
            # The upstream says of a model that it does not exist.
            known = "model_not_found" if kind == "not_found_error" else code
            if (exchange.answer.status, error["type"], error["code"]) != (status, kind_of_openai, known):
                wrong.append(f"{kind} at {client}: {exchange.answer.status} {error}")
        vendors.error = (status, {"error": {"type": kind_of_openai, "code": code, "message": "Because."}})
        for target in (Target.CHAT, Target.RESPONSES):
            exchange = await gateway.ask(A, target, {**BASE[A], "model": "gpt-5.5"})
            error = exchange.answer.json["error"]
            if (exchange.answer.status, error["type"]) != (status_of(kind), kind):
                wrong.append(f"{kind} from {target}: {exchange.answer.status} {error}")
    assert not wrong, "\n".join(wrong)


def status_of(kind: str) -> int:
    """Anthropic's status of an error: OpenAI's, where the page says no other."""
    return 529 if kind == "overloaded_error" else int(the_table("Errors").rows[kind]["OpenAI's status"])
