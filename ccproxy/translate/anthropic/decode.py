"""An Anthropic answer, streamed or whole, read into neutral events. https://docs.claude.com/en/docs/build-with-claude/streaming"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccproxy.errors import UpstreamBroken
from ccproxy.translate.answer import NOT_AN_ANSWER, OpenPart, identity
from ccproxy.translate.anthropic.errors import read_error
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, dump, parse
from ccproxy.translate.neutral import (
    Annotate,
    Annotation,
    Delta,
    Error,
    Event,
    Finish,
    Part,
    PartEnd,
    PartKind,
    PartStart,
    Ping,
    Start,
    UsageUpdate,
)
from ccproxy.translate.stops import CLASSES, StopClass
from ccproxy.translate.usage import merge_usage, read_usage

Json = dict[str, Any]

_STOPS = CLASSES[Format.ANTHROPIC]
_KINDS: dict[str, PartKind] = {
    "text": "text",
    "thinking": "reasoning",
    "redacted_thinking": "reasoning",
    "tool_use": "tool_call",
    "server_tool_use": "server_tool",
}
_DELTA_TEXT = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
}


class _Open(OpenPart):
    """A block that is being decoded."""

    __slots__ = ("block",)

    def __init__(self, index: int, part: Part, block: Json) -> None:
        super().__init__(index, part)
        self.block = block


class Decoder:
    """An `answer.Decoder` for this format."""

    def __init__(self) -> None:
        self.output: list[Json] = []
        self._open: dict[int, _Open] = {}
        self._count = 0
        self._calls = False
        self._started = False
        self._ended = False
        self._usage: Mapping[str, Any] = {}  # Anthropic's own object, merged from the events so far
        self._finish: Finish | None = None

    def decode(self, event: Json, name: str = "") -> list[Event]:
        kind = event.get("type") or name
        if kind == "content_block_delta":
            return self._delta(event)
        if self._ended:
            return []
        match kind:
            case "message_start":
                return self._start(event["message"])
            case "content_block_start":
                return self._block_start(event["index"], event["content_block"])
            case "content_block_stop":
                opened = self._open.pop(event["index"], None)
                return self._close(opened) if opened is not None else []
            case "message_delta":
                return self._message_delta(event)
            case "message_stop":
                return self._stop()
            case "ping":
                return [Ping()]
            case "error":
                self._ended = True
                return [Error(read_error(event, 0))]
            case _:
                return []

    def done(self) -> list[Event]:
        return []

    def flush(self) -> list[Event]:
        if self._ended:
            return []
        self._ended = True
        return [Error(UpstreamBroken("The upstream closed its stream before the answer was whole"))]

    def whole(self, body: Json) -> list[Event]:
        if body.get("type") == "error":
            return [Error(read_error(body, 0))]
        if not isinstance(body.get("content"), list):
            return [Error(UpstreamBroken(NOT_AN_ANSWER))]
        events = self._start(body)
        for index, block in enumerate(body["content"]):
            events += self._block_start(index, block)
            opened = self._open.pop(index, None)
            if opened is not None:
                events += self._close(opened)
        events += self._message_delta({"delta": body, "usage": body.get("usage")})
        events += self._stop()
        return events

    # --- parts of the stream ---

    def _start(self, message: Json) -> list[Event]:
        if self._started:
            return []
        self._started = True
        self._usage = merge_usage({}, message.get("usage"))
        usage = read_usage(Format.ANTHROPIC, self._usage)
        return [Start(identity(message.get("id")), identity(message.get("model")), usage)]

    def _block_start(self, index: int, block: Json) -> list[Event]:
        kind = block["type"]
        events: list[Event] = []
        before = self._open.pop(index, None)
        if before is not None:  # an index used twice: the first block ends here
            events += self._close(before)
        part = Part(_KINDS.get(kind, "opaque"), fmt=Format.ANTHROPIC)
        opened = _Open(self._count, part, block)
        self._count += 1
        self._open[index] = opened
        if part.kind in ("tool_call", "server_tool"):
            part.id, part.name = str(block.get("id") or ""), str(block.get("name") or "")
            self._calls = self._calls or part.kind == "tool_call"
        elif part.kind == "opaque":
            part.name = kind
            part.id = str(block.get("tool_use_id") or block.get("id") or "")
        elif kind == "redacted_thinking":
            part.encrypted = str(block.get("data") or "")
        events.append(PartStart(opened.index, part))
        text = block.get("text") if kind == "text" else block.get("thinking") if kind == "thinking" else None
        if text:
            opened.chunks.append(text)
            events.append(Delta(opened.index, text))
        if kind == "thinking":
            part.encrypted = str(block.get("signature") or "")
        events.extend(self._cite(opened, citation) for citation in block.get("citations") or () if kind == "text")
        return events

    def _delta(self, event: Json) -> list[Event]:
        opened = self._open.get(event["index"])
        if opened is None:
            return []
        delta = event["delta"]
        kind = delta["type"]
        key = _DELTA_TEXT.get(kind)
        if key is not None:
            text = delta[key]
            if not text:
                return []
            opened.chunks.append(text)
            return [Delta(opened.index, text)]
        if kind == "signature_delta":
            opened.part.encrypted = _text(delta["signature"])
        elif kind == "citations_delta":
            return [self._cite(opened, delta["citation"])]
        elif kind == "compaction_delta":
            news = {key: value for key, value in delta.items() if key == "content" or key in opened.block}
            opened.block = {**opened.block, **news, "type": opened.block["type"]}
        return []

    def _cite(self, opened: _Open, citation: Json) -> Annotate:
        url = citation.get("url") or citation.get("source") or ""
        annotation = Annotation(
            url if isinstance(url, str) and "://" in url else "",
            str(citation.get("title") or citation.get("document_title") or ""),
            str(citation.get("cited_text") or ""),
            raw=citation,
            fmt=Format.ANTHROPIC,
        )
        opened.part.annotations.append(annotation)
        return Annotate(opened.index, annotation)

    def _close(self, opened: _Open) -> list[Event]:
        part, events = opened.part, []
        untouched = not opened.chunks and not opened.shortened
        if part.kind in ("tool_call", "server_tool") and untouched and opened.block.get("input"):
            text = dump(opened.block["input"])  # some servers send all of the input in the first event
            opened.chunks.append(text)
            events.append(Delta(opened.index, text))
        part.text = opened.text()
        part.raw = self._raw(opened)
        self.output.append(part.raw)
        return [*events, PartEnd(opened.index, part)]

    def _raw(self, opened: _Open) -> Json:
        """The block as in a whole answer."""
        part, block = opened.part, opened.block
        match block["type"]:
            case "text":
                raw: Json = {**block, "text": part.text}
                if part.annotations:
                    raw["citations"] = [annotation.raw for annotation in part.annotations]
                return raw
            case "thinking":
                return {**block, "thinking": part.text, "signature": part.encrypted}
            case "tool_use" | "server_tool_use" | "mcp_tool_use":
                try:
                    arguments = parse(part.text) if part.text.strip() else {}
                except Garbled:
                    arguments = {}
                return {**block, "input": arguments if part.text else block.get("input") or {}}
            case _:
                return block

    def _message_delta(self, event: Json) -> list[Event]:
        delta = event.get("delta") or {}
        reason = delta.get("stop_reason")
        if reason is not None:
            details = delta.get("stop_details") or {}
            sequence = delta.get("stop_sequence")
            self._finish = Finish(
                _STOPS.get(reason, StopClass.OTHER),
                None if sequence is None else _text(sequence),
                str(details.get("explanation") or ""),
                str(details.get("category") or ""),
                str(reason),
            )
        if event.get("usage") is None:
            return []
        self._usage = merge_usage(self._usage, event["usage"])
        usage = read_usage(Format.ANTHROPIC, self._usage)
        return [] if usage is None else [UsageUpdate(usage)]

    def length(self) -> int:
        return sum(opened.length() for opened in self._open.values())

    def shed(self) -> bool:
        self.output.clear()
        return all(opened.shed() for opened in self._open.values())

    def _stop(self) -> list[Event]:
        events: list[Event] = []
        for opened in list(self._open.values()):
            events += self._close(opened)
        self._open.clear()
        self._ended = True
        events.append(self._finish or Finish(StopClass.TOOL_USE if self._calls else StopClass.END))
        return events


def _text(value: object) -> str:
    """A member that has to be text. Raises TypeError, one of `answer.MALFORMED`."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value
