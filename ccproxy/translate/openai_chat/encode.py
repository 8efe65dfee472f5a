"""Neutral events, written as Chat Completions chunks and folded into a completion.

Extension fields have to survive the accumulator of OpenAI's SDK, which joins strings and requires an integer index in every list entry: only the first delta of
an index has `format` and `id`, indices are dense, and all citations are in one delta.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ccproxy.translate.answer import AnswerContext
from ccproxy.translate.formats import Format
from ccproxy.translate.freeform import Unwrapper
from ccproxy.translate.jsontext import dump, dump_bytes, quote, utf8
from ccproxy.translate.neutral import (
    Annotate,
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
from ccproxy.translate.openai_chat import errors
from ccproxy.translate.openai_chat.reasoning import FORMAT_NAMES
from ccproxy.translate.sse import PING_COMMENT, frame
from ccproxy.translate.stops import REASONS, StopClass
from ccproxy.translate.usage import Usage, to_chat

Json = dict[str, Any]

_REASONS = REASONS[Format.OPENAI_CHAT]


class _Open:
    """A part that is being written."""

    __slots__ = ("delta_start", "entry", "part", "place", "position", "thoughts", "unwrapper", "wrote")

    def __init__(self, part: Part, position: int) -> None:
        self.part = part
        self.position = position
        self.place = -1  # the index of the call, or of the entry in reasoning_details
        self.delta_start = ""
        self.entry: Json | None = None
        self.unwrapper: Unwrapper | None = None
        self.thoughts: list[str] = []
        self.wrote = False


class Encoder:
    """An `answer.Encoder` for this format."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._open: dict[int, _Open] = {}
        self._parts = 0
        # With `folding`, all texts of the answer. Otherwise only the last one, which shows that there are any.
        self._texts: list[str] | deque[str] = [] if context.folding else deque(maxlen=1)
        self._refusals: list[str] | deque[str] = [] if context.folding else deque(maxlen=1)
        self._thoughts: list[str] | deque[str] = [] if context.folding else deque(maxlen=1)
        self._length = 0  # characters of content so far
        self._details: list[Json] = []
        self._detail_count = 0
        self._calls: list[Json] = []
        self._call_count = 0
        self._annotations: list[Json] = []
        self._usage = Usage()
        self._head: Json = {}
        self._prefix = self._suffix = ""
        self._completion: Json = {}

    def encode(self, event: Event) -> bytes:
        match event:
            case Delta():
                opened = self._open.get(event.index)
                return self._delta(opened, event.text) if opened is not None else b""
            case PartStart():
                return self._part_start(event)
            case PartEnd():
                opened = self._open.pop(event.index, None)
                return self._part_end(opened, event.part) if opened is not None else b""
            case UsageUpdate():
                self._usage = event.usage
                return b""
            case Start():
                return self._start(event)
            case Finish():
                return self._finish(event)
            case Error():
                return errors.event(event.error, None)
            case Ping():
                return PING_COMMENT
            case Annotate():
                return b""  # written at the end of the text

    def result(self) -> Json:
        """The whole completion."""
        return self._completion

    def ping(self) -> bytes:
        return PING_COMMENT

    @property
    def keeps(self) -> bool:
        return self._context.folding or bool(self._annotations)

    # --- the completion ---

    def _start(self, event: Start) -> bytes:
        core = event.id.removeprefix("msg_").removeprefix("resp_").removeprefix("chatcmpl-")
        self._usage = event.usage or self._usage
        self._head = {
            "id": f"chatcmpl-{core}",
            "created": event.created or self._context.created,
            "model": event.model or self._context.model,
        }
        head = dump({**self._head, "object": "chat.completion.chunk"})
        usage = ',"usage":null' if self._context.include_usage else ""
        self._prefix = f'data: {head[:-1]},"choices":[{{"index":0,"delta":'
        self._suffix = f',"logprobs":null,"finish_reason":null}}]{usage}}}\n\n'
        return self._chunk('{"role":"assistant","content":""}')

    def _chunk(self, delta: str) -> bytes:
        if self._context.folding:
            return b""
        return utf8(f"{self._prefix}{delta}{self._suffix}")

    def _finish(self, event: Finish) -> bytes:
        out = [self._part_end(opened, opened.part) for opened in self._open.values()]
        self._open.clear()
        reason = _REASONS[event.reason]
        if event.reason is StopClass.REFUSAL and event.explanation and not self._texts and not self._refusals:
            self._refusals.append(event.explanation)
            out.append(self._chunk(f'{{"refusal":{quote(event.explanation)}}}'))
        if event.reason is StopClass.PAUSE:
            self._context.losses.add("stop_reason", "a paused turn cannot be continued in this format")
        if self._annotations:
            out.append(self._chunk(dump({"annotations": self._annotations})))
        closing = self._suffix.replace('"finish_reason":null', f'"finish_reason":"{reason}"')
        out.append(utf8(f"{self._prefix}{{}}{closing}"))
        usage = to_chat(self._usage)
        if self._context.include_usage:
            out.append(
                frame("", dump_bytes({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
            )
        out.append(b"data: [DONE]\n\n")
        self._completion = {
            **self._head,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": self._message(), "logprobs": None, "finish_reason": reason}],
            "usage": usage,
        }
        return b"".join(out)

    def _message(self) -> Json:
        message: Json = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts else None,
            "refusal": "".join(self._refusals) if self._refusals else None,
        }
        if self._annotations:
            message["annotations"] = self._annotations
        if self._thoughts:
            message["reasoning_content"] = "".join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = self._calls
        return message

    # --- parts ---

    def _part_start(self, event: PartStart) -> bytes:
        part = event.part
        opened = _Open(part, self._parts)
        self._parts += 1
        self._open[event.index] = opened
        match part.kind:
            case "text":
                opened.delta_start = '{"content":'
            case "refusal":
                opened.delta_start = '{"refusal":'
            case "tool_call":
                return self._call_start(opened, part)
            case _:
                pass
        return b""

    def _call_start(self, opened: _Open, part: Part) -> bytes:
        opened.place = self._call_count
        self._call_count += 1
        tool = self._context.names.client(part.name, part.namespace)
        name = f"{tool.namespace}__{tool.name}" if tool.namespace else tool.name
        kind = "function"
        if tool.variety == "custom" and part.variety != "custom":
            opened.unwrapper = Unwrapper()
            kind = "custom"
        elif part.variety == "custom":
            kind = "custom"
        field = "input" if kind == "custom" else "arguments"
        opened.entry = {"id": part.id, "type": kind, kind: {"name": name, field: ""}}
        if self._context.folding:
            self._calls.append(opened.entry)
        opened.delta_start = f'{{"tool_calls":[{{"index":{opened.place},"{kind}":{{"{field}":'
        return self._chunk(dump({"tool_calls": [{"index": opened.place, **opened.entry}]}))

    def _delta(self, opened: _Open, text: str) -> bytes:
        match opened.part.kind:
            case "text":
                self._texts.append(text)
                return utf8(f'{self._prefix}{{"content":{quote(text)}}}{self._suffix}')
            case "tool_call":
                if opened.unwrapper is not None:
                    text = opened.unwrapper.feed(text)
                return self._call_delta(opened, text) if text else b""
            case "reasoning":
                return self._thought(opened, text)
            case "refusal":
                self._refusals.append(text)
                return self._chunk(f'{{"refusal":{quote(text)}}}')
            case _:
                return b""

    def _call_delta(self, opened: _Open, text: str) -> bytes:
        opened.wrote = True
        return utf8(f"{self._prefix}{opened.delta_start}{quote(text)}}}}}]}}{self._suffix}")

    def _thought(self, opened: _Open, text: str) -> bytes:
        key = "summary" if opened.part.fmt is Format.OPENAI_RESPONSES else "text"
        if opened.entry is None:
            shown = f"\n\n{text}" if self._thoughts else text  # all thoughts are one string
            self._thoughts.append(shown)
            entry = self._detail(opened, {"type": f"reasoning.{key}", key: text})
            return self._chunk(f'{{"reasoning_content":{quote(shown)},"reasoning_details":[{dump(entry)}]}}')
        self._thoughts.append(text)
        if self._context.folding:
            opened.thoughts.append(text)
        quoted = quote(text)
        detail = f'{{"type":"reasoning.{key}","{key}":{quoted},"index":{opened.place}}}'
        return self._chunk(f'{{"reasoning_content":{quoted},"reasoning_details":[{detail}]}}')

    def _detail(self, opened: _Open, fields: Json) -> Json:
        """Begin an entry of `reasoning_details`. Only its first delta has `format`, `id` and `pos`."""
        opened.place = self._detail_count
        self._detail_count += 1
        entry = {**fields, "format": FORMAT_NAMES[opened.part.fmt], "index": opened.place, "pos": opened.position}
        opened.entry = entry
        if self._context.folding:
            self._details.append(entry)
        return dict(entry)

    # --- ends of parts ---

    def _part_end(self, opened: _Open, part: Part) -> bytes:
        match part.kind:
            case "text":
                self._place_annotations(part)
                self._length += len(part.text)
                return b""
            case "tool_call":
                return self._call_end(opened, part)
            case "reasoning":
                return self._thought_end(opened, part)
            case "refusal":
                return b""
            case "server_tool" | "opaque":
                self._context.losses.add(f"output.{part.name}", "the record of a provider's own tool")
                return b""

    def _place_annotations(self, part: Part) -> None:
        for annotation in part.annotations:
            if not annotation.url:
                self._context.losses.add("content.citations", "a citation without a URL")
                continue
            start, end = (annotation.start, annotation.end) if annotation.start >= 0 else (0, len(part.text))
            place = {"start_index": self._length + start, "end_index": self._length + end}
            inner = {"url": annotation.url, "title": annotation.title, **place}
            self._annotations.append({"type": "url_citation", "url_citation": inner})

    def _call_end(self, opened: _Open, part: Part) -> bytes:
        entry, out = opened.entry, b""
        if entry is None:
            return out
        if opened.unwrapper is not None:
            missing = opened.unwrapper.close(part.text)
            out = self._call_delta(opened, missing) if missing else b""
            entry["custom"]["input"] = opened.unwrapper.text
        elif entry["type"] == "custom":
            entry["custom"]["input"] = part.text
        else:
            entry["function"]["arguments"] = part.text or "{}"
            if not opened.wrote:
                out = self._call_delta(opened, "{}")
        return out

    def _thought_end(self, opened: _Open, part: Part) -> bytes:
        raw = part.raw or {}
        if opened.entry is not None and opened.thoughts:
            key = "summary" if part.fmt is Format.OPENAI_RESPONSES else "text"
            opened.entry[key] = "".join([opened.entry[key], *opened.thoughts])
        if part.fmt is Format.OPENAI_RESPONSES:
            if not part.encrypted:
                return b""
            fields: Json = {"type": "reasoning.encrypted", "data": part.encrypted}
            if part.id:
                fields["id"] = part.id
            return self._chunk(dump({"reasoning_details": [self._detail(opened, fields)]}))
        if raw.get("type") == "redacted_thinking":
            entry = self._detail(opened, {"type": "reasoning.encrypted", "data": part.encrypted})
            return self._chunk(dump({"reasoning_details": [entry]}))
        if part.fmt is not Format.ANTHROPIC or not part.encrypted:
            return b""
        out = b""
        if opened.entry is None:
            out = self._chunk(
                dump({"reasoning_details": [self._detail(opened, {"type": "reasoning.text", "text": ""})]})
            )
        assert opened.entry is not None
        opened.entry["signature"] = part.encrypted
        signed = {"type": "reasoning.text", "signature": part.encrypted, "index": opened.place}
        return out + self._chunk(dump({"reasoning_details": [signed]}))
