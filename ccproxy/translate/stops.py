"""Stop sequences for upstreams that have none: cuts the answer's text at the first match.

A filter between decoder and encoder. Text that may be the beginning of a match is held back until it is known; after a match nothing more of the answer
passes but its usage, and the end says which sequence it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

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
    Usage,
    UsageUpdate,
)


class _Text:
    __slots__ = ("given", "held", "part")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.given: list[str] = []
        self.held = ""


class StopFilter:
    """Feed it events, get those that remain."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(stop) for stop in self._stops))
        self._open: dict[int, _Text] = {}
        self._length = 0
        self._usage: Usage | None = None
        self._input: Usage | None = None
        self.match: str | None = None
        """The sequence that was found."""

    def feed(self, event: Event) -> list[Event]:
        """The events that this one becomes."""
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

    def _delta(self, event: Delta) -> list[Event]:
        opened = self._open.get(event.index)
        if opened is None or opened.part.kind != "text":
            if opened is not None:
                opened.given.append(event.text)
            return [event]
        text = opened.held + event.text
        found = self._pattern.search(text)
        if found is not None:
            self.match = found[0]
            return self._cut(event.index, text[: found.start()])
        keep = self._possible(text)
        opened.held = text[len(text) - keep :]
        text = text[: len(text) - keep]
        if not text:
            return []
        opened.given.append(text)
        self._length += len(text)
        return [Delta(event.index, text)]

    def _possible(self, text: str) -> int:
        """How much of the end of the text may be the beginning of a match."""
        longest = min(len(self._stops[0]) - 1, len(text))
        return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)

    def _cut(self, index: int, text: str) -> list[Event]:
        """The last text, and the end of everything that is open."""
        events: list[Event] = [Delta(index, text)] if text else []
        self._open[index].given.append(text)
        self._length += len(text)
        for place, opened in self._open.items():
            whole = "".join(opened.given)
            kept = [annotation for annotation in opened.part.annotations if annotation.end <= len(whole)]
            events.append(PartEnd(place, replace(opened.part, text=whole, annotations=kept, raw=None)))
        self._open.clear()
        return events

    def _after(self, event: Event) -> list[Event]:
        match event:
            case UsageUpdate():
                self._usage = event.usage
                return [event]
            case Finish() | Error():
                return [*self._estimate(), Finish("stop_sequence", self.match)]
            case Ping():
                return [event]
            case Start() | PartStart() | Delta() | Annotate() | PartEnd():
                return []

    def _estimate(self) -> list[Event]:
        """The upstream was cut off before it counted: four characters are about a token."""
        if self._usage is not None:
            return []
        known = self._input or Usage()
        return [UsageUpdate(replace(known, output=max(1, self._length // 4), estimated=True))]
