"""Claude Code's messages as the events of one Anthropic answer.

Answers are made of the raw stream events alone: the SDK's `AssistantMessage` comes before its block has ended, without stop reason and usage. `message_stop` is
sent only for a message whose stop reason the upstream has stated; everything else ends with an error.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Literal

from claude_agent_sdk import AssistantMessage, RateLimitEvent, ResultMessage, StreamEvent, ToolResultBlock, UserMessage
from claude_agent_sdk.types import Message

from ccproxy.errors import UpstreamBroken
from ccproxy.providers.claude_sdk.failures import Failure
from ccproxy.providers.claude_sdk.request import OWN_TOOLS_SERVER

Event = dict[str, Any]

_STOP: Event = {"type": "message_stop"}


class PlainAnswer:
    """One upstream message, event by event, unchanged.

    `finished` is set with the event that has the stop reason, `reusable` if the process lives on; it is ready for the next turn when `settled`.
    """

    def __init__(self, *, keep: bool) -> None:
        """`keep` lets the process live if it can take another turn."""
        self.finished = False
        self.reusable = False
        self.settled = False
        self.total_usd: float | None = None
        self.texts: list[str] = []
        self._failure = Failure()
        self._keep = keep
        self._spoke = False

    def is_last(self, raw: dict[str, Any]) -> bool:
        """Return whether the process must end with this message. It gets them as they are read, before they queue up.

        After most stop reasons, and after an answer without text, Claude Code continues within milliseconds with a turn that no client wrote.
        """
        if raw.get("type") != "stream_event" or raw.get("parent_tool_use_id") is not None:
            return False
        event = raw["event"]
        if event.get("type") == "content_block_delta":
            self._spoke = self._spoke or bool(event["delta"].get("text"))
        if event.get("type") != "message_delta" or event["delta"].get("stop_reason") is None:
            return False
        self.reusable = self._keep and self._spoke and event["delta"]["stop_reason"] in ("end_turn", "stop_sequence")
        return not self.reusable

    def feed(self, message: Message) -> Iterator[Event]:
        """The events that `message` brings.

        Raises:
            ExchangeError: the answer failed.

        """
        if isinstance(message, StreamEvent):
            if message.parent_tool_use_id is None and not self.finished:
                yield from self._event(message.event)
        elif isinstance(message, AssistantMessage | RateLimitEvent):
            self._failure.note(message)
        elif isinstance(message, ResultMessage):
            self.settled = True
            self.total_usd = message.total_cost_usd
            if message.is_error:
                raise self._failure.error(message)
            if not self.finished:
                raise UpstreamBroken("Claude Code ended its turn without an answer")

    def _event(self, event: Event) -> Iterator[Event]:
        kind = event.get("type")
        if kind == "message_delta":
            if event["delta"].get("stop_reason") is None:
                return  # the upstream broke off; the result that follows says why
            self.finished = True
            yield event
            yield _STOP
        elif kind != "message_stop":
            if kind == "content_block_delta" and event["delta"].get("type") == "text_delta":
                self.texts.append(event["delta"]["text"])
            yield event


class AgentAnswer:
    """All upstream messages of an agent's loop as one: blocks numbered through, usage summed.

    The calls of Claude Code's own tools are hidden, shown as text, or as blocks that no client tries to run. A call of a client's tool ends the answer.
    """

    def __init__(self, show_tools: Literal["hide", "text", "blocks"], client_tools: Collection[str]) -> None:
        self.finished = False
        self.reusable = False
        self.settled = False
        self.total_usd: float | None = None
        self.texts: list[str] = []
        self._failure = Failure()
        self._show = show_tools
        self._client_tools = client_tools
        self._started = False
        self._inside = False  # a message whose stop reason has not come
        self._next = 0
        self._index: dict[int, int] = {}  # the upstream's number of a block that is open -> ours
        self._own_calls: dict[int, _OwnCall] = {}
        self._shown_calls: dict[str, str] = {}  # tool_use id -> name
        self._calls_client = False
        self._stop: Event = {"stop_reason": "end_turn", "stop_sequence": None}
        self._usage: dict[str, Any] = {}
        self._message_usage: dict[str, Any] = {}

    def is_last(self, _raw: dict[str, Any]) -> bool:
        """Return False: the loop is Claude Code's own, and a call of a client's tool waits indefinitely."""
        return False

    def feed(self, message: Message) -> Iterator[Event]:
        """The events that `message` brings.

        Raises:
            ExchangeError: the answer failed.

        """
        if self.finished:
            return
        if isinstance(message, StreamEvent):
            if message.parent_tool_use_id is None:
                yield from self._event(message.event)
        elif isinstance(message, UserMessage):
            if message.parent_tool_use_id is None and isinstance(message.content, list):
                for block in message.content:
                    if isinstance(block, ToolResultBlock):
                        yield from self._result(block)
        elif isinstance(message, AssistantMessage | RateLimitEvent):
            self._failure.note(message)
        elif isinstance(message, ResultMessage):
            self.settled = True
            self.total_usd = message.total_cost_usd
            self._check_result(message)
            self.reusable = True
            yield from self._end(message.usage or self._usage)

    def _check_result(self, result: ResultMessage) -> None:
        if result.is_error or result.subtype != "success":
            raise self._failure.error(result)
        if not self._started:
            raise UpstreamBroken("Claude Code ended its turn without an answer")
        if self._inside:
            raise UpstreamBroken("Claude Code ended its turn in the middle of a message")

    def _event(self, event: Event) -> Iterator[Event]:
        match event.get("type"):
            case "message_start":
                # The previous one broke off in the middle and is requested again.
                for number in self._index.values():
                    yield {"type": "content_block_stop", "index": number}
                self._index.clear()
                self._own_calls.clear()
                self._calls_client = False
                self._message_usage = dict(event["message"].get("usage") or {})
                self._inside = True
                if not self._started:
                    self._started = True
                    yield event
            case "content_block_start":
                yield from self._start_block(event)
            case "content_block_delta" | "content_block_stop":
                yield from self._continue_block(event)
            case "message_delta":
                yield from self._message_end(event)
            case _:
                pass  # message_stop of a part does not end the whole; unknown events have no index of ours

    def _start_block(self, event: Event) -> Iterator[Event]:
        number, block = event["index"], event["content_block"]
        if block["type"] == "tool_use":
            if block["name"] not in self._client_tools:
                self._own_calls[number] = _OwnCall(block["id"], block["name"])
                return
            self._calls_client = True
        self._index[number] = self._next
        self._next += 1
        yield {**event, "index": self._index[number]}

    def _continue_block(self, event: Event) -> Iterator[Event]:
        number = event["index"]
        if number in self._index:
            if event.get("delta", {}).get("type") == "text_delta":
                self.texts.append(event["delta"]["text"])
            index = self._index.pop(number) if event["type"] == "content_block_stop" else self._index[number]
            yield {**event, "index": index}
        elif (call := self._own_calls.get(number)) is not None:
            if event["type"] == "content_block_delta":
                call.arguments.append(event["delta"].get("partial_json", ""))
            else:
                del self._own_calls[number]
                yield from self._call(call)

    def _message_end(self, event: Event) -> Iterator[Event]:
        reason = event["delta"].get("stop_reason")
        if reason is None:
            return
        self._inside = False
        _add_usage(self._usage, {**self._message_usage, **(event.get("usage") or {})})
        self._stop = {name: value for name, value in event["delta"].items() if name in ("stop_reason", "stop_sequence")}
        if self._calls_client:
            yield from self._end(self._usage)

    def _end(self, usage: dict[str, Any]) -> Iterator[Event]:
        self.finished = True
        if self._stop["stop_reason"] == "tool_use" and not self._calls_client:
            self._stop = {
                "stop_reason": "end_turn",
                "stop_sequence": None,
            }  # the loop ended on a tool of its own: nothing for the client to run
        yield {"type": "message_delta", "delta": self._stop, "usage": usage}
        yield _STOP

    def _call(self, call: _OwnCall) -> Iterator[Event]:
        self._shown_calls[call.id] = call.name
        if self._show == "text":
            yield from self._text(f"\n\n> **{call.name}** {call.summary()}\n\n")
        elif self._show == "blocks":
            server, name = _server_and_tool(call.name)
            start = {"type": "mcp_tool_use", "id": call.id, "name": name, "server_name": server, "input": {}}
            yield from self._block(start, {"type": "input_json_delta", "partial_json": call.json()})

    def _result(self, block: ToolResultBlock) -> Iterator[Event]:
        if self._shown_calls.pop(block.tool_use_id, None) is None:
            return
        failed = bool(block.is_error)
        if self._show == "text":
            yield from self._text(f"> ↳ {'failed: ' if failed else ''}{_shorten(_result_text(block.content), 300)}\n\n")
        elif self._show == "blocks":
            content = [{"type": "text", "text": _result_text(block.content)}]
            yield from self._block(
                {"type": "mcp_tool_result", "tool_use_id": block.tool_use_id, "is_error": failed, "content": content}
            )

    def _text(self, text: str) -> Iterator[Event]:
        self.texts.append(text)
        yield from self._block({"type": "text", "text": ""}, {"type": "text_delta", "text": text})

    def _block(self, start: Event, delta: Event | None = None) -> Iterator[Event]:
        index, self._next = self._next, self._next + 1
        yield {"type": "content_block_start", "index": index, "content_block": start}
        if delta is not None:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


class _OwnCall:
    """A call of one of Claude Code's own tools, while its arguments come."""

    def __init__(self, identifier: str, name: str) -> None:
        self.id = identifier
        self.name = name
        self.arguments: list[str] = []

    def json(self) -> str:
        return "".join(self.arguments) or "{}"

    def summary(self) -> str:
        """The argument that says most, on one line."""
        try:
            arguments = json.loads(self.json())
        except ValueError:
            return _shorten(self.json(), 200)
        if isinstance(arguments, dict):
            for name in ("command", "file_path", "path", "pattern", "url", "query", "description"):
                if isinstance(arguments.get(name), str):
                    return f"`{_shorten(arguments[name], 200)}`"
        return f"`{_shorten(json.dumps(arguments), 200)}`" if arguments else ""


def _server_and_tool(name: str) -> tuple[str, str]:
    parts = name.split("__", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "mcp" else (OWN_TOOLS_SERVER, name)


def _result_text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] if part.get("type") == "text" else f"[{part.get('type')}]" for part in content or ())


def _shorten(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _add_usage(total: dict[str, Any], usage: dict[str, Any]) -> None:
    for name, value in usage.items():
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int):
            total[name] = total.get(name, 0) + value
        elif isinstance(value, dict):
            inner = total.setdefault(name, {})
            if isinstance(inner, dict):
                _add_usage(inner, value)
        else:
            total[name] = value
