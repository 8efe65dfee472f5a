r"""The whole response that a stream adds up to, however early it was cut. Pure.

    whole = fold(Format.ANTHROPIC, b"event: message_start\ndata: {…}\n\n…")      # a Messages object
    text = text_of(whole)

For viewers and checks, which have to show what arrived and not what should have arrived: events that are cut, unknown or malformed are skipped, and parts
without an end are kept as far as they came. A translation needs `streaming.Folder` instead, which turns a stream without an end into an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import Garbled, parse, parse_bytes
from ccproxy.translate.openai_chat.reasoning import Details
from ccproxy.translate.sse import SseParser
from ccproxy.translate.usage import merge_usage

Json = dict[str, Any]


def fold(fmt: Format, data: bytes) -> Json:
    """Return the response object of this format that the data add up to: server-sent events, or a whole JSON object.

    Never raises. What cannot be read is left out; the least that is returned is the format's object without content.
    """
    whole = _json_object(data)
    return whole if whole is not None else _FOLDS[fmt](events(data))


def fold_any(data: bytes) -> tuple[Format, Json] | None:
    """Like `fold`, for data of any of the formats; None when they are none of them."""
    fmt = format_of(data)
    return None if fmt is None else (fmt, fold(fmt, data))


def format_of(data: bytes) -> Format | None:
    """Return the format of a response, whole or streamed; None when it is none of the formats."""
    whole = _json_object(data)
    failed: Format | None = None
    for event in [whole] if whole is not None else events(data):
        kind = _string(event.get("type"))
        if isinstance(event.get("choices"), list):
            return Format.OPENAI_CHAT
        if event.get("object") == "response" or kind.startswith(("response.", "codex.")):
            return Format.OPENAI_RESPONSES
        if kind.startswith(("message", "content_block_")):
            return Format.ANTHROPIC
        if (
            event.get("error") or kind == "error"
        ):  # the formats write it alike: the other events decide, if there are any
            failed = failed or (Format.ANTHROPIC if kind else Format.OPENAI_CHAT)
    return failed


def text_of(whole: Json) -> str:
    """Return the text of the answer in a response object of any format, without thinking and calls."""
    texts = [_text(_object(choice.get("message")).get("content")) for choice in _objects(whole.get("choices"))]
    texts += [_text(whole.get("content"))]
    texts += [_text(item.get("content")) for item in _objects(whole.get("output")) if item.get("type") == "message"]
    return "".join(texts)


def events(data: bytes) -> Iterator[Json]:
    """Yield the events of a stream that are JSON objects."""
    parser = SseParser(limit=len(data))
    for _, text in [*parser.feed(data), *parser.close()]:
        try:
            event = parse(text)
        except Garbled:
            continue  # `[DONE]`, or cut
        if isinstance(event, dict):
            yield event


def _json_object(data: bytes) -> Json | None:
    if data.lstrip()[:1] != b"{":
        return None
    try:
        value = parse_bytes(data)
    except Garbled:
        return None
    return value if isinstance(value, dict) else None


# --- Messages --------------------------------------------------------------------------------------------------------

_TEXTS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class _Block:
    """A block of a Messages stream: as it began, and the pieces that followed."""

    def __init__(self, start: Json) -> None:
        self.start = dict(start)
        self.pieces: dict[str, list[str]] = {}
        self.citations: list[Any] = []

    def whole(self) -> Json:
        block = self.start
        for name, pieces in self.pieces.items():
            block[name] = _string(block.get(name)) + "".join(pieces)
        if self.citations:
            block["citations"] = self.citations
        written = block.get("partial_json")
        if written is not None:
            try:
                block["input"] = parse(written)
                del block["partial_json"]
            except Garbled:
                pass  # cut: shown as far as it came
        return block


def _fold_messages(stream: Iterator[Json]) -> Json:
    whole: Json = {"type": "message", "role": "assistant", "content": []}
    blocks: dict[str, _Block] = {}
    for event in stream:
        index = str(event.get("index"))
        match event.get("type"):
            case "message_start":
                whole |= _object(event.get("message"))
            case "content_block_start":
                blocks[index] = _Block(_object(event.get("content_block")))
            case "content_block_delta":
                delta = _object(event.get("delta"))
                kind = delta.get("type")
                block = blocks.setdefault(index, _Block({"type": "text"}))
                name = _TEXTS.get(kind) if isinstance(kind, str) else None
                if name is not None:
                    block.pieces.setdefault(name, []).append(_string(delta.get(name)))
                elif kind == "citations_delta":
                    block.citations.append(delta.get("citation"))
            case "message_delta":
                whole |= _object(event.get("delta"))
                whole["usage"] = merge_usage(_object(whole.get("usage")), event.get("usage"))
            case "error":
                whole["error"] = event.get("error")
            case _:
                pass
    return {**whole, "content": [block.whole() for block in blocks.values()]}


# --- Chat Completions ------------------------------------------------------------------------------------------------


class _Message:
    """A message of a Chat stream, in pieces."""

    _JOINED = ("content", "refusal", "reasoning_content", "reasoning")

    def __init__(self) -> None:
        self.role = "assistant"
        self.pieces: dict[str, list[str]] = {}
        self.calls: dict[str, tuple[Json, list[str]]] = {}
        self.details = Details()
        self.annotations: list[Any] = []
        self.finish_reason: Any = None

    def add(self, choice: Json) -> None:
        delta = _object(choice.get("delta"))
        for name in self._JOINED:
            if isinstance(delta.get(name), str):
                self.pieces.setdefault(name, []).append(delta[name])
        for place, call in enumerate(_objects(delta.get("tool_calls"))):
            self._call(str(call.get("index", place)), call)
        if isinstance(delta.get("function_call"), dict):
            self._call("legacy", {"function": delta["function_call"]})
        for detail in _objects(delta.get("reasoning_details")):
            self.details.add(detail)
        self.annotations += _objects(delta.get("annotations"))
        self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _call(self, place: str, call: Json) -> None:
        kind = "custom" if isinstance(call.get("custom"), dict) else "function"
        member = "input" if kind == "custom" else "arguments"
        part = _object(call.get(kind))
        whole, pieces = self.calls.setdefault(
            place, ({"id": call.get("id"), "type": kind, kind: {"name": part.get("name")}}, [])
        )
        pieces.append(_string(part.get(member)))
        inner = _object(whole.get(kind))
        inner["name"] = inner.get("name") or part.get("name")

    def whole(self) -> Json:
        message: Json = {"role": self.role, "content": None}
        message |= {name: "".join(pieces) for name, pieces in self.pieces.items()}
        calls = []
        for call, pieces in self.calls.values():
            kind = call["type"]
            calls.append({**call, kind: {**call[kind], "input" if kind == "custom" else "arguments": "".join(pieces)}})
        lists = {"tool_calls": calls, "reasoning_details": self.details.entries(), "annotations": self.annotations}
        return message | {name: values for name, values in lists.items() if values}


def _fold_chat(stream: Iterator[Json]) -> Json:
    whole: Json = {"object": "chat.completion", "choices": []}
    messages: dict[str, _Message] = {}
    for event in stream:
        whole |= {
            name: value for name, value in event.items() if name not in ("choices", "object") and value is not None
        }
        for choice in _objects(event.get("choices")):
            messages.setdefault(str(choice.get("index", 0)), _Message()).add(choice)
    whole["choices"] = [
        {"index": place, "message": message.whole(), "finish_reason": message.finish_reason}
        for place, message in enumerate(messages.values())
    ]
    return whole


# --- Responses -------------------------------------------------------------------------------------------------------


class _Item:
    """An item of a Responses stream that has not come to its end: as it began, and the pieces that followed."""

    def __init__(self, start: Json) -> None:
        self.start = start
        self.pieces: dict[str, list[str]] = {}

    def whole(self) -> Json:
        joined = {kind: "".join(pieces) for kind, pieces in self.pieces.items()}
        parts = [
            {
                "type": "refusal" if kind == "refusal" else "output_text",
                "refusal" if kind == "refusal" else "text": text,
            }
            for kind, text in joined.items()
            if kind in ("output_text", "refusal")
        ]
        item = {"type": "message", "role": "assistant", **self.start} if parts else dict(self.start)
        if parts:
            item["content"] = parts
        summary = joined.get("reasoning_summary_text") or joined.get("reasoning_text")
        if summary:
            item = {"type": "reasoning", **item, "summary": [{"type": "summary_text", "text": summary}]}
        for kind, member in (("function_call_arguments", "arguments"), ("custom_tool_call_input", "input")):
            if kind in joined:
                item[member] = joined[kind]
        return item


def _fold_responses(stream: Iterator[Json]) -> Json:
    whole: Json = {"object": "response"}
    items: dict[str, Json | _Item] = {}
    for event in stream:
        kind, place = _string(event.get("type")), str(event.get("output_index"))
        if isinstance(event.get("response"), dict):
            whole |= event["response"]
        elif kind == "response.output_item.added":
            items.setdefault(place, _Item(_object(event.get("item"))))
        elif kind == "response.output_item.done":
            items[place] = _object(event.get("item"))
        elif kind.startswith("response.") and kind.endswith(".delta"):
            item = items.setdefault(place, _Item({}))
            if isinstance(item, _Item):
                name = kind.removeprefix("response.").removesuffix(".delta")
                item.pieces.setdefault(name, []).append(_string(event.get("delta")))
        elif kind == "error":
            whole["error"] = event.get("error") or event
    if not whole.get("output"):  # cut, or the Codex backend, which has been seen to leave it empty
        whole["output"] = [item.whole() if isinstance(item, _Item) else item for item in items.values()]
    return whole


_FOLDS = {
    Format.ANTHROPIC: _fold_messages,
    Format.OPENAI_CHAT: _fold_chat,
    Format.OPENAI_RESPONSES: _fold_responses,
}


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text(content: object) -> str:
    """The text of a content that is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(
        _string(part.get("text")) for part in _objects(content) if part.get("type") in ("text", "output_text")
    )
