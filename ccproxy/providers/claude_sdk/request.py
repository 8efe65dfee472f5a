"""A Messages request as input for Claude Code: a pure function, no I/O.

Nothing that the client wrote is left out silently. What Claude Code cannot carry is refused with its JSON path, or listed as a loss where it is only a hint.
Nothing that the client wrote can be more than it says: names that reach a command line, an environment or a header have a fixed form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ccproxy.errors import BadRequest
from ccproxy.providers.claude_sdk.config import Mode
from ccproxy.providers.json_limits import MOST_NAME, bracketed, check_values, member, refusal
from ccproxy.providers.local import LocalRequest

Block = dict[str, Any]
Content = str | list[Block]

OWN_TOOLS_SERVER = "claude-code"
"""The `server_name` under which an agent-mode answer shows the calls of Claude Code's own tools."""

# Claude Code's own login and name, which it adds itself. A client's copy of them is not ours to pass on.
_OWN_BETAS = frozenset({"oauth-2025-04-20", "claude-code-20250219"})
_OWN_SYSTEM_BLOCK = "x-anthropic-billing-header:"
_OWN_SYSTEM_MARK = "__SYSTEM_PROMPT_DYNAMIC_BOUNDARY__"

# Names of every vendor and gateway fit: `claude-opus-4-6[1m]`, `arn:aws:bedrock:…/…`, `anthropic/claude@2026`. None is
# an option, a file or a second value.
_MODEL = re.compile(r"[A-Za-z0-9][\w.:/@\[\]-]*", re.ASCII)
_BETA = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_MOST_BETAS: Final = 100
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SESSION = re.compile(r"[A-Za-z0-9._-]{1,128}")

# Not parts of the upstream body, or passed to Claude Code in another way.
_NOT_EXTRA = frozenset({"model", "messages", "system", "stream", "cache_control", "betas"})
# Parameters of other vendors' APIs that mean something to Claude Code itself: with a use case in it, it ignores the
# whole extra body; betas are added to its own.
_MEANT_FOR_OTHERS = frozenset({"program_use_case_id", "anthropic_beta"})
# In agent mode the extra body goes out with every call of the loop, those of subagents and small helpers too: only
# what suits all of them.
_AGENT_EXTRA = frozenset({"temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"})
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_TOOL_FIELDS = frozenset({"type", "name", "description", "input_schema"})
_OBJECTS = ("thinking", "output_config", "metadata", "tool_choice", "context_management", "container")
_MOST_TOKENS: Final = 10**9
_MOST_LOSSES: Final = 100
_MOST_EXTRA: Final = 1_900_000  # bytes: Claude Code ignores a settings file of more than 2 MiB
_MOST_CLIENT_TOOLS: Final = 1000


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
    """The request as a plan for a Claude Code process in `mode`.

    Raises:
        BadRequest: with `param`, the JSON path of what is malformed or not supported.

    """
    body = request.body
    losses = _Losses()
    imprecise = check_values(body)
    if imprecise is not None:
        losses.add(imprecise, "Claude Code rounds integers of more than 53 bits")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refusal("model", "a model name is required")
    if len(model) > MOST_NAME or not _MODEL.fullmatch(model):
        raise refusal("model", f"a name of at most {MOST_NAME} letters, digits and ._:/@[]- is required")
    _check_parameters(body)
    system = _system(body.get("system"), losses)
    if _OWN_SYSTEM_MARK in system:
        losses.add("system", f"Claude Code removes {_OWN_SYSTEM_MARK} from a system prompt")
    turns = _turns(body.get("messages"), mode, losses)
    tools = _tools(body.get("tools"))
    if "cache_control" in body:
        losses.cache_control("cache_control")
    if mode == "plain":
        extra = _plain_extra(body)
        # Without `thinking`, the API does not think, but Claude Code does unless this flag turns it off. Claude Code
        # knows which models do not accept that.
        flags: tuple[str, ...] = () if "thinking" in extra else ("--thinking=disabled",)
        env: dict[str, str] = {}
        client_tools: tuple[Block, ...] = ()
    else:
        extra, flags, env = _agent_parameters(body, losses)
        client_tools = _client_tools(tools, losses)
    _check_size(extra)
    betas = _betas(request.headers.get("anthropic-beta", ""), body.get("betas"))
    key = digest([model, system, extra, betas, flags, env, client_tools])
    return Plan(model, system, turns, extra, betas, flags, env, client_tools, tuple(losses.by_path.items()), key)


