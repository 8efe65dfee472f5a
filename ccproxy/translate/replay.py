"""Assistant turns as the upstream wrote them, kept for clients that cannot carry all of them back.

Most Chat clients drop fields that they do not know, and with them the thinking's signatures; and no format carries the records of server tools into
another. An entry is found again by who asked (principal, provider, model) and a hash of the whole conversation up to and including the turn as the client
shows it, never by the turn alone: "Done." ends many conversations. Memory only, bounded in bytes and time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ccproxy.translate import jsontext
from ccproxy.translate.formats import Format
from ccproxy.translate.freeform import unwrap_text
from ccproxy.translate.names import Names
from ccproxy.translate.neutral import (
    Document,
    Image,
    Part,
    Request,
    RequestPart,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Verbatim,
)

Json = dict[str, Any]

_OVERHEAD = 200
"""Bytes of book-keeping for an entry, roughly."""
_CONTAINER = 200
"""Bytes of an object or array in memory beyond its JSON, roughly."""


class _Entry(NamedTuple):
    scope: bytes
    fmt: Format
    raw: list[Json]
    size: int
    expires: float


class ReplayCache:
    """A bounded LRU cache of turns. `clock` gives seconds; without one nothing expires. `on_failure` is called if a turn could not be stored."""

    def __init__(
        self,
        limit_bytes: int = 64 * 2**20,
        ttl: float = 3600.0,
        clock: Callable[[], float] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._limit = limit_bytes
        self._ttl = ttl
        self._clock = clock
        self._on_failure = on_failure
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._scopes: dict[bytes, int] = {}
        self.size = 0
        """Bytes held."""

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, scope: bytes) -> bool:
        """Is there anything of this scope? Where there is not, nothing needs hashing."""
        return scope in self._scopes

    def get(self, key: bytes, fmt: Format) -> list[Json] | None:
        """The turn under this key, in this format."""
        entry = self._entries.get(key)
        if entry is None or entry.fmt is not fmt:
            return None
        if self._clock is not None and self._clock() > entry.expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.raw

    def put(self, key: bytes, scope: bytes, fmt: Format, raw: list[Json]) -> None:
        """Keep a turn. What is larger than the whole cache is not kept."""
        data = jsontext.dump_bytes(raw)
        size = len(data) + _OVERHEAD + _CONTAINER * (data.count(b"{") + data.count(b"["))
        if size > self._limit:
            return
        if key in self._entries:
            self._drop(key)
        expires = self._clock() + self._ttl if self._clock is not None else 0.0
        self._entries[key] = _Entry(scope, fmt, raw, size, expires)
        self._scopes[scope] = self._scopes.get(scope, 0) + 1
        self.size += size
        while self.size > self._limit:
            self._drop(next(iter(self._entries)))

    def report(self, failure: Exception) -> None:
        """Pass on why a turn could not be stored."""
        if self._on_failure is not None:
            self._on_failure(failure)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._scopes.clear()
        self.size = 0

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self.size -= entry.size
        left = self._scopes[entry.scope] - 1
        if left:
            self._scopes[entry.scope] = left
        else:
            del self._scopes[entry.scope]


def scope_of(principal: str, provider: str, model: str) -> bytes:
    """Who asked whom: nothing crosses from one scope to another."""
    return hashlib.sha256("\0".join((principal, provider, model)).encode("utf-8", "surrogatepass")).digest()


# --- what identifies a turn ------------------------------------------------------------------------------------------


class _Hash:
    """A running hash over what is visible of a conversation."""

    def __init__(self, seed: bytes) -> None:
        self._hash = hashlib.sha256(seed)  # in hardware almost everywhere, and three times as fast there as its rivals

    def add(self, *texts: str) -> None:
        framed = "".join([f"{len(text)}:{text}" for text in texts])
        self._hash.update(framed.encode("utf-8", "surrogatepass"))

    def digest(self) -> bytes:
        return self._hash.copy().digest()


def _seeded(request: Request, scope: bytes) -> _Hash:
    found = _Hash(scope)
    found.add(jsontext.dump(request.raw.get("tools")))
    return found


def _add_turn(found: _Hash, turn: Turn) -> None:
    found.add(turn.role)
    for part in turn.parts:
        _add_part(found, part)


def _add_part(found: _Hash, part: RequestPart) -> None:
    match part:
        case Text():
            found.add("text", part.text)
        case Image():
            found.add("image", part.media_type, part.data, part.url)
        case Document():
            found.add("document", part.media_type, part.data, part.url, part.text or "", part.title)
            for inner in part.content or ():
                _add_part(found, inner)
        case ToolResult():
            found.add("result", part.id)
            if isinstance(part.content, str):
                found.add(part.content)
            else:
                for piece in part.content:
                    _add_part(found, piece)
        case _:
            pass


def _add_answer(found: _Hash, text: str, calls: Iterable[tuple[str, str, bytes]]) -> None:
    """An assistant's turn as any client shows it: its text without the white space around it, and its calls."""
    found.add("assistant", text.strip())
    for identity, name, arguments in calls:
        found.add(identity, name, arguments.decode("ascii"))


