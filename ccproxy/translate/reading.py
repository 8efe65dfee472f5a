"""Facts that an upstream's response reports about itself: model, usage, why it stopped, whether it came to its end. Pure.

A `Reader` is fed the parsed events of a stream, or a whole body, and fills in a `Reading`. The translator feeds it the events that it translates; the usage tap
of the ledger feeds it the events that it finds in a native stream. So both report the same of the same response.

A reader never raises for an object of any shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ccproxy.translate.formats import Format
from ccproxy.translate.labels import label
from ccproxy.translate.stops import StopClass
from ccproxy.translate.usage import Usage, merge_usage, read_usage

Json = Mapping[str, Any]


@dataclass(slots=True)
class Reading:
    """What is known of a response so far. Filled in as it arrives."""

    model: str | None = None
    """The model that answered."""
    stop_reason: str | None = None
    """The format's own word."""
    stop: StopClass | None = None
    """Set where `stop_reason` alone is not enough: Responses has no word for tool calls."""
    usage: Usage | None = None
    final: bool = False
    """`usage` is that of the whole answer, not the count at its start."""
    ended: bool = False
    """The response reported its end, in success or in error. A connection that closes before was cut."""
    error_type: str | None = None
    """Code or type of an error; never its message."""
    saw_output: bool = False
    """The model's first output has arrived."""
    rate_limits: Json | None = None
    """Codex's event `codex.rate_limits`, for `ledger.quota.from_codex_event`."""
    problem: str | None = None
    """Why a reader may have missed something, for the log."""


class Reader(ABC):
    """Reads one response of one format."""

    _KINDS: ClassVar[frozenset[str] | None]
    """The `type` of each event to read, once the first output has been seen. None: events of this format have no type."""

    def __init__(self) -> None:
        self.reading = Reading()

    def event(self, event: object) -> None:
        """Read one parsed event of a stream."""
        if not isinstance(event, dict):
            return
        if not self.reading.saw_output:
            self.reading.saw_output = self._is_output(event)
        elif self._KINDS is not None:
            kind = event.get("type")
            if not isinstance(kind, str) or kind not in self._KINDS:
                return
        self._event(event)

    def done(self) -> None:
        """The stream sent `[DONE]`."""
        self.reading.ended = True

    @abstractmethod
    def whole(self, body: Json) -> None:
        """Read a whole response body, an error included."""

    @abstractmethod
    def _is_output(self, event: Json) -> bool:
        """Does the event carry output of the model?"""

    @abstractmethod
    def _event(self, event: Json) -> None: ...

    def _error(self, error: object) -> None:
        """An error object of any format; `code` is more specific than OpenAI's `type`."""
        self.reading.ended = True
        self.reading.error_type = _string(error, "code") or _string(error, "type") or "error"


class _Messages(Reader):
    _KINDS = frozenset({"message_start", "message_delta", "message_stop", "error"})

    def __init__(self) -> None:
        super().__init__()
        self._usage: Json = {}

    def _is_output(self, event: Json) -> bool:
        return event.get("type") == "content_block_delta"

    def _event(self, event: Json) -> None:
        reading = self.reading
        match event.get("type"):
            case "message_start":
                message = _object(event, "message")
                reading.model = _string(message, "model")
                self._merge(message)
            case "message_delta":
                reading.stop_reason = _string(_object(event, "delta"), "stop_reason") or reading.stop_reason
                self._merge(event)
                reading.final = reading.usage is not None
            case "message_stop":
                reading.ended = True
            case "error":
                self._error(event.get("error"))
            case _:
                pass

    def _merge(self, holder: Json) -> None:
        self._usage = merge_usage(self._usage, holder.get("usage"))
        self.reading.usage = read_usage(Format.ANTHROPIC, self._usage)

    def whole(self, body: Json) -> None:
        match body.get("type"):
            case "error":
                self._error(body.get("error"))
            case "message":
                self.reading.model = _string(body, "model")
                self.reading.stop_reason = _string(body, "stop_reason")
                self._merge(body)
                self.reading.final = self.reading.ended = True
            case _:
                if body.get("error"):  # another vendor's server
                    self._error(body["error"])


