"""Turns of the neutral form, written as Chat messages. Append-only, because prompt caches depend on it."""

from __future__ import annotations

from typing import Any

from ccproxy.translate import as_text, policy
from ccproxy.translate.checks import bad
from ccproxy.translate.formats import Format
from ccproxy.translate.jsontext import dump
from ccproxy.translate.losses import Losses
from ccproxy.translate.names import CALL_ID_LIMIT, Names, fit
from ccproxy.translate.neutral import (
    Document,
    Image,
    Opaque,
    Reasoning,
    RequestPart,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Verbatim,
)
from ccproxy.translate.policy import Target

Json = dict[str, Any]

_NOT_MINTED_HERE = "thinking goes back only to the provider that signed it"
_CACHING = "OpenAI caches prompts automatically"


class Conversation:
    """Builds `messages`."""

    def __init__(self, names: Names, losses: Losses, *, custom_tools: bool) -> None:
        self.messages: list[Json] = []
        self._names = names
        self._losses = losses
        self._custom_tools = custom_tools
        self._texts: list[Json] = []  # of the current assistant message
        self._calls: list[Json] = []
        self._reasoning: dict[str, list[Any]] = {}

    def add(self, turns: list[Turn]) -> None:
        """Write all turns."""
        for turn in turns:
            if turn.role == "assistant":
                for part in turn.parts:
                    self._assistant_part(part)
                continue
            self._end_assistant()
            if turn.role == "system":
                self._message("system", self._content(turn.parts))
            else:
                self._user_turn(turn)
        self._end_assistant()

    def _message(self, role: str, content: list[Json]) -> None:
        if not content:
            return
        plain = len(content) == 1 and content[0]["type"] == "text"
        self.messages.append({"role": role, "content": content[0]["text"] if plain else content})

    # --- the user's turn ---

    def _user_turn(self, turn: Turn) -> None:
        rest: list[RequestPart] = []
        shown: list[Json] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                self._result(part, shown)
            else:
                rest.append(part)
        self._message("user", shown + self._content(rest))

    def _result(self, result: ToolResult, shown: list[Json]) -> None:
        """Write a tool message. It may contain only text, so images and files follow in the user's message."""
        self._note_cache(result)
        content = result.content
        if isinstance(content, str):
            text = content
        else:
            parts = self._content(content)
            texts = [part["text"] for part in parts if part["type"] == "text"]
            others = [part for part in parts if part["type"] != "text"]
            if others:
                texts.append("(The user's next message shows the rest of this result.)")
                shown.append({"type": "text", "text": f"The rest of the result of {result.id}:"})
                shown.extend(others)
            text = "\n".join(texts)
        text = as_text.error_text(text) if result.is_error else text
        self.messages.append({"role": "tool", "tool_call_id": fit(result.id, CALL_ID_LIMIT), "content": text})

    def _content(self, parts: list[Any]) -> list[Json]:
        content: list[Json] = []
        for part in parts:
            match part:
                case Text():
                    self._note_cache(part)
                    if part.text:
                        content.append({"type": "text", "text": part.text})
                case Image():
                    self._note_cache(part)
                    image: Json = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
                    if part.detail in ("auto", "low", "high"):
                        image["detail"] = part.detail
                    elif part.detail:
                        self._losses.add(part.detail_path, "Chat supports low, high and auto")
                    content.append({"type": "image_url", "image_url": image})
                case Document():
                    self._document(part, content)
                case Opaque():
                    text = self._foreign(part)
                    if text:
                        content.append({"type": "text", "text": text})
                case _:
                    raise bad(part.path, "is allowed only in an assistant's turn")
        return content

    def _document(self, document: Document, content: list[Json]) -> None:
        self._note_cache(document)
        if document.url:
            raise bad(document.path, "Chat does not accept file URLs: send the data instead", "unsupported_content")
        if document.text is None and document.content is None:
            if document.context:
                content.append({"type": "text", "text": as_text.document_head(document)})
            data = f"data:{document.media_type};base64,{document.data}"
            content.append({"type": "file", "file": {"filename": document.title or "document.pdf", "file_data": data}})
            return
        content.append({"type": "text", "text": as_text.document_text(document)})
        content.extend(self._content([part for part in document.content or () if isinstance(part, Image)]))

    # --- the assistant's turn ---

    def _assistant_part(self, part: RequestPart) -> None:
        match part:
            case Text():
                self._note_cache(part)
                if part.text:
                    self._texts.append({"type": "text", "text": part.text})
            case ToolCall():
                self._note_cache(part)
                self._calls.append(self._call(part))
            case Reasoning():
                if part.fmt is Format.OPENAI_CHAT and part.raw is not None:
                    self._recall(part.raw)
                else:
                    self._losses.add(part.path, _NOT_MINTED_HERE)
            case Verbatim():
                self._end_assistant()
                self.messages.extend(part.raw)
            case Opaque():
                text = self._foreign(part)
                if text:
                    self._texts.append({"type": "text", "text": text})
            case _:
                raise bad(part.path, "is allowed only in a user's turn")

    def _recall(self, minted: Json) -> None:
        """Collect this server's own reasoning. Several parts of one message are joined, lists as well as texts."""
        for key, value in minted.items():
            if isinstance(value, list | str):
                self._reasoning.setdefault(key, []).append(value)

    def _end_assistant(self) -> None:
        texts, calls = self._texts, self._calls
        if texts or calls:
            message: Json = {"role": "assistant", "content": None}
            if texts:
                message["content"] = texts[0]["text"] if len(texts) == 1 else texts
            message.update({key: _joined(values) for key, values in self._reasoning.items()})
            if calls:
                message["tool_calls"] = calls
            self.messages.append(message)
        self._texts, self._calls, self._reasoning = [], [], {}

    def _call(self, call: ToolCall) -> Json:
        identity = fit(call.id, CALL_ID_LIMIT)
        name = self._names.upstream(call.name, call.namespace)
        written = call.arguments
        if call.variety == "custom" and self._custom_tools:
            return {"id": identity, "type": "custom", "custom": {"name": name, "input": written or ""}}
        if call.variety == "custom":
            written = dump({"input": written or ""})
        arguments = dump(call.input) if written is None else written or "{}"
        return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}

    # --- notes ---

    def _note_cache(self, part: Text | Image | Document | ToolCall | ToolResult) -> None:
        if part.cache is not None:
            self._losses.add(f"{part.path}.cache_control", _CACHING)

    def _foreign(self, part: Opaque) -> str:
        if policy.settle(policy.CONTENT[part.fmt][part.type], Target.CHAT, part.path, self._losses):
            return as_text.opaque_text(part)
        return ""


def _joined(values: list[Any]) -> Any:
    """Join the values of one member. Values of another type than the first one are left out."""
    if isinstance(values[0], str):
        return "".join(value for value in values if isinstance(value, str))
    return [item for value in values if isinstance(value, list) for item in value]
