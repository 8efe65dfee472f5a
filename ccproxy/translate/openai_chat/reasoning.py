"""Reasoning in Chat messages: OpenRouter's `reasoning_details`, with the signatures and encrypted content of any provider.

https://openrouter.ai/docs/use-cases/reasoning-tokens. `format` is the provider's format. `pos`, an extension of ccproxy, is the position in the turn.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from ccproxy.translate.checks import an_object, optional_list, optional_text
from ccproxy.translate.formats import Format
from ccproxy.translate.neutral import Reasoning, RequestPart

Json = dict[str, Any]

CLAUDE = "anthropic-claude-v1"
OPENAI = "openai-responses-v1"

FORMAT_NAMES: dict[Format | None, str] = {
    Format.ANTHROPIC: CLAUDE,
    Format.OPENAI_RESPONSES: OPENAI,
    Format.OPENAI_CHAT: "unknown",
    None: "unknown",
}


class _Placed(NamedTuple):
    position: int
    part: Reasoning


def parse_reasoning(message: Json, path: str, parts: list[RequestPart]) -> list[RequestPart]:
    """Insert the reasoning of an assistant message between its parts, at its original position."""
    placed = _details(message, path)
    if not placed:
        placed = _blocks(message, path)
    if not placed:
        for field in ("reasoning_content", "reasoning"):
            visible = message.get(field)
            if visible and isinstance(visible, str):
                return [Reasoning(f"{path}.{field}", None, None, visible), *parts]
        return parts
    result: list[RequestPart] = []
    rest = iter(parts)
    for position, part in sorted(placed, key=lambda item: item.position):
        result.extend(islice(rest, max(0, position - len(result))))
        result.append(part)
    return [*result, *rest]


def _details(message: Json, path: str) -> list[_Placed]:
    placed: list[_Placed] = []
    summary: list[str] = []
    for i, entry in enumerate(optional_list(message.get("reasoning_details"), f"{path}.reasoning_details")):
        where = f"{path}.reasoning_details[{i}]"
        position = an_object(entry, where).get("pos")
        if entry.get("format") == OPENAI and entry.get("type") == "reasoning.summary":
            summary.append(optional_text(entry.get("summary"), f"{where}.summary"))
            continue
        part = _entry(entry, where, summary)
        summary = []
        place = position if isinstance(position, int) and 0 <= position < 10_000 else len(placed)
        placed.append(_Placed(place, part))
    if summary:  # without encrypted content: no provider accepts it
        placed.append(_Placed(len(placed), Reasoning(f"{path}.reasoning_details", None, None, "\n\n".join(summary))))
    return placed


def _entry(entry: Json, path: str, summary: list[str]) -> Reasoning:
    match entry.get("format"), entry.get("type"):
        case (f, "reasoning.text") if f == CLAUDE:
            visible = optional_text(entry.get("text"), f"{path}.text")
            signature = optional_text(entry.get("signature"), f"{path}.signature")
            if not signature:
                return Reasoning(path, None, None, visible)
            return Reasoning(
                path, Format.ANTHROPIC, {"type": "thinking", "thinking": visible, "signature": signature}, visible
            )
        case (f, "reasoning.encrypted") if f == CLAUDE:
            return Reasoning(
                path,
                Format.ANTHROPIC,
                {"type": "redacted_thinking", "data": optional_text(entry.get("data"), f"{path}.data")},
            )
        case (f, "reasoning.encrypted") if f == OPENAI:
            item: Json = {"type": "reasoning", "summary": [{"type": "summary_text", "text": part} for part in summary]}
            identity = optional_text(entry.get("id"), f"{path}.id")
            if identity:
                item["id"] = identity
            item["encrypted_content"] = optional_text(entry.get("data"), f"{path}.data")
            return Reasoning(path, Format.OPENAI_RESPONSES, item, "\n\n".join(summary))
        case _:
            return Reasoning(path, Format.OPENAI_CHAT, {"reasoning_details": [entry]})


def _blocks(message: Json, path: str) -> list[_Placed]:
    """Anthropic's own blocks, which some gateways send in `thinking_blocks`."""
    placed = []
    for i, block in enumerate(optional_list(message.get("thinking_blocks"), f"{path}.thinking_blocks")):
        where = f"{path}.thinking_blocks[{i}]"
        an_object(block, where)
        visible = block.get("thinking")
        signed = isinstance(block.get("signature"), str) or isinstance(block.get("data"), str)
        part = Reasoning(
            where,
            Format.ANTHROPIC if signed else None,
            block if signed else None,
            visible if isinstance(visible, str) else "",
        )
        placed.append(_Placed(i, part))
    return placed


class Details:
    """The `reasoning_details` of an answer. Streamed pieces with the same index are one entry."""

    def __init__(self) -> None:
        self._entries: list[Json] = []
        self._pieces: dict[str, list[str]] = {}  # texts of the last entry, joined at its end

    def add(self, entry: Json) -> None:
        """Add a streamed entry."""
        last = self._entries[-1] if self._entries else None
        if last is None or last.get("index") != entry.get("index") or last.get("type") != entry.get("type"):
            self._join()
            last = {}
            self._entries.append(last)
        for key, value in entry.items():
            if key in _TEXTS and isinstance(value, str):
                self._pieces.setdefault(key, []).append(value)
                last.setdefault(key, "")
            elif value is not None or key not in last:
                last[key] = value

    def entries(self) -> list[Json]:
        """All entries so far."""
        self._join()
        return self._entries

    def _join(self) -> None:
        for key, pieces in self._pieces.items():
            last = self._entries[-1]
            last[key] = (last[key] if isinstance(last[key], str) else "") + "".join(pieces)
        self._pieces = {}


_TEXTS = frozenset(("text", "summary", "signature", "data"))
