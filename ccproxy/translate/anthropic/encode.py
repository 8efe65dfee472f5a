"""Neutral events, written as an Anthropic stream and folded into a message. https://docs.claude.com/en/docs/build-with-claude/streaming

The format is sequential: one block is open at a time, in the order 0, 1, 2… Parts that arrive meanwhile wait until it is closed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from ccproxy.translate import capsule
from ccproxy.translate.answer import AnswerContext
from ccproxy.translate.anthropic import errors
from ccproxy.translate.formats import Format
from ccproxy.translate.freeform import unwrap_object, wrap_end, wrap_start, wrap_text
from ccproxy.translate.jsontext import dump_bytes, quote, utf8
from ccproxy.translate.neutral import (
    Annotate,
    Annotation,
    Delta,
    Error,
    Event,
    Finish,
    Part,
    PartEnd,
    PartStart,
    Ping,
    Start,
    UsageUpdate,
)
from ccproxy.translate.sse import frame
from ccproxy.translate.stops import REASONS, StopClass
from ccproxy.translate.usage import Usage, to_anthropic

Json = dict[str, Any]

_REASONS = REASONS[Format.ANTHROPIC]
_DELTAS = {
    "text": '"text_delta","text":',
    "refusal": '"text_delta","text":',
    "reasoning": '"thinking_delta","thinking":',
    "tool_call": '"input_json_delta","partial_json":',
}
_BLOCKS: dict[str, Json] = {
    "text": {"type": "text", "text": ""},
    "refusal": {"type": "text", "text": ""},
    "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
}
_REFUSAL_CATEGORIES = frozenset(("cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms"))
_NO_ID = re.compile(r"[^A-Za-z0-9]")
_PING = frame("ping", b'{"type":"ping"}')
_SEALED_INDEX = capsule.seal(None, "", {})


class _Front:
    """The part that is being written."""

    __slots__ = ("block", "citations", "delta_start", "index", "part", "started")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.started = False
        self.block: Json = {}
        self.delta_start = ""
        self.citations: list[Json] = []


class Encoder:
    """An `answer.Encoder` for this format."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._front: _Front | None = None
        self._waiting: OrderedDict[int, list[Event]] = (
            OrderedDict()
        )  # taking the first item of a dict again and again is slow
        self._blocks = 0
        self._content: list[Json] = []  # for the whole message
        self._message: Json = {}
        self._usage = Usage()
        self._refusals: list[str] = []
        self._model = context.model

    def encode(self, event: Event) -> bytes:
        if type(event) is Delta:
            front = self._front
            if front is not None and front.index == event.index:
                return self._delta(front, event.text)
            self._wait(event)
            return b""
        match event:
            case PartStart():
                return self._part_start(event)
            case Annotate() | PartEnd():
                return self._of_part(event)
            case Start():
                return self._start(event)
            case UsageUpdate():
                self._usage = event.usage
                return b""
            case Finish():
                return self._finish(event)
            case Error():
                return errors.event(event.error, None)
            case Ping():
                return _PING
            case Delta():
                return b""

    def result(self) -> Json:
        """The whole message."""
        return self._message

    def ping(self) -> bytes:
        return _PING

    @property
    def keeps(self) -> bool:
        return self._context.folding or bool(self._waiting)

    # --- the message ---

    def _start(self, event: Start) -> bytes:
        self._usage = event.usage or self._usage
        self._model = event.model or self._model
        identity = (
            event.id
            if event.id.startswith("msg_")
            else f"msg_{event.id.removeprefix('chatcmpl-').removeprefix('resp_')}"
        )
        self._message = {
            "id": identity,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": to_anthropic(self._usage),
        }
        data = dump_bytes({"type": "message_start", "message": self._message})
        return frame("message_start", data)

    def _finish(self, event: Finish) -> bytes:
        out = []
        while self._front is not None:  # if the decoder did not end all parts
            out.append(self._end(self._front.part))
        reason = _REASONS[event.reason]
        refused = "".join(self._refusals)
        if refused and event.reason is StopClass.END:
            reason = "refusal"
        if event.reason is StopClass.OTHER and event.raw:
            self._context.losses.add("stop_reason", f"no equivalent of the stop reason {event.raw}")
        delta: Json = {"stop_reason": reason, "stop_sequence": event.stop_sequence}
        if reason == "refusal":
            category = event.category if event.category in _REFUSAL_CATEGORIES else None
            delta["stop_details"] = {
                "type": "refusal",
                "category": category,
                "explanation": event.explanation or refused or None,
            }
        usage = to_anthropic(self._usage)
        self._message.update(delta)
        self._message["content"] = self._content
        self._message["usage"] = usage
        out.append(frame("message_delta", dump_bytes({"type": "message_delta", "delta": delta, "usage": usage})))
        out.append(frame("message_stop", b'{"type":"message_stop"}'))
        return b"".join(out)

    # --- parts in a row ---

    def _part_start(self, event: PartStart) -> bytes:
        if self._front is None:
            return self._begin(event.index, event.part)
        self._waiting[event.index] = [event]
        return b""

    def _of_part(self, event: Annotate | PartEnd) -> bytes:
        front = self._front
        if front is None or front.index != event.index:
            self._wait(event)
            return b""
        if isinstance(event, Annotate):
            return self._cite(front, event.annotation)
        return self._end(event.part)

    def _wait(self, event: Delta | Annotate | PartEnd) -> None:
        """Add an event to a waiting part. Events of a part that has not begun are ignored."""
        waiting = self._waiting.get(event.index)
        if waiting is not None:
            waiting.append(event)

    def _end(self, part: Part) -> bytes:
        """Close the open part, and write the waiting ones."""
        front = self._front
        assert front is not None
        out = [self._close(front, part)]
        self._front = None
        while self._waiting and self._idle():
            _, events = self._waiting.popitem(last=False)
            out.extend(self.encode(event) for event in events)
        return b"".join(out)

    def _idle(self) -> bool:
        return self._front is None

    def _begin(self, index: int, part: Part) -> bytes:
        """Make a part the open one. Only a call starts its block immediately: other parts may be empty."""
        front = _Front(index, part)
        self._front = front
        if part.kind != "tool_call":
            return b""
        tool = self._context.names.client(part.name, part.namespace)
        name = f"{tool.namespace}__{tool.name}" if tool.namespace else tool.name
        block = {"type": "tool_use", "id": part.id, "name": name, "input": {}}
        return self._block_start(front, block) + (
            self._wrapped(front, wrap_start()) if part.variety == "custom" else b""
        )

    def _block_start(self, front: _Front, block: Json) -> bytes:
        front.started = True
        place = self._blocks
        self._blocks += 1
        front.block = block
        kind = _DELTAS.get(front.part.kind, "")
        front.delta_start = (
            f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{place},"delta":{{"type":{kind}'
        )
        return frame(
            "content_block_start", dump_bytes({"type": "content_block_start", "index": place, "content_block": block})
        )

    def _delta(self, front: _Front, text: str) -> bytes:
        if not front.started:
            block = _BLOCKS.get(front.part.kind)
            if block is None:
                return b""
            return self._block_start(front, dict(block)) + self._wrapped(front, text)
        if front.part.variety == "custom":
            text = wrap_text(text)
        return self._wrapped(front, text)

    def _wrapped(self, front: _Front, text: str) -> bytes:
        return utf8(f"{front.delta_start}{quote(text)}}}}}\n\n")

    def _other_delta(self, delta: Json) -> bytes:
        event = {"type": "content_block_delta", "index": self._blocks - 1, "delta": delta}
        return frame("content_block_delta", dump_bytes(event))

    def _block_stop(self, block: Json) -> bytes:
        if self._context.folding:
            self._content.append(block)
        return frame("content_block_stop", b'{"type":"content_block_stop","index":%d}' % (self._blocks - 1))

    def _whole_block(self, front: _Front, block: Json) -> bytes:
        """A block without deltas."""
        return self._block_start(front, block) + self._block_stop(block)

    def _cite(self, front: _Front, annotation: Annotation) -> bytes:
        if not front.started:
            return b""
        if annotation.fmt is Format.ANTHROPIC and annotation.raw is not None:
            citation = annotation.raw
        elif annotation.url:
            citation = {
                "type": "web_search_result_location",
                "url": annotation.url,
                "title": annotation.title or None,
                "cited_text": annotation.cited_text,
                "encrypted_index": _SEALED_INDEX,
            }
        else:
            self._context.losses.add("content.citations", "a citation without a URL")
            return b""
        front.citations.append(citation)
        return self._other_delta({"type": "citations_delta", "citation": citation})

    # --- ends of parts ---

    def _close(self, front: _Front, part: Part) -> bytes:
        match part.kind:
            case "text" | "refusal":
                return self._close_text(front, part)
            case "reasoning":
                return self._close_reasoning(front, part)
            case "tool_call":
                return self._close_call(front, part)
            case "server_tool" | "opaque":
                return self._close_other(front, part)

    def _close_text(self, front: _Front, part: Part) -> bytes:
        if part.kind == "refusal":
            self._refusals.append(part.text)
        if not front.started:
            return b""
        block: Json = {"type": "text", "text": part.text}
        if front.citations:
            block["citations"] = front.citations
        return self._block_stop(block)

    def _close_reasoning(self, front: _Front, part: Part) -> bytes:
        raw = part.raw or {}
        if part.fmt is Format.ANTHROPIC:
            if raw.get("type") == "redacted_thinking":
                return self._whole_block(front, raw)
            signature = part.encrypted
        elif part.fmt is Format.OPENAI_RESPONSES and not part.encrypted:
            signature = capsule.seal(None, self._model, {})  # without content that the provider accepts
        else:
            signature = capsule.seal(part.fmt, self._model, raw)
        if not front.started and part.fmt is not Format.ANTHROPIC:
            if part.fmt is Format.OPENAI_RESPONSES and not part.encrypted:
                return b""
            return self._whole_block(front, {"type": "redacted_thinking", "data": signature})
        start = b"" if front.started else self._block_start(front, dict(_BLOCKS["reasoning"]))
        block = {"type": "thinking", "thinking": part.text, "signature": signature}
        return start + self._other_delta({"type": "signature_delta", "signature": signature}) + self._block_stop(block)

    def _close_call(self, front: _Front, part: Part) -> bytes:
        block = front.block
        if part.variety == "custom":
            return self._wrapped(front, wrap_end()) + self._block_stop({**block, "input": {"input": part.text}})
        return self._block_stop({**block, "input": unwrap_object(part.text)})

    def _close_other(self, front: _Front, part: Part) -> bytes:
        raw = part.raw
        if part.fmt is Format.ANTHROPIC and raw is not None:
            return self._whole_block(front, raw)
        if part.kind == "server_tool" and part.name == "web_search" and raw is not None:
            return self._web_search(front, part, raw)
        self._context.losses.add(f"output.{part.name}", "the record of a provider's own tool")
        return b""

    def _web_search(self, front: _Front, part: Part, item: Json) -> bytes:
        """OpenAI's web search in the form of Anthropic's. The capsules in it make sure that it returns only to OpenAI."""
        raw_action = item.get("action")
        action: Json = raw_action if isinstance(raw_action, dict) else {}
        identity = "srvtoolu_" + _NO_ID.sub("_", part.id)
        arguments = {
            key: value
            for key, value in action.items()
            if key in ("query", "queries", "url", "pattern") and value is not None
        }
        sealed = capsule.seal(Format.OPENAI_RESPONSES, self._model, item)
        results = []
        for source in action.get("sources") or ():
            if isinstance(source, dict) and isinstance(source.get("url"), str):
                title = source.get("title") if isinstance(source.get("title"), str) else source["url"]
                results.append(
                    {
                        "type": "web_search_result",
                        "url": source["url"],
                        "title": title,
                        "encrypted_content": sealed,
                        "page_age": None,
                    }
                )
                sealed = _SEALED_INDEX
        call = {"type": "server_tool_use", "id": identity, "name": "web_search", "input": arguments}
        result = {"type": "web_search_tool_result", "tool_use_id": identity, "content": results}
        return self._whole_block(front, call) + self._whole_block(front, result)
