"""Neutral events, written as a Responses stream and folded into a response object.

https://platform.openai.com/docs/api-reference/responses-streaming. The accumulator of OpenAI's SDK requires that `response.created` is first, that ids and
output indices neither change nor repeat, and that every item is done before `response.completed`.
"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import ExchangeError
from ccproxy.translate import capsule
from ccproxy.translate.answer import AnswerContext
from ccproxy.translate.formats import Format
from ccproxy.translate.freeform import Unwrapper, unwrap_object
from ccproxy.translate.jsontext import dump
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
from ccproxy.translate.openai_responses import errors
from ccproxy.translate.openai_responses.client_tools import call_item
from ccproxy.translate.openai_responses.output import Output, WebSearches, content_part, url_citation
from ccproxy.translate.openai_responses.skeleton import response_object
from ccproxy.translate.sse import PING_COMMENT
from ccproxy.translate.stops import REASONS, StopClass
from ccproxy.translate.usage import Usage, to_responses

Json = dict[str, Any]

_REASONS = REASONS[Format.OPENAI_RESPONSES]
_SOURCES = "web_search_call.action.sources"


class _Message:
    """A message item with its contents."""

    __slots__ = ("ended", "item", "open_parts", "output_index")

    def __init__(self, output_index: int, item: Json) -> None:
        self.output_index = output_index
        self.item = item
        self.open_parts = 0
        self.ended = False  # another item has begun: no more text is added


class _Open:
    """A part that is being written, and its item."""

    __slots__ = ("content_index", "delta_start", "item", "message", "output_index", "part", "unwrapper")

    def __init__(self, part: Part, output_index: int, item: Json) -> None:
        self.part = part
        self.output_index = output_index
        self.content_index = 0
        self.item = item
        self.message: _Message | None = None
        self.delta_start = ""
        self.unwrapper: Unwrapper | None = None


class Encoder:
    """An `answer.Encoder` for this format."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._open: dict[int, _Open] = {}
        self._output = Output(folding=context.folding)
        self._searches = WebSearches(self._output, with_sources=_SOURCES in context.include)
        self._message: _Message | None = None  # the message item for the next text: open until another item begins
        self._usage = Usage()
        self._response: Json = {}
        self._started = False

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
                return self._fail(event.error)
            case Ping():
                return PING_COMMENT
            case Annotate():
                return b""  # written at the end of the text

    def result(self) -> Json:
        """The response object."""
        return self._response

    def ping(self) -> bytes:
        return PING_COMMENT

    # --- the response ---

    def _start(self, event: Start) -> bytes:
        self._started = True
        self._usage = event.usage or self._usage
        core = event.id.removeprefix("msg_").removeprefix("resp_").removeprefix("chatcmpl-")
        self._output.core = core
        created, model = event.created or self._context.created, event.model or self._context.model
        self._response = response_object(self._context.request, f"resp_{core}", model, created)
        out = self._output.event("response.created", {"response": self._response})
        return out + self._output.event("response.in_progress", {"response": self._response})

    def _finish(self, event: Finish) -> bytes:
        out = []
        for index in list(self._open):
            opened = self._open.pop(index)
            out.append(self._part_end(opened, opened.part))
        if (
            event.reason is StopClass.REFUSAL
            and event.explanation
            and not any(item["type"] == "message" for item in self._output.items)
        ):
            out.append(self._refusal(event.explanation))
        reason = _REASONS[event.reason]
        status = "completed" if reason == "completed" else "incomplete"
        out.append(self._close_message(status))
        out.append(self._searches.close())
        if event.reason in (StopClass.PAUSE, StopClass.OTHER):
            self._context.losses.add("stop_reason", f"no equivalent of the stop reason {event.raw or event.reason}")
        usage = to_responses(self._usage)
        self._response = {
            **self._response,
            "status": status,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "output": self._output.items,
            "usage": usage,
        }
        out.append(self._output.event(f"response.{status}", {"response": self._response}))
        return b"".join(out)

    @property
    def keeps(self) -> bool:
        """Always: the last event contains the whole answer."""
        return True

    def _fail(self, error: ExchangeError) -> bytes:
        """The end of a stream that failed."""
        out = b"" if self._started else self._start(Start())
        self._response = {
            **self._response,
            "status": "failed",
            "error": errors.response_error(error),
            "output": self._output.finished(),
        }
        return out + self._output.event("response.failed", {"response": self._response})

    # --- parts ---

    def _part_start(self, event: PartStart) -> bytes:
        part = event.part
        match part.kind:
            case "text" | "refusal":  # it may be empty
                opened, out = _Open(part, -1, {}), b""
            case "reasoning":
                out = self._close_message("completed")
                item = {"id": self._output.new_id("rs"), "type": "reasoning", "summary": []}
                place, added = self._output.add(item, item)
                opened, out = _Open(part, place, item), out + added
            case "tool_call":
                opened, out = self._call_start(part)
            case _:
                opened, out = _Open(part, -1, {}), b""
        self._open[event.index] = opened
        return out

    def _text_start(self, opened: _Open) -> bytes:
        part, out = opened.part, b""
        holder = self._message
        if holder is None:
            item: Json = {
                "id": self._output.new_id("msg"),
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            place, out = self._output.add(item, {**item})
            holder = _Message(place, item)
            self._message = holder
        holder.open_parts += 1
        opened.output_index, opened.item, opened.message = holder.output_index, holder.item, holder
        opened.content_index = len(holder.item["content"])
        place_fields = {
            "item_id": holder.item["id"],
            "output_index": opened.output_index,
            "content_index": opened.content_index,
        }
        content = content_part(part.kind, "")
        holder.item["content"].append(content)
        kind = "output_text" if part.kind == "text" else "refusal"
        head = dump({"type": f"response.{kind}.delta", **place_fields})[:-1]
        opened.delta_start = f'event: response.{kind}.delta\ndata: {head},"delta":'
        return out + self._output.event("response.content_part.added", {**place_fields, "part": content})

    def _call_start(self, part: Part) -> tuple[_Open, bytes]:
        out = self._close_message("completed")
        tool = self._context.names.client(part.name, part.namespace)
        variety = tool.variety if part.variety == "function" else part.variety
        if variety not in (
            "function",
            "custom",
        ):  # another item type, without deltas: written at the end
            return _Open(part, -1, {}), out
        if variety == "custom":
            item: Json = {"id": self._output.new_id("ctc"), "type": "custom_tool_call", "status": "in_progress"}
            field, name = "input", "response.custom_tool_call_input.delta"
        else:
            item = {"id": self._output.new_id("fc"), "type": "function_call", "status": "in_progress"}
            field, name = "arguments", "response.function_call_arguments.delta"
        item.update({"call_id": part.id, "name": tool.name, field: ""})
        if tool.namespace:
            item["namespace"] = tool.namespace
        place, added = self._output.add(item, item)
        opened = _Open(part, place, item)
        if variety == "custom" and part.variety != "custom":
            opened.unwrapper = Unwrapper()
        head = dump({"type": name, "item_id": item["id"], "output_index": place})[:-1]
        opened.delta_start = f'event: {name}\ndata: {head},"delta":'
        return opened, out + added

    def _delta(self, opened: _Open, text: str) -> bytes:
        if opened.unwrapper is not None:
            text = opened.unwrapper.feed(text)
            if not text:
                return b""
        kind = opened.part.kind
        start = b""
        if not opened.delta_start:
            if kind in ("text", "refusal"):
                start = self._text_start(opened)
            elif kind == "reasoning":
                start = self._summary_start(opened)
            else:
                return b""
        return start + self._output.delta(opened.delta_start, text, ',"logprobs":[]' if kind == "text" else "")

    def _summary_start(self, opened: _Open) -> bytes:
        place = {"item_id": opened.item["id"], "output_index": opened.output_index, "summary_index": 0}
        name = "response.reasoning_summary_text.delta"
        opened.delta_start = f'event: {name}\ndata: {dump({"type": name, **place})[:-1]},"delta":'
        part = {"type": "summary_text", "text": ""}
        return self._output.event("response.reasoning_summary_part.added", {**place, "part": part})

    # --- ends of parts ---

    def _part_end(self, opened: _Open, part: Part) -> bytes:
        match part.kind:
            case "text" | "refusal":
                return self._text_end(opened, part)
            case "reasoning":
                return self._reasoning_end(opened, part)
            case "tool_call":
                return self._call_end(opened, part)
            case "server_tool" | "opaque":
                return self._other_end(part)

    def _text_end(self, opened: _Open, part: Part) -> bytes:
        if opened.message is None:
            return b""
        out = []
        place = {
            "item_id": opened.item["id"],
            "output_index": opened.output_index,
            "content_index": opened.content_index,
        }
        content = content_part(part.kind, part.text)
        for annotation in part.annotations:
            if not annotation.url:
                self._context.losses.add("content.citations", "a citation without a URL")
                continue
            citation = url_citation(annotation, part.text)
            fields = {**place, "annotation_index": len(content["annotations"]), "annotation": citation}
            out.append(self._output.event("response.output_text.annotation.added", fields))
            content["annotations"].append(citation)
        opened.item["content"][opened.content_index] = content
        if part.kind == "text":
            out.append(self._output.event("response.output_text.done", {**place, "text": part.text, "logprobs": []}))
        else:
            out.append(self._output.event("response.refusal.done", {**place, "refusal": part.text}))
        out.append(self._output.event("response.content_part.done", {**place, "part": content}))
        holder = opened.message
        if holder is not None:
            holder.open_parts -= 1
            if holder.ended and not holder.open_parts:
                out.append(self._output.finish(holder.output_index, {**holder.item, "status": "completed"}))
        return b"".join(out)

    def _close_message(self, status: str) -> bytes:
        """Complete the open message, because another item begins or the answer ends."""
        holder, self._message = self._message, None
        if holder is None:
            return b""
        if holder.open_parts:  # parts interleave: it is complete after its text
            holder.ended = True
            return b""
        return self._output.finish(holder.output_index, {**holder.item, "status": status})

    def _refusal(self, text: str) -> bytes:
        """Write an explanation, which is not content at Anthropic, as a refusal."""
        part = Part("refusal", text)
        opened = _Open(part, -1, {})
        return self._delta(opened, text) + self._text_end(opened, part)

    def _reasoning_end(self, opened: _Open, part: Part) -> bytes:
        out = b""
        item = {**opened.item}
        if opened.delta_start:
            place = {"item_id": item["id"], "output_index": opened.output_index, "summary_index": 0}
            summary = {"type": "summary_text", "text": part.text}
            item["summary"] = [summary]
            out = self._output.event("response.reasoning_summary_text.done", {**place, "text": part.text})
            out += self._output.event("response.reasoning_summary_part.done", {**place, "part": summary})
        if part.fmt is not Format.OPENAI_RESPONSES and part.raw is not None:
            item["encrypted_content"] = capsule.seal(part.fmt, self._response.get("model", ""), part.raw)
        elif part.encrypted:
            item["encrypted_content"] = part.encrypted
        return out + self._output.finish(opened.output_index, item)

    def _call_end(self, opened: _Open, part: Part) -> bytes:
        if opened.output_index < 0:
            return self._typed_call(part)
        item = {**opened.item, "status": "completed"}
        place = {"item_id": item["id"], "output_index": opened.output_index}
        if item["type"] == "function_call":
            out = b"" if part.text else self._output.delta(opened.delta_start, "{}")
            item["arguments"] = part.text or "{}"
            out += self._output.event(
                "response.function_call_arguments.done", {**place, "arguments": item["arguments"], "name": item["name"]}
            )
            return out + self._output.finish(opened.output_index, item)
        item["input"], out = part.text, b""
        if opened.unwrapper is not None:
            missing = opened.unwrapper.close(part.text)
            out = self._output.delta(opened.delta_start, missing) if missing else b""
            item["input"] = opened.unwrapper.text
        out += self._output.event("response.custom_tool_call_input.done", {**place, "input": item["input"]})
        return out + self._output.finish(opened.output_index, item)

    def _typed_call(self, part: Part) -> bytes:
        """Write a call with its own item type."""
        tool = self._context.names.client(part.name, part.namespace)
        variety = tool.variety if part.variety == "function" else part.variety
        item = {
            "id": self._output.new_id("call"),
            "call_id": part.id,
            "status": "completed",
            **call_item(variety, unwrap_object(part.text)),
        }
        place, out = self._output.add(item, {**item, "status": "in_progress"})
        return out + self._output.finish(place, item)

    # --- the provider's own tools ---

    def _other_end(self, part: Part) -> bytes:
        if part.kind == "server_tool" and part.name == "web_search":
            return self._close_message("completed") + self._searches.start(part)
        result = self._searches.finish(part) if part.name == "web_search_tool_result" else None
        if result is None:
            self._context.losses.add(f"output.{part.name}", "the record of a provider's own tool")
        return result or b""
