"""Stop sequences for upstreams that do not support them: the answer's text is cut at the first match.

A filter between decoder and encoder. Text that may be the beginning of a match is held back until this is decided. After a match only the usage of the answer
still passes, and the end of the answer names the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ccproxy.errors import BadRequest
from ccproxy.translate.estimate import text_tokens
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
from ccproxy.translate.stops import StopClass
from ccproxy.translate.usage import Usage

MAX_STOPS: Final = 64
"""The most stop sequences that ccproxy watches for in one answer: the work per piece of text grows with them. Vendors accept four or five."""
MAX_STOP_LENGTH: Final = 1024
"""The most characters of such a stop sequence."""


def emulated(stops: Iterable[str], path: str) -> tuple[str, ...]:
    """Return the stop sequences of a request that ccproxy has to watch for.

    Raises:
        BadRequest: they are too many or too long for that.

    """
    distinct = tuple(dict.fromkeys(stop for stop in stops if stop))
    if len(distinct) > MAX_STOPS:
        raise BadRequest(f"{path}: at most {MAX_STOPS} stop sequences are supported for this upstream", param=path)
    if any(len(stop) > MAX_STOP_LENGTH for stop in distinct):
        raise BadRequest(
            f"{path}: stop sequences of at most {MAX_STOP_LENGTH} characters are supported for this upstream",
            param=path,
        )
    return distinct


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of the text that is a beginning of the stop sequence."""
    at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while at >= 0 and not stop.startswith(text[at:]):
        at = text.find(stop[0], at + 1)
    return len(text) - at if at >= 0 else 0


class _Text:
    __slots__ = ("held", "part", "sent")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.sent: list[str] = []
        self.held = ""


class StopFilter:
    """Takes events and returns those that remain."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(stop) for stop in self._stops))
        self._open: dict[int, _Text] = {}
        self._tokens = 0.0
        self._usage: Usage | None = None
        self._input: Usage | None = None
        self.match: str | None = None
        """The sequence that matched."""

    def feed(self, event: Event) -> list[Event]:
        """Return the events that replace this one."""
        if self.match is not None:
            return self._after(event)
        match event:
            case Delta():
                return self._delta(event)
            case PartStart():
                self._open[event.index] = _Text(event.part)
            case PartEnd():
                opened = self._open.pop(event.index, None)
                if opened is not None and opened.held:
                    return [Delta(event.index, opened.held), event]
            case Start():
                self._input = event.usage
            case UsageUpdate():
                self._usage = event.usage
            case Annotate() | Finish() | Error() | Ping():
                pass
        return [event]

    def shed(self) -> None:
        """Let go of the text that has passed: a stream does not need it again."""
        for opened in self._open.values():
            opened.sent.clear()

    def _delta(self, event: Delta) -> list[Event]:
        opened = self._open.get(event.index)
        if opened is None or opened.part.kind != "text":
            if opened is not None:
                opened.sent.append(event.text)
            return [event]
        text = opened.held + event.text
        match = self._pattern.search(text)
        if match is not None:
            self.match = match[0]
            return self._cut(event.index, text[: match.start()])
        keep = self._possible(text)
        opened.held = text[len(text) - keep :]
        text = text[: len(text) - keep]
        if not text:
            return []
        opened.sent.append(text)
        self._tokens += text_tokens(text)
        return [Delta(event.index, text)]

    def _possible(self, text: str) -> int:
        """Return how many characters at the end of the text may be the beginning of a match."""
        return max(_overlap(text, stop) for stop in self._stops)

    def _cut(self, index: int, text: str) -> list[Event]:
        """Return the last text, and the ends of all open parts."""
        events: list[Event] = [Delta(index, text)] if text else []
        self._open[index].sent.append(text)
        self._tokens += text_tokens(text)
        for place, opened in self._open.items():
            whole = "".join(opened.sent)
            citations = [annotation for annotation in opened.part.annotations if annotation.end <= len(whole)]
            events.append(PartEnd(place, replace(opened.part, text=whole, annotations=citations, raw=None)))
        self._open.clear()
        return events

    def _after(self, event: Event) -> list[Event]:
        match event:
            case UsageUpdate():
                self._usage = event.usage
                return [event]
            case Finish() | Error():
                return [*self._estimate(), Finish(StopClass.STOP_SEQUENCE, self.match)]
            case Ping():
                return [event]
            case Start() | PartStart() | Delta() | Annotate() | PartEnd():
                return []

    def _estimate(self) -> list[Event]:
        """Return an estimated usage, if the upstream was cut off before it reported one."""
        if self._usage is not None:
            return []
        usage = self._input or Usage()
        tokens = replace(usage.tokens, output=max(1, round(self._tokens)))
        return [UsageUpdate(replace(usage, tokens=tokens, estimated=True))]
