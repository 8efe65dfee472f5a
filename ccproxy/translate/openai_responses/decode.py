"""A Responses answer, streamed or whole, read into neutral events. https://platform.openai.com/docs/api-reference/responses-streaming"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ccproxy.errors import ExchangeError, UpstreamBroken
from ccproxy.translate.answer import NOT_AN_ANSWER, OpenPart, identity
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import dump
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
    Start,
    UsageUpdate,
)
from ccproxy.translate.openai_responses.client_tools import CLIENT_TOOLS, VARIETY_OF_ITEM
from ccproxy.translate.openai_responses.errors import read_error
from ccproxy.translate.stops import CLASSES, StopClass
from ccproxy.translate.usage import read_usage

Json = dict[str, Any]

_STOPS = CLASSES[Format.OPENAI_RESPONSES]
_SECTION = "\n\n"
_FAR = 1_000_000  # output indices for items without one in the stream


class _Open(OpenPart):
    """A part that is being decoded."""

    __slots__ = ("section",)

    def __init__(self, index: int, part: Part) -> None:
        super().__init__(index, part)
        self.section: object = None  # the current summary part of reasoning


class Decoder:
    """An `answer.Decoder` for this format."""

    def __init__(self) -> None:
        self._items: dict[int, Json] = {}  # by output index
        self._parts: dict[tuple[int, int], _Open] = {}  # by output index and content index
        self._closed: set[tuple[int, int]] = set()  # complete contents of messages
        self._complete: set[int] = set()  # output indices of complete items
        self._places: dict[str, int] = {}  # output index by item id
        self._count = 0
        self._calls = False
        self._started = False
        self._ended = False

    @property
    def output(self) -> list[Json]:
        return [self._items[index] for index in sorted(self._items)]

    def decode(self, event: Json, name: str = "") -> list[Event]:
        kind = event.get("type") or name
        if kind == "response.output_text.delta":
            return self._text(event, event["delta"])
        if self._ended:
            return []
        reader = self.readers.get(kind)
        return reader(self, event) if reader is not None else []

    def done(self) -> list[Event]:
        return []

    def flush(self) -> list[Event]:
        if self._ended:
            return []
        return self._fail(UpstreamBroken("The upstream closed its stream before the answer was whole"))

    def whole(self, body: Json) -> list[Event]:
        if body.get("output") is None and (body.get("error") or body.get("detail")):
            return self._fail(read_error(body, 0))
        if not isinstance(body.get("output"), list):
            return self._fail(UpstreamBroken(NOT_AN_ANSWER))
        return self._terminal({"response": body})

    # --- the life of a response ---

    def _created(self, event: Json) -> list[Event]:
        if self._started:
            return []
        self._started = True
        response = event["response"]
        created = response.get("created_at")
        return [
            Start(
                identity(response.get("id")),
                identity(response.get("model")),
                created=int(created) if isinstance(created, int | float) else 0,
            )
        ]

    def _terminal(self, event: Json) -> list[Event]:
        """Read `completed`, `incomplete`, `failed` or `cancelled`: the response object repeats the whole answer."""
        response = event["response"]
        events = self._created(event)
        events += self._missing(response.get("output") or ())
        for key in list(self._parts):
            events += self._close(key)
        output = response if response.get("output") else {**response, "output": self.output}
        usage = read_usage(Format.OPENAI_RESPONSES, response.get("usage"), output)
        if usage is not None:
            events.append(UsageUpdate(usage))
        return events + self._end(response, event.get("type"))

    def _missing(self, output: Sequence[Json]) -> list[Event]:
        """Read items that the stream did not complete. If `output` is empty, as at the Codex backend, the stream contained all of them."""
        events: list[Event] = []
        if len(self._complete) >= len(output):
            return events
        taken = {*self._complete, *self._places.values()}
        for index, item in enumerate(output):
            place = self._places.get(identity(item.get("id")))
            if place is None:
                place = index if index not in taken else _FAR + index
            taken.add(place)
            events += self._item_done({"output_index": place, "item": item})
        return events

    def length(self) -> int:
        return sum(opened.length() for opened in self._parts.values())

    def shed(self) -> bool:
        self._items.clear()
        return all(opened.shed() for opened in self._parts.values())

    def _end(self, response: Json, kind: object) -> list[Event]:
        status = response.get("status")
        if kind == "response.failed" or status in ("failed", "cancelled"):
            error = response.get("error") or {
                "code": "server_error",
                "message": f"The response was {status or 'failed'}",
            }
            return self._fail(read_error({"error": error}, 0))
        self._ended = True
        if kind == "response.incomplete" or status == "incomplete":
            reason = str((response.get("incomplete_details") or {}).get("reason") or "")
            return [Finish(_STOPS.get(reason, StopClass.OTHER), raw=reason)]
        return [Finish(StopClass.TOOL_USE if self._calls else StopClass.END, raw="completed")]

    def _failed_event(self, event: Json) -> list[Event]:
        return self._fail(read_error(event, 0))

    def _fail(self, error: ExchangeError) -> list[Event]:
        self._ended = True
        return [Error(error)]

    # --- parts ---

    def _begin(self, key: tuple[int, int], part: Part) -> list[Event]:
        part.fmt = Format.OPENAI_RESPONSES
        opened = _Open(self._count, part)
        self._count += 1
        self._parts[key] = opened
        return [PartStart(opened.index, part)]

    def _more(self, opened: _Open, text: str) -> list[Event]:
        opened.chunks.append(text)
        return [Delta(opened.index, text)]

    def _catch_up(self, key: tuple[int, int], whole: object) -> list[Event]:
        """Read the complete text: a delta for the rest that is missing in the stream."""
        opened = self._parts.get(key)
        if opened is None or not isinstance(whole, str) or opened.shortened:
            return []
        length = opened.length()
        if len(whole) > length and whole.startswith(opened.text()):
            return self._more(opened, whole[length:])
        return []

    def _close(self, key: tuple[int, int], raw: Json | None = None) -> list[Event]:
        opened = self._parts.pop(key, None)
        if opened is None:
            return []
        self._closed.add(key)
        opened.part.text = opened.text()
        opened.part.raw = raw
        return [PartEnd(opened.index, opened.part)]

    # --- messages ---

    def _text(self, event: Json, text: str) -> list[Event]:
        key = (event["output_index"], event["content_index"])
        opened = self._parts.get(key)
        if opened is not None:
            if not text:
                return []
            opened.chunks.append(text)
            return [Delta(opened.index, text)]
        if self._ended or key[0] in self._complete or key in self._closed:
            return []
        kind = "refusal" if event["type"] == "response.refusal.delta" else "text"
        events = self._begin(key, Part("refusal" if kind == "refusal" else "text"))
        return events + self._more(self._parts[key], text) if text else events

    def _refusal(self, event: Json) -> list[Event]:
        return self._text(event, event["delta"])

    def _content_added(self, event: Json) -> list[Event]:
        key = (event["output_index"], event["content_index"])
        return self._content(key, event["part"]) if key not in self._parts and key not in self._closed else []

    def _content(self, key: tuple[int, int], part: Json) -> list[Event]:
        kind = part.get("type")
        if kind == "output_text":
            events = self._begin(key, Part("text"))
        elif kind == "refusal":
            events = self._begin(key, Part("refusal"))
        else:
            return []
        text = part.get("text" if kind == "output_text" else "refusal")
        return events + self._more(self._parts[key], text) if text else events

    def _content_done(self, event: Json) -> list[Event]:
        key = (event["output_index"], event["content_index"])
        return self._finish_content(key, event["part"]) if key not in self._closed else []

    def _finish_content(self, key: tuple[int, int], part: Json) -> list[Event]:
        events: list[Event] = []
        if key not in self._parts:
            events += self._content(key, part)
        events += self._catch_up(key, part.get("text", part.get("refusal")))
        opened = self._parts.get(key)
        count = len(opened.part.annotations) if opened is not None else 0
        for annotation in (part.get("annotations") or ())[count:]:
            events += self._cite(key, annotation)
        return events + self._close(key)

    def _annotation(self, event: Json) -> list[Event]:
        return self._cite((event["output_index"], event["content_index"]), event["annotation"])

    def _cite(self, key: tuple[int, int], annotation: Json) -> list[Event]:
        opened = self._parts.get(key)
        if opened is None:
            return []
        start, end = annotation.get("start_index"), annotation.get("end_index")
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end):
            start = end = -1
        cited = opened.quote(start, end) if start >= 0 else ""
        url, title = str(annotation.get("url") or ""), str(annotation.get("title") or "")
        citation = Annotation(url, title, cited, start, end, annotation, Format.OPENAI_RESPONSES)
        opened.part.annotations.append(citation)
        return [Annotate(opened.index, citation)]

    # --- items ---

    def _item_added(self, event: Json) -> list[Event]:
        item, key = event.get("item"), (event["output_index"], -1)
        if not isinstance(item, dict) or key in self._parts or key in self._closed:
            return []
        self._places[identity(item.get("id"))] = event["output_index"]
        part = _part_of(item)
        if part is None:
            return []
        self._calls = self._calls or part.kind == "tool_call"
        return self._begin(key, part)

    def _arguments(self, event: Json) -> list[Event]:
        opened = self._parts.get((event["output_index"], -1))
        text = event["delta"]
        return self._more(opened, text) if opened is not None and text else []

    def _arguments_done(self, event: Json) -> list[Event]:
        whole = event.get("arguments", event.get("input"))
        return self._catch_up((event["output_index"], -1), whole)

    def _thought(self, event: Json) -> list[Event]:
        opened = self._parts.get((event["output_index"], -1))
        text = event["delta"]
        if opened is None or not text:
            return []
        section = event.get("summary_index", ("content", event.get("content_index")))
        events = self._more(opened, _SECTION) if opened.chunks and section != opened.section else []
        opened.section = section
        return events + self._more(opened, text)

    def _item_done(self, event: Json) -> list[Event]:
        index, item = event["output_index"], event["item"]
        if index in self._complete:
            return []
        self._complete.add(index)
        self._items[index] = item
        if item.get("type") == "message":
            events: list[Event] = []
            for place, part in enumerate(item.get("content") or ()):
                key = (index, place)
                if key not in self._closed:
                    events += self._finish_content(key, part)
            return events
        events = self._item_added({"output_index": index, "item": item})
        key = (index, -1)
        opened = self._parts.get(key)
        if opened is None:
            return []
        final = _part_of(item)
        if final is not None:
            opened.part.encrypted = final.encrypted
            opened.part.name = final.name or opened.part.name
            opened.part.id = final.id or opened.part.id
            opened.part.namespace = final.namespace or opened.part.namespace
        events += self._catch_up(key, _text_of(item))
        return events + self._close(key, item)

    readers: ClassVar[dict[object, Callable[[Decoder, Json], list[Event]]]] = {
        "response.created": _created,
        "response.queued": _created,
        "response.in_progress": _created,
        "response.completed": _terminal,
        "response.incomplete": _terminal,
        "response.failed": _terminal,
        "response.cancelled": _terminal,
        "error": _failed_event,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _content_added,
        "response.content_part.done": _content_done,
        "response.refusal.delta": _refusal,
        "response.output_text.annotation.added": _annotation,
        "response.function_call_arguments.delta": _arguments,
        "response.function_call_arguments.done": _arguments_done,
        "response.custom_tool_call_input.delta": _arguments,
        "response.custom_tool_call_input.done": _arguments_done,
        "response.reasoning_summary_text.delta": _thought,
        "response.reasoning_text.delta": _thought,
    }


def _part_of(item: Json) -> Part | None:
    """The part that an item is, as far as it is known; None for messages, whose contents are the parts."""
    kind = item.get("type")
    match kind:
        case "message":
            return None
        case "reasoning":
            return Part("reasoning", id=str(item.get("id") or ""), encrypted=str(item.get("encrypted_content") or ""))
        case "function_call" | "custom_tool_call":
            return Part(
                "tool_call",
                id=str(item.get("call_id") or item.get("id") or ""),
                name=str(item.get("name") or ""),
                namespace=str(item.get("namespace") or ""),
                variety="function" if kind == "function_call" else "custom",
            )
        case "web_search_call":
            return Part("server_tool", id=str(item.get("id") or ""), name="web_search")
        case str() if _is_client_call(item):
            variety = VARIETY_OF_ITEM[kind]
            return Part(
                "tool_call",
                id=str(item.get("call_id") or item.get("id") or ""),
                name=CLIENT_TOOLS[variety].name,
                variety=variety,
            )
        case _:
            return Part("opaque", id=str(item.get("id") or ""), name=str(kind))


def _is_client_call(item: Json) -> bool:
    """Return True for a call that the client has to execute."""
    match item.get("type"):
        case "local_shell_call" | "apply_patch_call":
            return True
        case "shell_call":
            return (item.get("environment") or {}).get("type") in (None, "local")
        case "tool_search_call":
            return item.get("execution") == "client"
        case _:
            return False


def _text_of(item: Json) -> str | None:
    """The text of a complete item, the sum of its deltas."""
    match item.get("type"):
        case "reasoning":
            parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
            return _SECTION.join(part["text"] for part in parts if part.get("text"))
        case "function_call":
            arguments = item.get("arguments")
            return arguments if isinstance(arguments, str) else dump(arguments or {})
        case "custom_tool_call":
            return str(item.get("input") or "")
        case str() as kind if _is_client_call(item):
            arguments = item.get(CLIENT_TOOLS[VARIETY_OF_ITEM[kind]].member)
            return arguments if isinstance(arguments, str) else dump(arguments or {})
        case _:
            return None