class _Chat(Reader):
    _KINDS = None

    def _is_output(self, event: Json) -> bool:
        for choice in _objects(event, "choices"):
            delta = _object(choice, "delta")
            if any(value for name, value in delta.items() if name != "role"):
                return True
        return False

    def _event(self, event: Json) -> None:
        # Written out: this runs for every chunk.
        if event.get("error"):
            self._error(event["error"])
        self._read(event)

    def whole(self, body: Json) -> None:
        if body.get("error"):
            self._error(body["error"])
        else:
            self._read(body)

    def _read(self, holder: Json) -> None:
        reading = self.reading
        if reading.model is None:
            reading.model = _string(holder, "model")
        if holder.get("usage") is not None:
            usage = read_usage(Format.OPENAI_CHAT, holder["usage"], holder)
            if usage is not None:
                reading.usage = usage
                reading.final = True
        choices = holder.get("choices")
        if reading.stop_reason is None and isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict) and choice.get("finish_reason") is not None:
                    reading.stop_reason = reading.stop_reason or _string(choice, "finish_reason")
            if reading.stop_reason is not None:
                # Not every server sends `[DONE]`, and usage comes only when the client asked for it.
                reading.ended = True


class _Responses(Reader):
    _KINDS = frozenset({
        "response.created", "response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.output_item.done",
        "error", "codex.rate_limits",
    })  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Json] = []

    def _is_output(self, event: Json) -> bool:
        kind = event.get("type")
        return isinstance(kind, str) and kind.endswith(".delta")

    def _event(self, event: Json) -> None:
        match event.get("type"):
            case "response.created":
                self.reading.model = _string(_object(event, "response"), "model")
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" as kind:
                self._read(_object(event, "response"), kind.removeprefix("response."))
            case "response.output_item.done":
                self._item(_object(event, "item"))
            case "error":
                nested = event.get("error")
                self._error(nested if isinstance(nested, dict) else {"code": event.get("code")})
            case "codex.rate_limits":
                self.reading.rate_limits = event
            case _:
                pass

    def whole(self, body: Json) -> None:
        status = _string(body, "status")
        if body.get("object") == "response" and status is not None:
            self._read(body, status)
        elif body.get("error"):
            self._error(body["error"])

    def _item(self, item: Json) -> None:
        kind = _string(item, "type")
        if kind is not None and kind.endswith("_call") and len(self._items) < _MAX_ITEMS:
            self._items.append({"type": kind, "action": {"type": _object(item, "action").get("type", "search")}})

    def _read(self, response: Json, status: str) -> None:
        reading = self.reading
        if not response.get("output"):  # the Codex backend has been seen to leave it empty
            response = {**response, "output": self._items}
        reading.model = _string(response, "model") or reading.model
        reading.usage = read_usage(Format.OPENAI_RESPONSES, response.get("usage"), response) or reading.usage
        reading.final = reading.usage is not None
        reading.ended = True
        reading.stop_reason = status
        if status == "incomplete":
            reading.stop_reason = _string(_object(response, "incomplete_details"), "reason") or status
        elif status == "failed":
            self._error(response.get("error"))
        elif status == "completed" and any(
            _string(item, "type") in CLIENT_CALLS for item in _objects(response, "output")
        ):
            reading.stop = StopClass.TOOL_USE


CLIENT_CALLS: Final = frozenset(
    {"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call"}
)
"""Types of output items that the client is to carry out."""
_MAX_ITEMS: Final = 10_000
"""The most tool calls of one response that are counted."""

_READERS: dict[Format, type[Reader]] = {
    Format.ANTHROPIC: _Messages,
    Format.OPENAI_CHAT: _Chat,
    Format.OPENAI_RESPONSES: _Responses,
}


def reader(fmt: Format) -> Reader:
    """Return a reader for one response in this format."""
    return _READERS[fmt]()


def _object(of: Json, name: str) -> Json:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _objects(of: Json, name: str) -> list[Json]:
    value = of.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _string(of: object, name: str) -> str | None:
    return label(of.get(name)) if isinstance(of, dict) else None