def check_conversation(body: Mapping[str, Any]) -> None:
    """Refuse a request whose tokens cannot be counted.

    Raises:
        BadRequest: with `param`, the JSON path of what is malformed.

    """
    check_values(dict(body))
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise refusal("messages", "at least one message is required")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list):
            raise refusal(f"messages.{at}", "an object with role and content is required")


def session_label(headers: Mapping[str, str]) -> str | None:
    """The name of the conversation that the client's own Claude Code states, for people who decide about its tools."""
    name = headers.get("x-claude-code-session-id", "")
    return name if _SESSION.fullmatch(name) else None


def digest(value: Any) -> str:
    """A short name for a JSON value: equal values have equal names."""
    raw = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def assistant_key(texts: Iterable[str]) -> str:
    """The key of an assistant turn. White space does not count: translations between formats join blocks in their own
    ways.
    """
    return digest("".join("".join(texts).split()))


class _Losses:
    """What is lost, by JSON path; each reason is given once."""

    def __init__(self) -> None:
        self.by_path: dict[str, str] = {}
        self._reasons: set[str] = set()

    def add(self, path: str, reason: str) -> None:
        if reason not in self._reasons and len(self.by_path) < _MOST_LOSSES:
            self._reasons.add(reason)
            self.by_path.setdefault(bracketed(path), reason)

    def cache_control(self, path: str) -> None:
        self.add(path, "Claude Code places its own cache breakpoints")


# --- system, tools, parameters ---


def _system(system: Any, losses: _Losses) -> str:
    if system is None or isinstance(system, str):
        return system or ""
    if not isinstance(system, list):
        raise refusal("system", "a string or a list of text blocks is required")
    texts = []
    for at, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise refusal(f"system.{at}", "only text blocks are accepted")
        if "cache_control" in block:
            losses.cache_control(f"system.{at}.cache_control")
        if not block["text"].startswith(_OWN_SYSTEM_BLOCK):
            texts.append(block["text"])
    return "\n\n".join(texts)


def _tools(tools: Any) -> list[Block]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise refusal("tools", "a list is required")
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise refusal(f"tools.{at}", "an object is required")
    return tools


def _client_tools(tools: list[Block], losses: _Losses) -> tuple[Block, ...]:
    """The tools that the client runs itself, for agent mode, where they are next to Claude Code's own."""
    if len(tools) > _MOST_CLIENT_TOOLS:
        raise refusal("tools", f"at most {_MOST_CLIENT_TOOLS:,} tools are accepted in agent mode")
    for at, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":
            raise refusal(
                f"tools.{at}.type",
                f"{str(tool['type'])[:100]!r} cannot be used next to Claude Code's own tools in agent mode",
            )
        name = tool.get("name")
        if not isinstance(name, str) or not isinstance(tool.get("input_schema"), dict):
            raise refusal(f"tools.{at}", "name and input_schema are required")
        if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
            raise refusal(f"tools.{at}.name", f"a name of at most {MOST_NAME} printable characters is required")
        if not isinstance(tool.get("description", ""), str):
            raise refusal(f"tools.{at}.description", "a string is required")
        for field in sorted(tool.keys() - _TOOL_FIELDS):
            losses.add(
                member(f"tools.{at}", field), "agent mode offers tools by name, description and input_schema alone"
            )
    return tuple(tools)


