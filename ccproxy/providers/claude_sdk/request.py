"""A Messages request as what Claude Code is to be told: a pure function, no I/O.

Nothing that the client wrote is left out silently. What Claude Code cannot be told is refused with its JSON path, or
listed as a loss where it is only a hint.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ccproxy.errors import BadRequest
from ccproxy.providers.claude_sdk.config import Mode
from ccproxy.providers.local import LocalRequest

Block = dict[str, Any]
Content = str | list[Block]

OWN_TOOLS_SERVER = "claude-code"
"""The `server_name` under which an agent-mode answer shows the calls of Claude Code's own tools."""

# Said by Claude Code itself: its login and its name. A client's copy of them is not ours to pass on.
_OWN_BETAS = frozenset({"oauth-2025-04-20", "claude-code-20250219"})
_OWN_SYSTEM_BLOCK = "x-anthropic-billing-header:"

# Not parts of the upstream body, or told to Claude Code in another way.
_NOT_EXTRA = frozenset({"model", "messages", "system", "stream", "cache_control", "betas"})
# In agent mode the extra body goes out with every call of the loop, those of subagents and small helpers too: only
# what suits all of them.
_AGENT_EXTRA = frozenset({"temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_TOOL_FIELDS = frozenset({"type", "name", "description", "input_schema"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the client's conversation.

    `messages` are the Claude Code messages it becomes, mostly one. Turns with equal `key`s say the same; an
    assistant's key is its text alone, because clients of other formats send back nothing else.
    """

    role: Literal["user", "assistant"]
    messages: tuple[tuple[str, Content], ...]
    key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One request, ready for a process. The last turn is the user's; processes started for plans with equal `key`s
    are alike.
    """

    model: str
    system: str
    turns: tuple[Turn, ...]
    extra_body: dict[str, Any]
    betas: tuple[str, ...]
    flags: tuple[str, ...]
    env: dict[str, str]
    client_tools: tuple[Block, ...]
    losses: tuple[tuple[str, str], ...]
    key: str


def plan_request(request: LocalRequest, mode: Mode) -> Plan:
    """What the request asks of a Claude Code process in `mode`.

    Raises:
        BadRequest: with `param`, the JSON path of what is malformed or cannot be told.

    """
    body = request.body
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _refusal("model", "a model name is required")
    losses = _Losses()
    system = _system(body.get("system"), losses)
    turns = _turns(body.get("messages"), mode, losses)
    tools = _tools(body.get("tools"))
    if "cache_control" in body:
        losses.cache_control("cache_control")
    if mode == "plain":
        extra = {name: value for name, value in body.items() if name not in _NOT_EXTRA}
        # Without `thinking` the API does not think; Claude Code would, unless told. It knows which models cannot be
        # told.
        flags: tuple[str, ...] = () if "thinking" in extra else ("--thinking", "disabled")
        env: dict[str, str] = {}
        client_tools: tuple[Block, ...] = ()
    else:
        extra, flags, env = _agent_parameters(body, losses)
        client_tools = _client_tools(tools, losses)
    betas = _betas(request.headers.get("anthropic-beta", ""), body.get("betas"))
    key = digest([model, system, extra, betas, flags, env, client_tools])
    return Plan(model, system, turns, extra, betas, flags, env, client_tools, tuple(losses.found.items()), key)


def digest(value: Any) -> str:
    """A short name for a JSON value: equal values have equal names."""
    raw = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def assistant_key(texts: Iterable[str]) -> str:
    """The key of an assistant turn. White space does not count: translations between formats join blocks in their own
    ways.
    """
    return digest("".join("".join(texts).split()))


def _refusal(path: str, reason: str) -> BadRequest:
    """In the words of the Messages API, which writes paths with points."""
    return BadRequest(f"{path}: {reason}", param=_bracketed(path))


def _bracketed(path: str) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", path)


class _Losses:
    """What is lost, by JSON path; each reason is said once."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, path: str, reason: str) -> None:
        if reason not in self.found.values():
            self.found[_bracketed(path)] = reason

    def cache_control(self, path: str) -> None:
        self.add(path, "Claude Code places its own cache breakpoints")


# --- system, tools, parameters ---


def _system(system: Any, losses: _Losses) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    if not isinstance(system, list):
        raise _refusal("system", "a string or a list of text blocks is required")
    texts = []
    for at, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise _refusal(f"system.{at}", "only text blocks are accepted")
        if "cache_control" in block:
            losses.cache_control(f"system.{at}.cache_control")
        if not block["text"].startswith(_OWN_SYSTEM_BLOCK):
            texts.append(block["text"])
    return "\n\n".join(texts)


def _tools(tools: Any) -> list[Block]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise _refusal("tools", "a list is required")
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise _refusal(f"tools.{at}", "an object is required")
    return tools


def _client_tools(tools: list[Block], losses: _Losses) -> tuple[Block, ...]:
    """The tools that the client runs itself, for agent mode, where they stand beside Claude Code's own."""
    for at, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":
            raise _refusal(
                f"tools.{at}.type", f"{tool['type']} cannot stand beside Claude Code's own tools in agent mode"
            )
        if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
            raise _refusal(f"tools.{at}", "name and input_schema are required")
        for name in tool.keys() - _TOOL_FIELDS:
            losses.add(f"tools.{at}.{name}", f"agent mode offers tools without {name}")
    return tuple(tools)


def _betas(header: str, listed: Any) -> tuple[str, ...]:
    names = [name.strip() for name in header.split(",")]
    if isinstance(listed, list):
        names += [name for name in listed if isinstance(name, str)]
    return tuple(dict.fromkeys(name for name in names if name and name not in _OWN_BETAS))


def _agent_parameters(
    body: Mapping[str, Any], losses: _Losses
) -> tuple[dict[str, Any], tuple[str, ...], dict[str, str]]:
    """The extra body, flags and environment that carry a request's parameters through a whole agent loop."""
    extra: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
    env: dict[str, str] = {}
    for name, value in body.items():
        if name in _AGENT_EXTRA:
            extra[name] = value
        elif name == "max_tokens":
            env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(value)
        elif name == "thinking" and isinstance(value, dict):
            flags += _thinking_flags(value)
        elif name == "output_config" and isinstance(value, dict):
            if "format" in value:
                raise _refusal("output_config.format", "the answer of an agent has no fixed format")
            if value.get("effort") in _EFFORTS:
                flags += ("--effort", value["effort"])
        elif name not in _NOT_EXTRA and name != "tools":
            losses.add(name, f"{name} is not used in agent mode")
    return extra, flags, env


def _thinking_flags(thinking: dict[str, Any]) -> tuple[str, ...]:
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind == "enabled" and isinstance(budget, int):
        return ("--max-thinking-tokens", str(budget))
    if kind in ("adaptive", "disabled"):
        return ("--thinking", kind)
    raise _refusal("thinking", 'agent mode takes "enabled" with budget_tokens, "adaptive" or "disabled"')


# --- messages ---


def _turns(messages: Any, mode: Mode, losses: _Losses) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise _refusal("messages", "at least one message is required")
    merged: list[tuple[Literal["user", "assistant"], list[Block]]] = []
    open_calls: set[str] = set()
    for at, message in enumerate(messages):
        role, blocks = _blocks(message, at, losses)
        if role == "system":
            losses.add(
                f"messages.{at}.role", "a system message among the turns became a <system-reminder> of the user's turn"
            )
            text = "\n".join(block["text"] for block in blocks if isinstance(block.get("text"), str))
            role, blocks = "user", [{"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}]
        elif role == "assistant":
            open_calls = {
                block["id"] for block in blocks if block["type"] == "tool_use" and isinstance(block.get("id"), str)
            }
        elif role == "user":
            _check_results(blocks, at, open_calls, losses)
        # The API joins turns of the same role; Claude Code would put a line break between their texts.
        if merged and merged[-1][0] == role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((role, blocks))
    if merged[-1][0] == "assistant":
        raise _refusal(
            f"messages.{len(messages) - 1}",
            "the last message must be the user's; Claude Code cannot go on with a begun one",
        )
    return tuple(_turn(role, blocks, mode, losses) for role, blocks in merged)


def _blocks(message: Any, at: int, losses: _Losses) -> tuple[Literal["user", "assistant", "system"], list[Block]]:
    path = f"messages.{at}"
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
        raise _refusal(f"{path}.role", '"user", "assistant" or "system" is required')
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise _refusal(f"{path}.content", "a string or a list of blocks is required")
    if not content:
        raise _refusal(f"{path}.content", "must not be empty")
    blocks = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise _refusal(f"{path}.content.{number}", "a block with a type is required")
        blocks.append(_without_cache_control(block, f"{path}.content.{number}", losses))
    return message["role"], blocks


def _without_cache_control(block: Block, path: str, losses: _Losses) -> Block:
    if "cache_control" in block:
        losses.cache_control(f"{path}.cache_control")
        block = {name: value for name, value in block.items() if name != "cache_control"}
    inner = block.get("content")
    if isinstance(inner, list) and any(isinstance(part, dict) and "cache_control" in part for part in inner):
        parts = [
            _without_cache_control(part, f"{path}.content.{at}", losses) if isinstance(part, dict) else part
            for at, part in enumerate(inner)
        ]
        block = {**block, "content": parts}
    return block


def _check_results(blocks: list[Block], at: int, open_calls: set[str], losses: _Losses) -> None:
    """Claude Code drops a result without its call in silence, and invents a result for a call without one."""
    for number, block in enumerate(blocks):
        if block["type"] != "tool_result":
            continue
        if block.get("tool_use_id") not in open_calls:
            raise _refusal(
                f"messages.{at}.content.{number}.tool_use_id",
                f"unexpected `tool_use_id` found in `tool_result` blocks: {block.get('tool_use_id')}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message.",
            )
        open_calls.discard(block["tool_use_id"])
    if open_calls:
        losses.add(f"messages.{at}", "a tool call without its result gets an error result from Claude Code")
        open_calls.clear()


def _turn(role: Literal["user", "assistant"], blocks: list[Block], mode: Mode, losses: _Losses) -> Turn:
    if role == "user":
        return Turn("user", (("user", _plain(blocks)),), digest(blocks))
    key = assistant_key(block["text"] for block in blocks if block["type"] == "text")
    if mode == "plain":
        return Turn("assistant", (("assistant", blocks),), key)
    kept = [block for block in blocks if block["type"] not in ("thinking", "redacted_thinking")]
    if len(kept) < len(blocks):
        losses.add(
            "messages",
            "agent mode sends no thinking of earlier answers: it is bound to the messages that were joined to one",
        )
    return Turn("assistant", tuple(_unfold(kept)), key)


def _plain(blocks: list[Block]) -> Content:
    """A turn of one text is sent as a string, as most clients do."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _unfold(blocks: list[Block]) -> Iterable[tuple[str, Content]]:
    """An agent-mode answer as the messages it was folded from: the calls of Claude Code's own tools and their results
    are turns again.
    """
    spoken: list[Block] = []
    results: list[Block] = []
    for block in blocks:
        if block["type"] == "mcp_tool_result":
            results.append(
                {
                    "type": "tool_result",
                    **{name: block[name] for name in ("tool_use_id", "content", "is_error") if name in block},
                }
            )
            continue
        if results:
            yield "assistant", spoken
            yield "user", results
            spoken, results = [], []
        if block["type"] == "mcp_tool_use":
            server, name = block.get("server_name"), block.get("name")
            full = name if server == OWN_TOOLS_SERVER else f"mcp__{server}__{name}"
            spoken.append({"type": "tool_use", "id": block.get("id"), "name": full, "input": block.get("input", {})})
        else:
            spoken.append(block)
    if spoken:
        yield "assistant", spoken
    if results:
        yield "user", results
