"""Input items of a Responses request, each read into one turn of the neutral form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccproxy.translate import attachments, capsule, jsontext, policy
from ccproxy.translate.checks import (
    a_list,
    an_object,
    bad,
    note_unknown,
    optional_list,
    optional_object,
    optional_text,
    pick,
    quoted,
    text,
)
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses
from ccproxy.translate.neutral import (
    Content,
    Document,
    Image,
    Opaque,
    Reasoning,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Variety,
)
from ccproxy.translate.openai_responses.client_tools import CLIENT_TOOLS, VARIETY_OF_ITEM
from ccproxy.translate.openai_responses.tools import parse_tools

Json = dict[str, Any]

# Members that a server adds for its own bookkeeping: the model does not see them.
_BOOKKEEPING = frozenset(("type", "id", "status", "created_by", "internal_chat_message_metadata_passthrough"))
_MESSAGE = _BOOKKEEPING | {"role", "content", "phase"}
_CALL = _BOOKKEEPING | {"call_id", "name", "namespace", "arguments", "input", "caller", "async"}
_OUTPUT = _BOOKKEEPING | {"call_id", "output", "name", "namespace", "caller", "max_output_length"}
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def parse_input(request: Request, losses: Losses) -> None:
    """Read `input` into turns. Tools in items are added to those of the request."""
    value = request.raw.get("input")
    if isinstance(value, str):
        request.turns.append(Turn("user", [Text(value, "input")], "input"))
        return
    items = a_list(value, "input")
    tools = _Tools(request)
    for i, item in enumerate(items):
        path = f"input[{i}]"
        kind = an_object(item, path).get("type")
        if kind is None or kind == "message":
            if kind is None and "role" not in item and "id" in item:
                kind = "item_reference"
            else:
                request.turns.append(_message(item, path, losses))
                continue
        reader = _ITEMS.get(kind) if isinstance(kind, str) else None
        if reader is not None:
            turn = reader(item, path, losses, tools)
            if turn is not None:
                request.turns.append(turn)
        elif isinstance(kind, str) and kind in policy.CONTENT[Format.OPENAI_RESPONSES]:
            request.turns.append(Turn("assistant", [Opaque(path, Format.OPENAI_RESPONSES, kind, item)], path))
        else:
            raise bad(f"{path}.type", f"unknown input item {quoted(kind)}")


# --- messages --------------------------------------------------------------------------------------------------------


def _message(item: Json, path: str, losses: Losses) -> Turn:
    role = _ROLES.get(text(item.get("role"), f"{path}.role"))
    if role is None:
        raise bad(f"{path}.role", "must be user, assistant, system or developer")
    if len(item) > 2:
        note_unknown(item, _MESSAGE, path, losses)
    content = item.get("content")
    if isinstance(content, str):
        return Turn(role, [Text(content, f"{path}.content")], path)
    return Turn(role, list(_parts(content, f"{path}.content", losses)), path)


def _parts(content: object, path: str, losses: Losses) -> list[Text | Image | Document]:
    parts = []
    for i, part in enumerate(a_list(content, path)):
        where = f"{path}[{i}]"
        kind = an_object(part, where).get("type")
        parts.append(pick(_PARTS, kind, f"{where}.type", "content part")(part, where, losses))
    return parts


def _cache(part: Json, path: str) -> Json | None:
    mark = optional_object(part.get("prompt_cache_breakpoint"), f"{path}.prompt_cache_breakpoint")
    if not mark:
        return None
    return {"type": "ephemeral", "ttl": "1h"} if mark.get("ttl") else {"type": "ephemeral"}


def _text(part: Json, path: str, losses: Losses) -> Text:
    if len(part) > 2:
        note_unknown(
            part, frozenset(("type", "text", "prompt_cache_breakpoint", "logprobs", "annotations")), path, losses
        )
        if part.get("annotations"):
            losses.add(f"{path}.annotations", "citations of an earlier answer")
        return Text(text(part.get("text"), f"{path}.text"), path, _cache(part, path))
    return Text(text(part.get("text"), f"{path}.text"), path)


def _refusal(part: Json, path: str, losses: Losses) -> Text:
    note_unknown(part, frozenset(("type", "refusal")), path, losses)
    return Text(text(part.get("refusal"), f"{path}.refusal"), path)


def _file_id(path: str) -> Exception:
    return bad(
        f"{path}.file_id",
        "only the provider that stores the file knows its id: send the data instead",
        "unsupported_content",
    )


def _image(part: Json, path: str, losses: Losses) -> Image:
    note_unknown(part, frozenset(("type", "image_url", "file_id", "detail", "prompt_cache_breakpoint")), path, losses)
    if part.get("image_url") is None and part.get("file_id") is not None:
        raise _file_id(path)
    image = attachments.image(text(part.get("image_url"), f"{path}.image_url"), path)
    image.detail, image.detail_path = optional_text(part.get("detail"), f"{path}.detail"), f"{path}.detail"
    image.cache = _cache(part, path)
    return image


def _file(part: Json, path: str, losses: Losses) -> Document | Image:
    members = frozenset(("type", "file_data", "file_url", "file_id", "filename", "detail", "prompt_cache_breakpoint"))
    note_unknown(part, members, path, losses)
    name = optional_text(part.get("filename"), f"{path}.filename")
    if part.get("detail") not in (None, "auto"):
        losses.add(f"{path}.detail", "the upstream selects the resolution")
    document: Document | Image
    if part.get("file_data") is not None:
        document = attachments.file(text(part["file_data"], f"{path}.file_data"), name, path)
    elif part.get("file_url") is not None:
        document = Document(path, url=text(part["file_url"], f"{path}.file_url"), title=name)
    elif part.get("file_id") is not None:
        raise _file_id(path)
    else:
        raise bad(path, "needs file_data or file_url")
    document.cache = _cache(part, path)
    return document


def _audio(_part: Json, path: str, _losses: Losses) -> Text:
    raise bad(path, "audio input is not supported by this upstream", "unsupported_content")


_PARTS: dict[str, Callable[[Json, str, Losses], Text | Image | Document]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}

# --- reasoning, calls and results ------------------------------------------------------------------------------------

_Reader = Callable[[Json, str, Losses, "_Tools"], Turn | None]


class _Tools:
    """The tools of a request, to which items add more. The list only grows, without duplicates."""

    def __init__(self, request: Request) -> None:
        self._tools = request.tools
        self._names = {(tool.namespace, tool.name) for tool in request.tools}

    def offer(self, tools: list[Tool]) -> None:
        """Add new tools."""
        for tool in tools:
            name = (tool.namespace, tool.name)
            if name not in self._names:
                self._names.add(name)
                self._tools.append(tool)


def _reasoning(item: Json, path: str, _losses: Losses, _tools: _Tools) -> Turn:
    sealed = optional_text(item.get("encrypted_content"), f"{path}.encrypted_content")
    visible = "\n\n".join(
        part["text"]
        for part in (
            *optional_list(item.get("summary"), f"{path}.summary"),
            *optional_list(item.get("content"), f"{path}.content"),
        )
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
    reasoning = Reasoning(path, None, None, visible)
    if capsule.is_sealed(sealed):
        opened = capsule.unseal(sealed)
        if opened is not None and opened.fmt is not None:
            reasoning.fmt, reasoning.raw = opened.fmt, opened.raw
    elif sealed:
        reasoning.fmt, reasoning.raw = Format.OPENAI_RESPONSES, item
    return Turn("assistant", [reasoning], path)


def _note_caller(item: Json, path: str, losses: Losses) -> None:
    caller = item.get("caller")
    if isinstance(caller, dict) and caller.get("type") != "direct":
        losses.add(f"{path}.caller", "programmatic tool calling works only at OpenAI")
    if item.get("async"):
        losses.add(f"{path}.async", "asynchronous calls work only at OpenAI")


def _function_call(item: Json, path: str, losses: Losses, _tools: _Tools) -> Turn:
    kind = item["type"]
    field = "arguments" if kind == "function_call" else "input"
    if len(item) > 4:
        note_unknown(item, _CALL, path, losses)
        _note_caller(item, path, losses)
    call = ToolCall(
        path,
        text(item.get("call_id"), f"{path}.call_id"),
        text(item.get("name"), f"{path}.name"),
        optional_text(item.get(field), f"{path}.{field}"),
        variety="function" if kind == "function_call" else "custom",
        namespace=optional_text(item.get("namespace"), f"{path}.namespace"),
    )
    return Turn("assistant", [call], path)


def _output(item: Json, path: str, losses: Losses, _tools: _Tools) -> Turn:
    if len(item) > 3:
        note_unknown(item, _OUTPUT, path, losses)
        _note_caller(item, path, losses)
    output = item.get("output")
    content: str | list[Content]
    content = output if isinstance(output, str) else list(_parts(output, f"{path}.output", losses))
    variety: Variety = "custom" if item["type"] == "custom_tool_call_output" else "function"
    return Turn(
        "user", [ToolResult(path, text(item.get("call_id"), f"{path}.call_id"), content, variety=variety)], path
    )


def _client_call(item: Json, path: str, losses: Losses, _tools: _Tools) -> Turn:
    """A call item with its own type, as a call of the function for that tool."""
    variety = VARIETY_OF_ITEM[item["type"]]
    tool = CLIENT_TOOLS[variety]
    note_unknown(item, _BOOKKEEPING | {"call_id", "caller", "environment", "execution", tool.member}, path, losses)
    _note_caller(item, path, losses)
    identity = text(item.get("call_id"), f"{path}.call_id")
    arguments = item.get(tool.member)
    if isinstance(arguments, str):
        return Turn("assistant", [ToolCall(path, identity, tool.name, arguments, variety=variety)], path)
    parsed = an_object(arguments, f"{path}.{tool.member}")
    return Turn("assistant", [ToolCall(path, identity, tool.name, input=parsed, variety=variety)], path)


def _client_output(item: Json, path: str, losses: Losses, _tools: _Tools) -> Turn:
    """The result of such a call, as text."""
    kind: str = item["type"]
    variety = VARIETY_OF_ITEM[kind.removesuffix("_output")]
    note_unknown(item, _OUTPUT, path, losses)
    field = "id" if kind == "local_shell_call_output" and item.get("call_id") is None else "call_id"
    identity = text(item.get(field), f"{path}.{field}")
    output = item.get("output")
    if kind == "apply_patch_call_output":
        words = [w for w in (item.get("status"), output) if isinstance(w, str) and w]
        return Turn(
            "user", [ToolResult(path, identity, "\n".join(words), item.get("status") == "failed", variety)], path
        )
    shown = output if isinstance(output, str) else jsontext.dump(a_list(output, f"{path}.output"))
    return Turn("user", [ToolResult(path, identity, shown, variety=variety)], path)


def _search_call(item: Json, path: str, losses: Losses, tools: _Tools) -> Turn:
    if item.get("execution") == "client":
        return _client_call(item, path, losses, tools)
    return Turn("assistant", [Opaque(path, Format.OPENAI_RESPONSES, "server:tool_search_call", item)], path)


def _search_output(item: Json, path: str, losses: Losses, tools: _Tools) -> Turn:
    if item.get("execution") != "client":
        return Turn("assistant", [Opaque(path, Format.OPENAI_RESPONSES, "server:tool_search_output", item)], path)
    results = parse_tools(item.get("tools"), f"{path}.tools", losses)
    tools.offer(results)
    names = dict.fromkeys(f"{tool.namespace}.{tool.name}" if tool.namespace else tool.name for tool in results)
    shown = "Found: " + ", ".join(names) if names else "Nothing found."
    return Turn(
        "user", [ToolResult(path, text(item.get("call_id"), f"{path}.call_id"), shown, variety="tool_search")], path
    )


def _additional_tools(item: Json, path: str, losses: Losses, tools: _Tools) -> None:
    tools.offer(parse_tools(item.get("tools"), f"{path}.tools", losses))


_ITEMS: dict[str, _Reader] = {
    "reasoning": _reasoning,
    "function_call": _function_call,
    "custom_tool_call": _function_call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "local_shell_call": _client_call,
    "shell_call": _client_call,
    "apply_patch_call": _client_call,
    "local_shell_call_output": _client_output,
    "shell_call_output": _client_output,
    "apply_patch_call_output": _client_output,
    "tool_search_call": _search_call,
    "tool_search_output": _search_output,
    "additional_tools": _additional_tools,
}