def _betas(header: str, listed: Any) -> tuple[str, ...]:
    names = [name for part in header.split(",") if (name := part.strip())]
    if not all(_is_beta(name) for name in names):
        raise BadRequest("anthropic-beta: names of letters, digits and ._- are required")
    if listed is not None and not isinstance(listed, list):
        raise refusal("betas", "a list is required")
    for at, name in enumerate(listed or ()):
        if not isinstance(name, str) or not _is_beta(name):
            raise refusal(f"betas.{at}", "a name of letters, digits and ._- is required")
        names.append(name)
    betas = tuple(dict.fromkeys(name for name in names if name not in _OWN_BETAS))
    if len(betas) > _MOST_BETAS:
        raise refusal("betas", f"at most {_MOST_BETAS} betas are accepted")
    return betas


def _is_beta(name: str) -> bool:
    return len(name) <= MOST_NAME and _BETA.fullmatch(name) is not None


def _check_parameters(body: Mapping[str, Any]) -> None:
    """Refuse what Claude Code would stumble over, or read as another thing. All else is the upstream's to judge."""
    for name in _OBJECTS:
        if not isinstance(body.get(name) or {}, dict | str if name == "container" else dict):
            raise refusal(name, "an object is required")
    stops = body.get("stop_sequences")
    if stops is not None and not (isinstance(stops, list) and all(isinstance(stop, str) for stop in stops)):
        raise refusal("stop_sequences", "a list of strings is required")
    most = body.get("max_tokens")
    if most is not None and not _is_count(most):
        raise refusal("max_tokens", f"an integer from 1 to {_MOST_TOKENS:,} is required")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS


def _plain_extra(body: Mapping[str, Any]) -> dict[str, Any]:
    """The upstream parameters that a plain model passes on as they are. A null is a parameter that is not set."""
    extra: dict[str, Any] = {}
    for name, value in body.items():
        if name in _NOT_EXTRA or value is None:
            continue
        if name in _MEANT_FOR_OTHERS or not _PARAMETER.fullmatch(name):
            raise refusal(member("", name), "this is not a parameter of the Messages API")
        extra[name] = value
    return extra


def _check_size(extra: Mapping[str, Any]) -> None:
    sizes = {name: len(json.dumps(value)) for name, value in extra.items()}
    if sum(sizes.values()) > _MOST_EXTRA:
        largest = max(sizes, key=sizes.__getitem__)
        raise refusal(
            largest, f"all parameters together are limited to {_MOST_EXTRA:,} bytes by Claude Code; this is the largest"
        )


def _agent_parameters(
    body: Mapping[str, Any], losses: _Losses
) -> tuple[dict[str, Any], tuple[str, ...], dict[str, str]]:
    """The extra body, flags and environment that carry a request's parameters through a whole agent loop."""
    extra: dict[str, Any] = {}
    flags: tuple[str, ...] = ()
    env: dict[str, str] = {}
    for name, value in body.items():
        if value is None or name in _NOT_EXTRA or name == "tools":
            continue
        if name in _AGENT_EXTRA:
            extra[name] = value
        elif name == "max_tokens":
            env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(value)
        elif name == "thinking":
            flags += _thinking_flags(value)
        elif name == "output_config":
            flags += _output_flags(value, losses)
        else:
            losses.add(member("", name), f"{name[:64]} is not used in agent mode")
    return extra, flags, env


def _output_flags(config: Mapping[str, Any], losses: _Losses) -> tuple[str, ...]:
    if config.get("format") is not None:
        raise refusal("output_config.format", "the answer of an agent has no fixed format")
    effort = config.get("effort")
    for name in sorted(config.keys() - {"format", "effort"}):
        losses.add(member("output_config", name), "agent mode uses effort alone")
    if effort is None:
        return ()
    if not isinstance(effort, str) or effort not in _EFFORTS:
        raise refusal("output_config.effort", f"one of {', '.join(sorted(_EFFORTS))} is required")
    return (f"--effort={effort}",)


