"""Turns of the neutral form, written as Anthropic messages.

The result is append-only: a longer history begins with the messages of a shorter one, because prompt caches and the signatures of preserved thinking depend
on that. So instructions inside the conversation stay there, blocks are never joined, and nothing depends on later turns.
"""

from __future__ import annotations

from typing import Any

from ccproxy.translate import jsontext, policy
from ccproxy.translate.checks import bad, quoted
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.names import Names, fit
from ccproxy.translate.neutral import (
    Document,
    Image,
    Opaque,
    Reasoning,
    Request,
    RequestPart,
    Text,
    ToolCall,
    ToolResult,
    Turn,
    Verbatim,
)
from ccproxy.translate.policy import Target

Json = dict[str, Any]

_ID_LIMIT = 256
_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_NOT_MINTED_HERE = "thinking goes back only to the provider that signed it"
_EMPTY = "Anthropic refuses blank text"
OPENING = "(The conversation begins with the assistant.)"
"""The first user message, if the client has none: Anthropic requires one."""


class Conversation:
    """Builds `system` and `messages`."""

    def __init__(self, names: Names, losses: Losses, *, mid_system: bool) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.breakpoints: list[Json] = []  # blocks with a cache_control
        self._names = names
        self._losses = losses
        self._mid_system = mid_system
        self._results: list[Json] = []  # of the current user turn, in which results come first
        self._blocks: list[Json] = []
        self._later_system: list[Json] = []
        self._assistant: list[Json] | None = None

    def add(self, request: Request) -> None:
        """Write all turns."""
        turns = request.turns
        start = self._leading(turns)
        for turn in turns[start:]:
            if turn.role == "assistant":
                self._end_user()
                if self._assistant is None:
                    self._open_assistant(turn)
                for part in turn.parts:
                    self._assistant_part(part)
            else:
                self._end_assistant()
                if turn.role == "system":
                    self._instructions(turn)
                else:
                    for part in turn.parts:
                        self._user_part(part)
        self._end_user()
        self._end_assistant()
        if not self.messages:
            raise bad(
                "messages" if request.fmt is not Format.OPENAI_RESPONSES else "input",
                "contains nothing that can be sent",
            )

    # --- instructions ---

    def _leading(self, turns: list[Turn]) -> int:
        """Write the instructions at the beginning. Return the index of the first other turn.

        Anthropic requires a user message first. If none follows the instructions, the last instruction is that message.
        """
        count = next((i for i, turn in enumerate(turns) if turn.role != "system"), len(turns))
        stand_in = count > 0 and (count == len(turns) or turns[count].role == "assistant")
        for turn in turns[: count - 1 if stand_in else count]:
            for part in turn.parts:
                block = self._instruction(part)
                if block is not None:
                    self.system.append(block)
        if stand_in:
            self._losses.add(
                turns[count - 1].path, "Anthropic requires a user message first: this instruction is sent as one"
            )
            for part in turns[count - 1].parts:
                self._user_part(part)
        return count

    def _instruction(self, part: RequestPart) -> Json | None:
        if isinstance(part, Text):
            return self._text(part)
        if isinstance(part, Opaque):
            self._foreign(part)
            return None
        raise bad(getattr(part, "path", "messages"), "instructions must be text")

    def _instructions(self, turn: Turn) -> None:
        """Write instructions inside the conversation: in a message after the user's turn, or as a reminder in it."""
        for part in turn.parts:
            block = self._instruction(part)
            if block is None:
                continue
            if self._mid_system:
                self._later_system.append(block)
            else:
                self._blocks.append(_reminder(block))

    # --- the user's turn ---

    def _user_part(self, part: RequestPart) -> None:
        match part:
            case Text():
                block = self._text(part)
                if block is not None:
                    self._blocks.append(block)
            case ToolResult():
                self._results.append(self._result(part))
            case Image():
                self._blocks.append(self._image(part))
            case Document():
                self._blocks.append(self._document(part))
            case Opaque():
                self._foreign(part)
            case ToolCall() | Reasoning() | Verbatim():
                raise bad(getattr(part, "path", "messages"), "is allowed only in an assistant's turn")

    def _end_user(self) -> None:
        content = [*self._results, *self._blocks]
        if self._later_system and not content:  # after an answer, without a user turn
            content = [_reminder(block) for block in self._later_system]
            self._later_system = []
        if content:
            self.messages.append({"role": "user", "content": content})
        if self._later_system:
            self.messages.append({"role": "system", "content": self._later_system})
        self._results, self._blocks, self._later_system = [], [], []

    # --- the assistant's turn ---

    def _open_assistant(self, turn: Turn) -> None:
        if not self.messages:
            self._losses.add(turn.path, "Anthropic requires a user message first: one is added before this one")
            self.messages.append({"role": "user", "content": [{"type": "text", "text": OPENING}]})
        self._assistant = []

    def _end_assistant(self) -> None:
        if self._assistant:
            if self.messages and self.messages[-1]["role"] == "assistant":
                self.messages[-1]["content"].extend(self._assistant)
            else:
                self.messages.append({"role": "assistant", "content": self._assistant})
        self._assistant = None

    def _assistant_part(self, part: RequestPart) -> None:
        blocks = self._assistant
        assert blocks is not None
        match part:
            case Text():
                block = self._text(part)
                if block is not None:
                    blocks.append(block)
            case ToolCall():
                blocks.append(self._call(part))
            case Reasoning():
                if part.fmt is Format.ANTHROPIC and part.raw is not None:
                    blocks.append(part.raw)
                else:
                    self._losses.add(part.path, _NOT_MINTED_HERE)
            case Verbatim():
                blocks.extend(part.raw)
            case Opaque():
                self._foreign(part)
            case Image() | Document() | ToolResult():
                raise bad(part.path, "is allowed only in a user's turn")

    def _call(self, call: ToolCall) -> Json:
        block: Json = {
            "type": "tool_use",
            "id": fit(call.id, _ID_LIMIT),
            "name": self._names.upstream(call.name, call.namespace),
            "input": self._input(call),
        }
        return self._marked(block, call.cache)

    def _input(self, call: ToolCall) -> Json:
        if isinstance(call.input, dict):
            return call.input
        written = call.arguments or ""
        if call.variety == "custom":
            return {"input": written}
        if not written.strip():
            return {}
        try:
            parsed = jsontext.parse(written)
        except jsontext.Garbled:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
        self._losses.add(call.path, "arguments that are not a JSON object are sent as text")
        return {"_raw_arguments": written}

    # --- blocks ---

    def _text(self, part: Text) -> Json | None:
        if not part.text or part.text.isspace():
            if part.text:
                self._losses.add(part.path, _EMPTY)
            return None
        if part.cache is None:
            return {"type": "text", "text": part.text}
        return self._marked({"type": "text", "text": part.text}, part.cache)

    def _marked(self, block: Json, cache: Json | None) -> Json:
        if cache is not None:
            block["cache_control"] = cache
            self.breakpoints.append(block)
        return block

    def _image(self, image: Image) -> Json:
        if image.detail not in ("", "auto"):
            self._losses.add(image.detail_path, "Anthropic selects the resolution")
        if image.url:
            return self._marked({"type": "image", "source": {"type": "url", "url": image.url}}, image.cache)
        if image.media_type not in _IMAGE_TYPES:
            raise bad(
                image.path,
                f"Anthropic accepts JPEG, PNG, GIF and WebP, not {quoted(image.media_type)}",
                "unsupported_content",
            )
        source = {"type": "base64", "media_type": image.media_type, "data": image.data}
        return self._marked({"type": "image", "source": source}, image.cache)

    def _document(self, document: Document) -> Json:
        source: Json
        if document.text is not None:
            source = {"type": "text", "media_type": "text/plain", "data": document.text}
        elif document.url:
            source = {"type": "url", "url": document.url}
        else:
            source = {"type": "base64", "media_type": document.media_type, "data": document.data}
        block: Json = {"type": "document", "source": source}
        if document.title:
            block["title"] = document.title
        return self._marked(block, document.cache)

    def _result(self, result: ToolResult) -> Json:
        block: Json = {"type": "tool_result", "tool_use_id": fit(result.id, _ID_LIMIT)}
        content = result.content
        if isinstance(content, str):
            if content:
                block["content"] = content
        else:
            blocks: list[Json] = []
            for part in content:
                self._result_part(part, blocks)
            if blocks:
                block["content"] = blocks
        if result.is_error:
            block["is_error"] = True
        return self._marked(block, result.cache)

    def _result_part(self, part: Text | Image | Document | Opaque, blocks: list[Json]) -> None:
        match part:
            case Text():
                block = self._text(part)
                if block is not None:
                    blocks.append(block)
            case Image():
                blocks.append(self._image(part))
            case Document():
                blocks.append(self._document(part))
            case Opaque():
                self._foreign(part)

    def _foreign(self, part: Opaque) -> None:
        policy.settle(policy.CONTENT[part.fmt][part.type], Target.ANTHROPIC, part.path, self._losses)


def _reminder(block: Json) -> Json:
    """Instructions as Anthropic's own clients send them to models that accept none inside the conversation."""
    return {**block, "text": f"<system-reminder>\n{block['text']}\n</system-reminder>"}
