"""What is tried: one function a row. A row passes when it returns, and fails with what was seen instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conformance.bench import Bench, Skipped, check
from tests.conformance.programs import Ran, is_alone
from tests.conformance.upstreams import (
    ANTHROPIC_QUOTA,
    CATALOGUE_ETAG,
    CLAUDE_SAYS,
    CODEX_QUOTA,
    CODEX_SAYS,
    TOO_LONG,
    TOOL_SAID,
    Upstream,
)
from tests.conformance.wire import Message

CLAUDE, CODEX = "Claude Code", "Codex CLI"
NATIVE, TRANSLATED, INSIDE = "native", "translated", "inside"
MESSAGES = "/v1/messages"
CLAUDE_MODEL = "claude-sonnet-5-5"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    client: str
    route: str
    direction: str
    what: str
    run: Callable[[Bench], None]

    @property
    def name(self) -> str:
        return f"{self.client} -> {self.route}: {self.what}"


ROWS: list[Row] = []


def row(
    client: str, route: str, direction: str, what: str
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def add(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        ROWS.append(Row(client, route, direction, what, run))
        return run

    return add


def said(ran: Ran, words: str) -> None:
    check(ran.code == 0 and words in ran.said, ran)


def field(message: Message, name: str) -> str:
    return message.get(name)


def carries(message: Message | None, fields: dict[str, str]) -> None:
    """See that an answer brought these fields to the client."""
    assert message is not None
    missing = {name: value for name, value in fields.items() if message.get(name) != value}
    check(not missing, f"not brought to the client: {missing}")


def bodies(upstream: Upstream, ending: str) -> list[Any]:
    return [body for _, body in upstream.requests("POST", ending)]


# ---- Claude Code on /api: native


@row(CLAUDE, "/api", NATIVE, "text turn; request and response byte for byte")
def _(b: Bench) -> None:
    said(b.claude("say hi"), CLAUDE_SAYS)
    b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    b.no_client_key_at(b.anthropic)


@row(CLAUDE, "/api", NATIVE, "tool turn; byte for byte")
def _(b: Bench) -> None:
    ran = b.claude("[[tool]] use it", "--dangerously-skip-permissions")
    said(ran, TOOL_SAID)
    check(ran.result.get("num_turns") == 2, f"{ran.result.get('num_turns')} turns, 2 expected")
    seen = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES, at_least=2)
    check(
        any("hello-from-tool" in json.dumps(body["messages"][-1]) for _, body in seen),
        "the tool's output did not reach the upstream",
    )


@row(
    CLAUDE,
    "/api",
    NATIVE,
    "anthropic-beta, anthropic-version, x-claude-code-* byte for byte, including unknown betas",
)
def _(b: Bench) -> None:
    beta = "from-the-future-2031-01-01"
    said(b.claude("say hi", ANTHROPIC_BETAS=beta), CLAUDE_SAYS)
    exchange, _ = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)[0]
    request = exchange.request
    for name in ("anthropic-beta", "anthropic-version", "x-claude-code-session-id"):
        check(request.get(name), f"the client sent no {name}: this row proves nothing")
    check(beta in request.get("anthropic-beta"), f"anthropic-beta is {request.get('anthropic-beta')}")
    check(request.target.endswith("?beta=true"), f"the query is gone: {request.target}")


@row(CLAUDE, "/api", NATIVE, "the attribution block remains the first block in system")
def _(b: Bench) -> None:
    said(b.claude("say hi"), CLAUDE_SAYS)
    _, body = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)[0]
    check(
        body["system"][0]["text"].startswith("x-anthropic-billing-header:"), f"system begins with {body['system'][0]}"
    )


@row(CLAUDE, "/api", NATIVE, "error 400: body unchanged and shown to the user")
def _(b: Bench) -> None:
    ran = b.claude("[[400]] please")
    b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    check(ran.result.get("is_error") and "bad, as asked for" in ran.said, ran)


@row(CLAUDE, "/api", NATIVE, "error 400 that the client recognizes: prompt is too long")
def _(b: Bench) -> None:
    ran = b.claude("[[toolong]] please")
    b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    check("prompt is too long" in ran.said.lower(), ran)
    answer = b.through(b.keyed, "POST", MESSAGES)[0].response
    check(answer and TOO_LONG in answer.body.decode(), "the upstream's wording did not reach the client")


@row(CLAUDE, "/api", NATIVE, "error 429: retry-after, x-should-retry and quota pass; no retry")
def _(b: Bench) -> None:
    ran = b.claude("[[429]] please")
    seen = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    check(len(seen) == 1, f"{len(seen)} requests: x-should-retry was not heeded")
    carries(
        b.through(b.keyed, "POST", MESSAGES)[0].response,
        {"retry-after": "3600", "x-should-retry": "false", **ANTHROPIC_QUOTA},
    )
    check(ran.result.get("is_error"), ran)


@row(CLAUDE, "/api", NATIVE, "error 529: the client's own retry")
def _(b: Bench) -> None:
    ran = b.claude("[[529]] please", CLAUDE_CODE_MAX_RETRIES="1")
    seen = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    check(len(seen) >= 2, f"{len(seen)} requests: the client did not try again")
    check(ran.result.get("is_error"), ran)


@row(CLAUDE, "/api", NATIVE, "error event in the middle of a stream, byte for byte")
def _(b: Bench) -> None:
    b.claude("[[midstream]] please", CLAUDE_CODE_MAX_RETRIES="0")
    b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    answer = b.through(b.keyed, "POST", MESSAGES)[0].response
    check(answer and b"overloaded_error" in answer.body, "the error event did not reach the client")


@row(CLAUDE, "/api", NATIVE, "quota headers reach the client")
def _(b: Bench) -> None:
    said(b.claude("say hi"), CLAUDE_SAYS)
    carries(b.through(b.keyed, "POST", MESSAGES)[0].response, ANTHROPIC_QUOTA)


@row(CLAUDE, "/api", NATIVE, "count_tokens (/context), byte for byte")
def _(b: Bench) -> None:
    ran = b.claude("/context")
    check(ran.code == 0 and "Context" in ran.said, ran)
    b.unchanged(b.keyed, b.anthropic, "POST", "/count_tokens")


@row(CLAUDE, "/api", NATIVE, "model discovery: GET /v1/models?limit=1000")
def _(b: Bench) -> None:
    said(
        b.claude("say hi", CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=""),
        CLAUDE_SAYS,
    )
    exchange, _ = b.unchanged(b.keyed, b.anthropic, "GET", "/v1/models")[0]
    check("limit=1000" in exchange.request.target, exchange.request.target)


@row(CLAUDE, "/api", NATIVE, "the probe before the first request gets a response")
def _(b: Bench) -> None:
    if not is_alone():
        raise Skipped("Claude Code sends no probe where a proxy is set, which keeps this run on loopback")
    said(b.claude("say hi", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=""), CLAUDE_SAYS)
    probes = [each for each in b.keyed.tap.exchanges() if each.request.method == "HEAD"]
    check(probes, "the client sent no HEAD: this row proves nothing")
    check(all(each.response and each.response.status == 200 for each in probes), [each.response for each in probes])


@row(CLAUDE, "/api", NATIVE, "compaction (/compact), byte for byte")
def _(b: Bench) -> None:
    home = b.home()
    said(b.claude("say hi", home=home), CLAUDE_SAYS)
    b.clear()
    ran = b.claude("/compact", "--continue", home=home)
    check(ran.code == 0, ran)
    seen = b.unchanged(b.keyed, b.anthropic, "POST", MESSAGES)
    check("summary" in json.dumps(seen[-1][1]["messages"][-1]).lower(), "no request asks for a summary")


@row(CLAUDE, "/api", NATIVE, "its own subscription login passes through")
def _(b: Bench) -> None:
    token = "sk-ant-oat01-client-dummy"
    ran = b.run(
        "claude",
        ["-p", "say hi", "--output-format", "json"],
        ["--via", "claude_api"],
        None,
        b.passing,
        CLAUDE_CODE_OAUTH_TOKEN=token,
    )
    said(ran, CLAUDE_SAYS)
    exchange, _ = b.unchanged(b.passing, b.anthropic, "POST", MESSAGES)[0]
    check(exchange.request.get("authorization") == f"Bearer {token}", "the login did not reach the upstream")
    check(
        "oauth-2025-04-20" in exchange.request.get("anthropic-beta"),
        "the OAuth capability was taken out of anthropic-beta",
    )


# ---- Codex CLI on /api/codex: native


@row(CODEX, "/api/codex", NATIVE, "text turn; request and response byte for byte")
def _(b: Bench) -> None:
    said(b.codex_cli("say hi"), CODEX_SAYS)
    b.unchanged(b.keyed, b.codex, "POST", "/responses")
    b.no_client_key_at(b.codex)


@row(CODEX, "/api/codex", NATIVE, "tool turn; byte for byte")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[tool]] use it")
    said(ran, TOOL_SAID)
    check(any("hello-from-tool" in out for out in ran.tools), f"the tool put out {ran.tools}")
    b.unchanged(b.keyed, b.codex, "POST", "/responses", at_least=2)


@row(CODEX, "/api/codex", NATIVE, "its default model, in the Lite shape; byte for byte")
def _(b: Bench) -> None:
    said(b.codex_cli("[[tool]] use it", model=None), TOOL_SAID)
    exchange, body = b.unchanged(b.keyed, b.codex, "POST", "/responses", at_least=2)[0]
    check(
        exchange.request.get("x-openai-internal-codex-responses-lite") == "true",
        "the client did not use the Lite shape: this row proves nothing",
    )
    check(body["input"][0]["type"] == "additional_tools", body["input"][0])


@row(CODEX, "/api/codex", NATIVE, "error 400: body unchanged and shown to the user")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[400]] please")
    b.unchanged(b.keyed, b.codex, "POST", "/responses")
    check(ran.code != 0 and any("Invalid value, as asked for" in error for error in ran.errors), ran)


@row(CODEX, "/api/codex", NATIVE, "error 429, usage limit: body and quota unchanged and shown to the user")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[429]] please")
    b.unchanged(b.keyed, b.codex, "POST", "/responses")
    carries(b.through(b.keyed, "POST", "/responses")[0].response, CODEX_QUOTA)
    check(ran.code != 0 and any("usage limit" in error.lower() for error in ran.errors), ran)


@row(CODEX, "/api/codex", NATIVE, "response.failed in the stream, byte for byte")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[failed]] please")
    b.unchanged(b.keyed, b.codex, "POST", "/responses")
    check(ran.code != 0, ran)


@row(CODEX, "/api/codex", NATIVE, "quota headers and x-codex-turn-state reach the client, which returns the latter")
def _(b: Bench) -> None:
    said(b.codex_cli("[[tool]] use it"), TOOL_SAID)
    seen = b.unchanged(b.keyed, b.codex, "POST", "/responses", at_least=2)
    carries(b.through(b.keyed, "POST", "/responses")[0].response, CODEX_QUOTA)
    states = [exchange.request.get("x-codex-turn-state") for exchange, _ in seen]
    check(CODEX_QUOTA["x-codex-turn-state"] in states, f"x-codex-turn-state: {states}")


@row(CODEX, "/api/codex", NATIVE, "ChatGPT login: zstd body byte for byte, the login passes through")
def _(b: Bench) -> None:
    said(b.codex_with_chatgpt("say hi"), CODEX_SAYS)
    exchange, body = b.unchanged(b.passing, b.codex, "POST", "/responses")[0]
    check(
        exchange.request.get("content-encoding") == "zstd",
        f"content-encoding: {exchange.request.get('content-encoding')!r}",
    )
    check(isinstance(body, dict), "the body cannot be unpacked")
    check(exchange.request.get("authorization").startswith("Bearer eyJ"), "the login did not reach the upstream")
    check(exchange.request.get("chatgpt-account-id"), "chatgpt-account-id is gone")


@row(CODEX, "/api/codex", NATIVE, "ChatGPT login: a WebSocket gets 426, and HTTP follows without a visible retry")
def _(b: Bench) -> None:
    ran = b.codex_with_chatgpt("say hi")
    said(ran, CODEX_SAYS)
    upgrades = [each for each in b.passing.tap.exchanges() if each.request.get("upgrade").lower() == "websocket"]
    check(len(upgrades) == 1, f"{len(upgrades)} WebSocket requests")
    check(upgrades[0].response and upgrades[0].response.status == 426, upgrades[0].response)
    check("reconnecting" not in (ran.out + ran.err).lower() and not ran.errors, ran)


@row(CODEX, "/api/codex", NATIVE, "ChatGPT login: the /models catalogue and its ETag, byte for byte")
def _(b: Bench) -> None:
    said(b.codex_with_chatgpt("say hi"), CODEX_SAYS)
    exchange, _ = b.unchanged(b.passing, b.codex, "GET", "/models")[0]
    check("client_version=" in exchange.request.target, exchange.request.target)
    carries(b.through(b.passing, "GET", "/models")[0].response, {"etag": CATALOGUE_ETAG})


@row(CODEX, "/api/codex", NATIVE, "ChatGPT login: compaction, byte for byte")
def _(b: Bench) -> None:
    ran = b.codex_with_chatgpt("[[bigtool]] use it", "-c", "model_auto_compact_token_limit=50000")
    check(ran.code == 0, ran)
    seen = b.unchanged(b.passing, b.codex, "POST", "/responses", at_least=2)
    kinds = [body["input"][-1].get("type") for _, body in seen]
    check("compaction_trigger" in kinds, f"the client asked for no compaction: {kinds}")
    check(
        any(item.get("type") == "compaction" for _, body in seen for item in body["input"]),
        "the compacted item was not sent again",
    )


# ---- Claude Code on /api/codex: translated


@row(CLAUDE, "/api/codex", TRANSLATED, "text turn")
def _(b: Bench) -> None:
    ran = b.claude("say hi", via="codex")
    said(ran, CODEX_SAYS)
    check(
        all(body["stream"] is True and body["store"] is False for body in bodies(b.codex, "/responses")),
        "the backend's rules are not kept",
    )
    check(
        ran.result["usage"]["input_tokens"] + ran.result["usage"].get("cache_read_input_tokens", 0) >= 100,
        f"usage is lost: {ran.result['usage']}",
    )
    b.no_client_key_at(b.codex)


@row(CLAUDE, "/api/codex", TRANSLATED, "tool turn")
def _(b: Bench) -> None:
    ran = b.claude("[[tool]] use it", "--dangerously-skip-permissions", via="codex")
    said(ran, TOOL_SAID)
    check(ran.result.get("num_turns") == 2, f"{ran.result.get('num_turns')} turns, 2 expected")
    outputs = [
        item
        for body in bodies(b.codex, "/responses")
        for item in body["input"]
        if item.get("type") == "function_call_output"
    ]
    check(
        any("hello-from-tool" in json.dumps(item) for item in outputs), "the tool's output did not reach the upstream"
    )


@row(CLAUDE, "/api/codex", TRANSLATED, "error 400 is shown to the user")
def _(b: Bench) -> None:
    ran = b.claude("[[400]] please", via="codex")
    check(ran.result.get("is_error") and "Invalid value, as asked for" in ran.said, ran)


@row(CLAUDE, "/api/codex", TRANSLATED, "error 429, usage limit, is shown to the user")
def _(b: Bench) -> None:
    ran = b.claude("[[429]] please", via="codex", CLAUDE_CODE_MAX_RETRIES="0")
    check(ran.result.get("is_error") and "limit" in ran.said.lower(), ran)
    answer = b.through(b.keyed, "POST", MESSAGES)[0].response
    check(answer and answer.status == 429, answer and answer.start)


@row(CLAUDE, "/api/codex", TRANSLATED, "response.failed in the stream ends with an error for the user")
def _(b: Bench) -> None:
    ran = b.claude("[[failed]] please", via="codex", CLAUDE_CODE_MAX_RETRIES="0")
    check(ran.result.get("is_error"), ran)


@row(CLAUDE, "/api/codex", TRANSLATED, "count_tokens (/context): an estimate")
def _(b: Bench) -> None:
    ran = b.claude("/context", via="codex")
    check(ran.code == 0 and "Context" in ran.said, ran)
    answers = [each.response for each in b.through(b.keyed, "POST", "/count_tokens")]
    check(answers, "the client asked for no count: this row proves nothing")
    check(
        all(each and each.status == 200 and each.get("x-ccproxy-estimate") == "1" for each in answers),
        [each and each.start for each in answers],
    )


# ---- Codex CLI on /api: translated


@row(CODEX, "/api/v1", TRANSLATED, "text turn")
def _(b: Bench) -> None:
    said(b.codex_cli("say hi", via="claude_api", model=CLAUDE_MODEL), CLAUDE_SAYS)
    b.no_client_key_at(b.anthropic)


@row(CODEX, "/api/v1", TRANSLATED, "tool turn")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[tool]] use it", via="claude_api", model=CLAUDE_MODEL)
    said(ran, TOOL_SAID)
    check(any("hello-from-tool" in out for out in ran.tools), f"the tool put out {ran.tools}")
    results = [
        block
        for body in bodies(b.anthropic, MESSAGES)
        for message in body["messages"]
        for block in message["content"]
        if isinstance(block, dict)
    ]
    check(
        any(block.get("type") == "tool_result" and "hello-from-tool" in json.dumps(block) for block in results),
        "the result did not reach the upstream",
    )


@row(CODEX, "/api/v1", TRANSLATED, "error 400 is shown to the user")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[400]] please", via="claude_api", model=CLAUDE_MODEL)
    check(ran.code != 0 and any("bad, as asked for" in error for error in ran.errors), ran)


@row(CODEX, "/api/v1", TRANSLATED, "error 529 is shown to the user")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[529]] please", via="claude_api", model=CLAUDE_MODEL)
    check(ran.code != 0 and ran.errors, ran)


@row(CODEX, "/api/v1", TRANSLATED, "an error in the middle of the stream ends with an error for the user")
def _(b: Bench) -> None:
    ran = b.codex_cli("[[midstream]] please", via="claude_api", model=CLAUDE_MODEL)
    check(ran.code != 0 and ran.errors, ran)


# ---- both on /mock


@row(CLAUDE, "/mock", INSIDE, "text turn")
def _(b: Bench) -> None:
    said(b.claude("say hi", via="mock"), "say hi")


@row(CODEX, "/mock", INSIDE, "text turn")
def _(b: Bench) -> None:
    said(b.codex_cli("say hi", via="mock", model=None), "say hi")
