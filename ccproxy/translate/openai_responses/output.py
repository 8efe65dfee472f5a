"""The `output` of a response that is being written: the items, and the events for them."""

from __future__ import annotations

from typing import Any

from ccproxy.translate.freeform import unwrap_object
from ccproxy.translate.jsontext import dump_bytes, quote, utf8
from ccproxy.translate.neutral import Annotation, Part
from ccproxy.translate.sse import frame

Json = dict[str, Any]


class Output:
    """Items by output index, and numbered events. With `folding`, there are no events."""

    def __init__(self, *, folding: bool) -> None:
        self.items: list[Json] = []
        self.core = ""
        """The id of the response without a prefix, for the ids of items."""
        self._folding = folding
        self._sequence = 0

    def event(self, name: str, fields: Json) -> bytes:
        """The next event."""
        if self._folding:
            return b""
        data = {"type": name, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return frame(name, dump_bytes(data))

    def delta(self, beginning: str, text: str, more: str = "") -> bytes:
        """The next event, a delta: `beginning` is its frame with the first members, `more` follows the text."""
        sequence = self._sequence
        self._sequence += 1
        return utf8(f'{beginning}{quote(text)}{more},"sequence_number":{sequence}}}\n\n')

    def new_id(self, prefix: str) -> str:
        """The id of the next item, the same with and without a stream."""
        return f"{prefix}_{self.core}_{len(self.items)}"

    def add(self, item: Json, shown: Json) -> tuple[int, bytes]:
        """Add an item. Return its output index, and the event that shows it as `shown`."""
        index = len(self.items)
        self.items.append(item)
        return index, self.event("response.output_item.added", {"output_index": index, "item": shown})

    def finish(self, index: int, item: Json) -> bytes:
        """Replace an item by its final form."""
        self.items[index] = item
        return self.event("response.output_item.done", {"output_index": index, "item": item})

    def finished(self) -> list[Json]:
        """The complete items."""
        return [item for item in self.items if item.get("status", "completed") == "completed"]


class WebSearches:
    """Another provider's web searches, written as OpenAI's items."""

    def __init__(self, output: Output, *, with_sources: bool) -> None:
        self._output = output
        self._with_sources = with_sources
        self._open: dict[str, int] = {}  # output indices of searches without a result

    def start(self, part: Part) -> bytes:
        """Begin a search."""
        query = unwrap_object(part.text).get("query")
        action: Json = {"type": "search", "query": query if isinstance(query, str) else ""}
        item = {"id": self._output.new_id("ws"), "type": "web_search_call", "status": "in_progress", "action": action}
        index, out = self._output.add(item, item)
        self._open[part.id] = index
        fields = {"item_id": item["id"], "output_index": index}
        out += self._output.event("response.web_search_call.in_progress", fields)
        return out + self._output.event("response.web_search_call.searching", fields)

    def finish(self, part: Part) -> bytes | None:
        """Complete a search with its result; None if there is no such search."""
        index = self._open.pop(part.id, None)
        return None if index is None else self._finish(index, part.raw)

    def close(self) -> bytes:
        """Complete all searches without a result."""
        return b"".join([self._finish(index, None) for index in self._open.values()])

    def _finish(self, index: int, result: Json | None) -> bytes:
        item = self._output.items[index]
        entries = (result or {}).get("content")
        if isinstance(entries, list) and self._with_sources:
            urls = [entry["url"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("url"), str)]
            item = {**item, "action": {**item["action"], "sources": [{"type": "url", "url": url} for url in urls]}}
        item = {**item, "status": "completed" if result is None or isinstance(entries, list) else "failed"}
        fields = {"item_id": item["id"], "output_index": index}
        return self._output.event("response.web_search_call.completed", fields) + self._output.finish(index, item)


def content_part(kind: str, text: str) -> Json:
    """A content part of a message: text, or a refusal."""
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def url_citation(annotation: Annotation, text: str) -> Json:
    """A citation of a text. Without a position, it refers to all of it."""
    start, end = (annotation.start, annotation.end) if annotation.start >= 0 else (0, len(text))
    return {
        "type": "url_citation",
        "url": annotation.url,
        "title": annotation.title,
        "start_index": start,
        "end_index": end,
    }
