"""Assistant turns in the upstream's own objects, stored for clients that cannot send all of a turn back.

Most Chat clients drop fields that they do not know, and with them the signatures of thinking. No format has a place for another format's server tools. The key
of an entry is its scope (principal, provider, model) and a hash of the whole conversation, including the turn as the client sends it. The turn alone would not
be enough: "Done." ends many conversations. Entries are in memory only, limited in bytes and time.
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
"""Approximate bytes of bookkeeping for an entry."""
_CONTAINER = 200
"""Approximate bytes of an object or array in memory, in addition to its JSON."""


class _Entry(NamedTuple):
    scope: bytes
    fmt: Format
    raw: list[Json]
    size: int
    expires: float


class ReplayCache:
    """An LRU cache of turns. `clock` returns seconds; without it, entries do not expire. `on_failure` gets the exception if a turn could not be stored."""

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
        """Bytes in the cache."""

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, scope: bytes) -> bool:
        """Return True if there is an entry of this scope. If not, no hash is needed."""
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
        """Store a turn, unless it is larger than the whole cache."""
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
        """Report an exception because of which a turn could not be stored."""
        if self._on_failure is not None:
            self._on_failure(failure)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self.size -= entry.size
        count = self._scopes[entry.scope] - 1
        if count:
            self._scopes[entry.scope] = count
        else:
            del self._scopes[entry.scope]


def scope_of(principal: str, provider: str, model: str) -> bytes:
    """The scope of a request: one scope has no access to the entries of another."""
    return hashlib.sha256("\0".join((principal, provider, model)).encode("utf-8", "surrogatepass")).digest()


# --- what identifies a turn ------------------------------------------------------------------------------------------


class _Hash:
    """A hash of the visible part of a conversation, turn by turn."""

    def __init__(self, seed: bytes) -> None:
        self._hash = hashlib.sha256(seed)  # most processors compute it in hardware, three times as fast as other hashes

    def add(self, *texts: str) -> None:
        framed = "".join([f"{len(text)}:{text}" for text in texts])
        self._hash.update(framed.encode("utf-8", "surrogatepass"))

    def digest(self) -> bytes:
        return self._hash.copy().digest()


def _seeded(request: Request, scope: bytes) -> _Hash:
    digest = _Hash(scope)
    digest.add(jsontext.dump(request.raw.get("tools")))
    return digest


def _add_turn(digest: _Hash, turn: Turn) -> None:
    digest.add(turn.role)
    for part in turn.parts:
        _add_part(digest, part)


def _add_part(digest: _Hash, part: RequestPart) -> None:
    match part:
        case Text():
            digest.add("text", part.text)
        case Image():
            digest.add("image", part.media_type, part.data, part.url)
        case Document():
            digest.add("document", part.media_type, part.data, part.url, part.text or "", part.title)
            for inner in part.content or ():
                _add_part(digest, inner)
        case ToolResult():
            digest.add("result", part.id)
            if isinstance(part.content, str):
                digest.add(part.content)
            else:
                for piece in part.content:
                    _add_part(digest, piece)
        case _:
            pass


def _add_answer(digest: _Hash, text: str, calls: Iterable[tuple[str, str, bytes]]) -> None:
    """Add an assistant turn as any client sends it: its calls, and its text without surrounding white space."""
    digest.add("assistant", text.strip())
    for identity, name, arguments in calls:
        digest.add(identity, name, arguments.decode("ascii"))


def _canonical(arguments: str) -> bytes:
    """Arguments in one spelling, because a client may have changed it."""
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
                arguments = (
                    jsontext.canonical(part.input)
                    if part.arguments is None
                    else _arguments(part.variety, part.arguments)
                )
                calls.append((part.id, f"{part.namespace}.{part.name}", arguments))
    return "".join(texts), calls


def _arguments(variety: str, arguments: str) -> bytes:
    return jsontext.canonical(arguments) if variety == "custom" else _canonical(arguments)


# --- restoring and remembering ---------------------------------------------------------------------------------------


class Memory(NamedTuple):
    """The cache for one exchange, with the scope of its client and the format of its upstream."""

    cache: ReplayCache
    scope: bytes
    fmt: Format


def restore(request: Request, memory: Memory) -> None:
    """Replace turns of the client by their originals from the cache."""
    if not memory.cache.holds(memory.scope):
        return
    digest = _seeded(request, memory.scope)
    turns: list[Turn] = []
    run: list[Turn] = []
    for turn in request.turns:
        if turn.role == "assistant":
            run.append(turn)
            continue
        turns += _recalled(run, digest, memory)
        run = []
        _add_turn(digest, turn)
        turns.append(turn)
    turns += _recalled(run, digest, memory)
    request.turns = turns


def _recalled(run: list[Turn], digest: _Hash, memory: Memory) -> list[Turn]:
    if not run:
        return run
    _add_answer(digest, *_shown(run))
    raw = memory.cache.get(digest.digest(), memory.fmt)
    return run if raw is None else [Turn("assistant", [Verbatim(memory.fmt, raw)], run[0].path)]


class Recorder:
    """Stores the answer to one request when it is complete."""

    def __init__(self, memory: Memory, request: Request, turns: list[Turn], names: Names) -> None:
        self._memory = memory
        self._request = request
        self._turns = turns  # as the client sent them
        self._names = names

    def report(self, failure: Exception) -> None:
        """Report an exception because of which a turn could not be stored."""
        self._memory.cache.report(failure)

    def record(self, parts: list[Part], raw: list[Json]) -> None:
        """Store the turn, if the client's format loses some of it."""
        if not raw or not any(self._would_lose(part) for part in parts):
            return
        digest = _seeded(self._request, self._memory.scope)
        run: list[Turn] = []
        for turn in self._turns:
            if turn.role == "assistant":
                run.append(turn)
                continue
            self._add_run(digest, run)
            run = []
            _add_turn(digest, turn)
        self._add_run(digest, run)
        text = "".join(part.text for part in parts if part.kind in ("text", "refusal"))
        calls = []
        for part in parts:
            if part.kind == "tool_call":
                tool = self._names.client(part.name, part.namespace)
                free = tool.variety == "custom" and part.variety != "custom"
                arguments = jsontext.canonical(unwrap_text(part.text)) if free else _arguments(part.variety, part.text)
                calls.append((part.id, f"{tool.namespace}.{tool.name}", arguments))
        _add_answer(digest, text, calls)
        self._memory.cache.put(digest.digest(), self._memory.scope, self._memory.fmt, raw)

    @staticmethod
    def _add_run(digest: _Hash, run: list[Turn]) -> None:
        if run:
            _add_answer(digest, *_shown(run))

    def _would_lose(self, part: Part) -> bool:
        if part.kind == "reasoning":
            return self._request.fmt is Format.OPENAI_CHAT
        return part.kind in ("server_tool", "opaque")
