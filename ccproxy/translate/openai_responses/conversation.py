"""Turns of the neutral form, written as Responses input items. Append-only, because prompt caches depend on it."""

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
_NO_SUCCESSOR = "OpenAI refuses reasoning without a following item"
_CACHING = "OpenAI caches prompts automatically"


class Conversation:
    """Builds `input`."""

    def __init__(
        self, names: Names, losses: Losses, target: Target, *, lite: bool, phases: bool, namespace: str = ""
    ) -> None:
        self.items: list[Json] = []
        self._names = names
        self._losses = losses
        self._target = target
        self._lite = lite
        self._phases = phases
        self._namespace = namespace
        self._messages = 0
        self._reasoning: list[tuple[str, Json]] = []  # to be written before the next item
        self._custom: set[str] = set()  # ids of free-text calls, whose results have another type

    def add(self, turns: list[Turn]) -> None:
        """Write turns."""
        for turn in turns:
            if turn.role == "assistant":
                self._assistant_turn(turn)
            elif turn.role == "system":
                self.instructions(turn)
            else:
                self._user_turn(turn)

    def instructions(self, turn: Turn) -> None:
        """Write a developer message: the Codex backend refuses the role `system`."""
        content = self._content(turn.parts)
        if content:
            self.items.append({"type": "message", "role": "developer", "content": content})

    # --- the user's turn ---

    def _user_turn(self, turn: Turn) -> None:
        rest: list[RequestPart] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                self._result(part)
            else:
                rest.append(part)
        content = self._content(rest)
        if content:
            self.items.append({"type": "message", "role": "user", "content": content})

    def _result(self, result: ToolResult) -> None:
        self._note_cache(result)
        content = result.content
        output: str | list[Json]
        if isinstance(content, str):
            output = as_text.error_text(content) if result.is_error else content
        else:
            parts = self._content(content)
            if result.is_error:
                as_text.mark_error(parts, "input_text")
            output = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "input_text" else parts or ""
        kind = "custom_tool_call_output" if result.id in self._custom else "function_call_output"
        self.items.append({"type": kind, "call_id": fit(result.id, CALL_ID_LIMIT), "output": output})

    def _content(self, parts: list[Any]) -> list[Json]:
        content: list[Json] = []
        for part in parts:
            match part:
                case Text():
                    if part.cache is not None:
                        self._note_cache(part)
                    if part.text:
                        content.append({"type": "input_text", "text": part.text})
                case Image():
                    content.append(self._image(part))
                case Document():
                    self._document(part, content)
                case Opaque():
                    shown = self._foreign(part)
                    if shown:
                        content.append({"type": "input_text", "text": shown})
                case _:
                    raise bad(part.path, "is allowed only in an assistant's turn")
        return content

    def _image(self, image: Image) -> Json:
        self._note_cache(image)
        if image.url and self._lite:
            raise bad(image.path, "this model does not accept image URLs: send the data instead", "unsupported_content")
        block: Json = {"type": "input_image", "image_url": image.url or f"data:{image.media_type};base64,{image.data}"}
        if not self._lite:
            block["detail"] = image.detail or "auto"
        return block

    def _document(self, document: Document, content: list[Json]) -> None:
        self._note_cache(document)
        plain = document.text is not None or document.content is not None
        if not plain and (document.context or (document.url and document.title)):
            content.append({"type": "input_text", "text": as_text.document_head(document)})
        if document.url:
            content.append({"type": "input_file", "file_url": document.url})
        elif not plain:
            data = f"data:{document.media_type};base64,{document.data}"
            content.append({"type": "input_file", "filename": document.title or "document.pdf", "file_data": data})
        else:
            content.append({"type": "input_text", "text": as_text.document_text(document)})
            content.extend(self._content([part for part in document.content or () if isinstance(part, Image)]))

    # --- the assistant's turn ---

    def _assistant_turn(self, turn: Turn) -> None:
        content: list[Json] = []
        calls_follow = any(isinstance(part, ToolCall) for part in turn.parts)
        for part in turn.parts:
            if isinstance(part, Text):
                self._note_cache(part)
                if part.text:
                    content.append({"type": "output_text", "text": part.text, "annotations": []})
                continue
            self._message(content, "commentary" if calls_follow else "final_answer")
            content = []
            match part:
                case ToolCall():
                    self._append(self._call(part))
                case Reasoning():
                    if part.fmt is Format.OPENAI_RESPONSES and part.raw is not None:
                        self._reasoning.append((part.path, part.raw))
                    else:
                        self._losses.add(part.path, _NOT_MINTED_HERE)
                case Verbatim():
                    self.items.extend(part.raw)
                    self._custom.update(
                        str(item.get("call_id")) for item in part.raw if item.get("type") == "custom_tool_call"
                    )
                case Opaque():
                    shown = self._foreign(part)
                    if shown:
                        content.append({"type": "output_text", "text": shown, "annotations": []})
                case _:
                    raise bad(part.path, "is allowed only in a user's turn")
        self._message(content, "final_answer")
        for path, _ in self._reasoning:
            self._losses.add(path, _NO_SUCCESSOR)
        self._reasoning = []

    def _message(self, content: list[Json], phase: str) -> None:
        if content:
            item: Json = {
                "type": "message",
                "id": f"msg_{self._messages}",
                "role": "assistant",
                "status": "completed",
                "content": content,
            }
            if self._phases:
                item["phase"] = phase
            self._messages += 1
            self._append(item)

    def _append(self, item: Json) -> None:
        self.items.extend(raw for _, raw in self._reasoning)
        self._reasoning = []
        self.items.append(item)

    def _call(self, call: ToolCall) -> Json:
        self._note_cache(call)
        item: Json
        name = self._names.upstream(call.name, call.namespace)
        if call.variety == "custom":
            self._custom.add(call.id)
            item = {
                "type": "custom_tool_call",
                "call_id": fit(call.id, CALL_ID_LIMIT),
                "name": name,
                "input": call.arguments or "",
            }
        else:
            arguments = dump(call.input) if call.arguments is None else call.arguments or "{}"
            item = {
                "type": "function_call",
                "call_id": fit(call.id, CALL_ID_LIMIT),
                "name": name,
                "arguments": arguments,
            }
        if self._namespace:
            item["namespace"] = self._namespace
        return item

    # --- notes ---

    def _note_cache(self, part: Text | Image | Document | ToolCall | ToolResult) -> None:
        if part.cache is not None:
            self._losses.add(f"{part.path}.cache_control", _CACHING)

    def _foreign(self, part: Opaque) -> str:
        if policy.settle(policy.CONTENT[part.fmt][part.type], self._target, part.path, self._losses):
            return as_text.opaque_text(part)
        return ""