def _canonical(arguments: str) -> bytes:
    """Arguments whose spelling a client may have changed."""
    try:
        return jsontext.canonical(jsontext.parse(arguments) if arguments.strip() else {})
    except jsontext.Garbled:
        return jsontext.canonical(arguments)


def _shown(turns: list[Turn]) -> tuple[str, list[tuple[str, str, bytes]]]:
    texts: list[str] = []
    calls: list[tuple[str, str, bytes]] = []
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, ToolCall):
                given = (
                    jsontext.canonical(part.input)
                    if part.arguments is None
                    else _arguments(part.variety, part.arguments)
                )
                calls.append((part.id, f"{part.namespace}.{part.name}", given))
    return "".join(texts), calls


def _arguments(variety: str, arguments: str) -> bytes:
    return jsontext.canonical(arguments) if variety == "custom" else _canonical(arguments)


# --- restoring and remembering ---------------------------------------------------------------------------------------


class Memory(NamedTuple):
    """The cache as one exchange sees it: the scope of its client, and the format of its upstream."""

    cache: ReplayCache
    scope: bytes
    fmt: Format


def restore(request: Request, memory: Memory) -> None:
    """Put the turns that the cache remembers in place of what the client sent of them."""
    if not memory.cache.holds(memory.scope):
        return
    found = _seeded(request, memory.scope)
    turns: list[Turn] = []
    run: list[Turn] = []
    for turn in request.turns:
        if turn.role == "assistant":
            run.append(turn)
            continue
        turns += _recalled(run, found, memory)
        run = []
        _add_turn(found, turn)
        turns.append(turn)
    turns += _recalled(run, found, memory)
    request.turns = turns


def _recalled(run: list[Turn], found: _Hash, memory: Memory) -> list[Turn]:
    if not run:
        return run
    _add_answer(found, *_shown(run))
    raw = memory.cache.get(found.digest(), memory.fmt)
    return run if raw is None else [Turn("assistant", [Verbatim(memory.fmt, raw)], run[0].path)]


class Recorder:
    """Remembers the answer to one request when it has come to its end."""

    def __init__(self, memory: Memory, request: Request, turns: list[Turn], names: Names) -> None:
        self._memory = memory
        self._request = request
        self._turns = turns  # as the client sent them
        self._names = names

    def report(self, failure: Exception) -> None:
        """Pass on why a turn could not be stored."""
        self._memory.cache.report(failure)

    def record(self, parts: list[Part], raw: list[Json]) -> None:
        """Keep the turn if the client's format would lose some of it."""
        if not raw or not any(self._would_lose(part) for part in parts):
            return
        found = _seeded(self._request, self._memory.scope)
        run: list[Turn] = []
        for turn in self._turns:
            if turn.role == "assistant":
                run.append(turn)
                continue
            self._add_run(found, run)
            run = []
            _add_turn(found, turn)
        self._add_run(found, run)
        text = "".join(part.text for part in parts if part.kind in ("text", "refusal"))
        calls = []
        for part in parts:
            if part.kind == "tool_call":
                tool = self._names.client(part.name, part.namespace)
                free = tool.variety == "custom" and part.variety != "custom"
                given = jsontext.canonical(unwrap_text(part.text)) if free else _arguments(part.variety, part.text)
                calls.append((part.id, f"{tool.namespace}.{tool.name}", given))
        _add_answer(found, text, calls)
        self._memory.cache.put(found.digest(), self._memory.scope, self._memory.fmt, raw)

    @staticmethod
    def _add_run(found: _Hash, run: list[Turn]) -> None:
        if run:
            _add_answer(found, *_shown(run))

    def _would_lose(self, part: Part) -> bool:
        if part.kind == "reasoning":
            return self._request.fmt is Format.OPENAI_CHAT
        return part.kind in ("server_tool", "opaque")