def _thinking_flags(thinking: dict[str, Any]) -> tuple[str, ...]:
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    if kind == "enabled" and _is_count(budget):
        return (f"--max-thinking-tokens={budget}",)
    if kind in ("adaptive", "disabled"):
        return (f"--thinking={kind}",)
    raise refusal("thinking", 'agent mode takes "enabled" with budget_tokens, "adaptive" or "disabled"')


# --- messages ---


def _turns(messages: Any, mode: Mode, losses: _Losses) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise refusal("messages", "at least one message is required")
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
            open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        elif role == "user":
            _check_results(blocks, at, open_calls, losses)
        # The API joins turns of the same role; Claude Code would put a line break between their texts.
        if merged and merged[-1][0] == role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((role, blocks))
    if merged[-1][0] == "assistant":
        raise refusal(
            f"messages.{len(messages) - 1}",
            "the last message must be the user's; Claude Code cannot continue one that has begun",
        )
    if all(block["type"] == "text" and not block["text"].strip() for block in merged[-1][1]):
        raise refusal(f"messages.{len(messages) - 1}.content", "text that is not blank is required")
    return tuple(_turn(role, blocks, mode, losses) for role, blocks in merged)


def _blocks(message: Any, at: int, losses: _Losses) -> tuple[Literal["user", "assistant", "system"], list[Block]]:
    path = f"messages.{at}"
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
        raise refusal(f"{path}.role", '"user", "assistant" or "system" is required')
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise refusal(f"{path}.content", "a string or a list of blocks is required")
    if not content:
        raise refusal(f"{path}.content", "must not be empty")
    blocks = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise refusal(f"{path}.content.{number}", "a block with a type is required")
        _check_block(block, f"{path}.content.{number}")
        blocks.append(_without_cache_control(block, f"{path}.content.{number}", losses))
    return message["role"], blocks


# What Claude Code itself reads of a block; the rest is the upstream's to judge.
_TEXT_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text",),
    "thinking": ("thinking",),
    "tool_use": ("id", "name"),
    "tool_result": ("tool_use_id",),
    "mcp_tool_use": ("id", "name", "server_name"),
    "mcp_tool_result": ("tool_use_id",),
}


def _check_block(block: Block, path: str) -> None:
    for name in _TEXT_FIELDS.get(block["type"], ()):
        if not isinstance(block.get(name), str):
            raise refusal(f"{path}.{name}", "a string is required")
    if block["type"] in ("tool_use", "mcp_tool_use") and not isinstance(block.get("input", {}), dict):
        raise refusal(f"{path}.input", "an object is required")
    if block["type"] in ("image", "document") and not isinstance(block.get("source"), dict):
        raise refusal(f"{path}.source", "an object is required")
    content = block.get("content")
    if block["type"] == "tool_result" and not isinstance(content, str | list | None):
        raise refusal(f"{path}.content", "a string or a list of blocks is required")
    if isinstance(content, list):
        for at, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("type"), str):
                _check_block(part, f"{path}.content.{at}")
            elif block["type"] == "tool_result":
                raise refusal(f"{path}.content.{at}", "a block with a type is required")


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
        if block["tool_use_id"] not in open_calls:
            raise refusal(
                f"messages.{at}.content.{number}.tool_use_id",
                f"unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id'][:100]}. Each "
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
    others = [block for block in blocks if block["type"] not in ("thinking", "redacted_thinking")]
    if len(others) < len(blocks):
        losses.add(
            "messages",
            "agent mode sends no thinking of earlier answers: it is bound to the messages that were joined to one",
        )
    return Turn("assistant", tuple(_unfold(others)), key)


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
            server, name = block["server_name"], block["name"]
            full = name if server == OWN_TOOLS_SERVER else f"mcp__{server}__{name}"
            spoken.append({"type": "tool_use", "id": block["id"], "name": full, "input": block.get("input", {})})
        else:
            spoken.append(block)
    if spoken:
        yield "assistant", spoken
    if results:
        yield "user", results
