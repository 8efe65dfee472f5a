"""A Chat Completions answer, streamed or whole, read into neutral events. https://platform.openai.com/docs/api-reference/chat-streaming

The format has no parts: text ends when a call or reasoning begins. Only the first choice is read.
"""

from __future__ import annotations

from typing import Any

from ccproxy.errors import UpstreamBroken
from ccproxy.translate.answer import CITED_LIMIT, NOT_AN_ANSWER, OpenPart, identity
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
    PartKind,
    PartStart,
    Start,
    UsageUpdate,
)
from ccproxy.translate.openai_chat.errors import read_error
from ccproxy.translate.openai_chat.reasoning import Details
from ccproxy.translate.stops import CLASSES, StopClass
from ccproxy.translate.usage import read_usage

Json = dict[str, Any]

_STOPS = CLASSES[Format.OPENAI_CHAT]


class Decoder:
    """An `answer.Decoder` for this format."""

    def __init__(self) -> None:
        self.output: list[Json] = []
        self._count = 0
        self._flow: OpenPart | None = None  # the open text, refusal or reasoning
        self._calls: dict[int, OpenPart] = {}  # by the call's index
        self._details = Details()  # of the open reasoning
        self._early: list[Json] = []  # annotations that arrived before their text
        self._message: Json = {"role": "assistant", "content": None}
        self._texts: dict[str, list[str]] = {}  # of the message's content and refusal
        self._called = False
        self._started = False
        self._ended = False
        self._reason: str | None = None

    def decode(self, event: Json, name: str = "") -> list[Event]:
        del name  # chunks have no name
        if self._ended:
            return []
        if event.get("error"):
            self._ended = True
            return [Error(read_error(event, 0))]
        events = self._start(event)
        for choice in event.get("choices") or ():
            if choice.get("index") in (0, None):
                events += self._delta(choice.get("delta") or {})
                if choice.get("finish_reason"):
                    self._reason = choice["finish_reason"]
                    events += self._close_all()
        events += self._usage(event)
        return events

    def done(self) -> list[Event]:
        """`[DONE]`: the end, if there was a finish reason."""
        return self.flush()

    def flush(self) -> list[Event]:
        if self._ended:
            return []
        self._ended = True
        if self._reason is None:
            return [Error(UpstreamBroken("The upstream closed its stream before the answer was whole"))]
        return [*self._close_all(), self._finish()]

    def whole(self, body: Json) -> list[Event]:
        if body.get("error"):
            self._ended = True
            return [Error(read_error(body, 0))]
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            self._ended = True
            return [Error(UpstreamBroken(NOT_AN_ANSWER))]
        events = self._start(body)
        choice: Json = choices[0]
        message = choice.get("message") or {}
        events += self._delta(message)
        events += self._close_all()
        events += self._usage(body)
        self._reason = str(choice.get("finish_reason") or "stop")
        self._ended = True
        return [*events, self._finish()]

    def _start(self, event: Json) -> list[Event]:
        if self._started:
            return []
        self._started = True
        created = event.get("created")
        return [
            Start(
                identity(event.get("id")),
                identity(event.get("model")),
                created=int(created) if isinstance(created, int | float) else 0,
            )
        ]

    def _usage(self, event: Json) -> list[Event]:
        usage = read_usage(Format.OPENAI_CHAT, event.get("usage"), event)
        return [] if usage is None else [UsageUpdate(usage)]

    def _finish(self) -> Finish:
        reason = _STOPS.get(self._reason or "", StopClass.OTHER)
        if reason is StopClass.END and self._called:
            reason = StopClass.TOOL_USE  # many servers use "stop" also after a call
        self._message.update({key: "".join(texts) for key, texts in self._texts.items()})
        self.output.append(self._message)
        return Finish(reason, raw=self._reason or "")

    # --- parts ---

    def _delta(self, delta: Json) -> list[Event]:
        content = delta.get("content")
        if isinstance(content, str) and content and len(delta) == 1:
            return self._text("text", content)
        events = self._thoughts(delta)
        if isinstance(content, list):  # some servers send content in parts
            content = "".join(part["text"] for part in content if isinstance(part.get("text"), str))
        if content:
            events += self._text("text", content)
        if delta.get("refusal"):
            events += self._text("refusal", delta["refusal"])
        for annotation in delta.get("annotations") or ():
            events += self._cite(annotation)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            events += self._call(call.get("index", place), call)
        legacy = delta.get("function_call")
        if legacy:
            events += self._call(0, {"id": f"call_{legacy.get('name') or ''}", "function": legacy})
        return events

    def _text(self, kind: PartKind, text: str) -> list[Event]:
        events: list[Event] = []
        flow = self._flow
        if flow is None or flow.part.kind != kind:
            events = self._close_flow()
            flow = self._begin(Part(kind))
            self._flow = flow
            events.append(PartStart(flow.index, flow.part))
        flow.chunks.append(text)
        events.append(Delta(flow.index, text))
        if self._early and kind == "text":
            early, self._early = self._early, []
            for annotation in early:
                events += self._cite(annotation)
        return events

    def _begin(self, part: Part) -> OpenPart:
        part.fmt = Format.OPENAI_CHAT
        opened = OpenPart(self._count, part)
        self._count += 1
        return opened

    def _thoughts(self, delta: Json) -> list[Event]:
        text = delta.get("reasoning_content") or delta.get("reasoning")
        details = delta.get("reasoning_details") or ()
        if not isinstance(text, str):
            text = ""
        if not text and details:
            text = "".join(str(entry.get("text") or entry.get("summary") or "") for entry in details)
        events: list[Event] = []
        if text:
            events = self._text("reasoning", text)
        elif details and (self._flow is None or self._flow.part.kind != "reasoning"):
            events = self._close_flow()
            self._flow = self._begin(Part("reasoning"))
            events.append(PartStart(self._flow.index, self._flow.part))
        for entry in details:
            self._details.add(entry)
        return events

    def _cite(self, annotation: Json) -> list[Event]:
        flow = self._flow
        if flow is None or flow.part.kind != "text":
            self._early.append(annotation)
            return []
        inner = annotation.get("url_citation") or annotation
        start, end = inner.get("start_index"), inner.get("end_index")
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= flow.length()):
            start = end = -1
        cited = flow.quote(start, end) if start >= 0 else str(inner.get("content") or "")[:CITED_LIMIT]
        url, title = str(inner.get("url") or ""), str(inner.get("title") or "")
        citation = Annotation(url, title, cited, start, end, annotation, Format.OPENAI_CHAT)
        flow.part.annotations.append(citation)
        return [Annotate(flow.index, citation)]

    def _call(self, place: int, call: Json) -> list[Event]:
        events: list[Event] = []
        custom = call.get("custom")
        inner = custom or call.get("function") or {}
        opened = self._calls.get(place)
        if opened is None:
            events = self._close_flow()
            part = Part("tool_call", variety="custom" if custom else "function")
            part.id, part.name = str(call.get("id") or f"call_{place}"), str(inner.get("name") or "")
            opened = self._begin(part)
            self._calls[place] = opened
            events.append(PartStart(opened.index, part))
        text = inner.get("input" if custom else "arguments")
        if isinstance(text, dict):  # some servers send an object
            text = dump(text)
        if text:
            opened.chunks.append(text)
            events.append(Delta(opened.index, text))
        return events

    def length(self) -> int:
        return sum(opened.length() for opened in self._opened())

    def shed(self) -> bool:
        self.output.clear()
        self._texts.clear()
        self._message = {"role": "assistant", "content": None}
        self._details = Details()
        return all(opened.shed() for opened in self._opened())

    def _opened(self) -> list[OpenPart]:
        return [*self._calls.values(), *([self._flow] if self._flow is not None else [])]

    def _close_flow(self) -> list[Event]:
        flow, self._flow = self._flow, None
        if flow is None:
            return []
        part = flow.part
        part.text = flow.text()
        if part.kind == "reasoning":
            details = self._details.entries()
            part.raw = {"reasoning_details": details} if details else {"reasoning_content": part.text}
            self._details = Details()
            self._message.update(part.raw)
        else:
            self._texts.setdefault("content" if part.kind == "text" else "refusal", []).append(part.text)
        return [PartEnd(flow.index, part)]

    def _close_all(self) -> list[Event]:
        events = self._close_flow()
        for opened in self._calls.values():
            part = opened.part
            part.text = opened.text()
            kind = "custom" if part.variety == "custom" else "function"
            inner = {"name": part.name, "input" if kind == "custom" else "arguments": part.text}
            self._called = True
            self._message.setdefault("tool_calls", []).append({"id": part.id, "type": kind, kind: inner})
            events.append(PartEnd(opened.index, part))
        self._calls = {}
        return events
