"""What becomes of everything a format can say, for each kind of upstream: the tables that the translator obeys and the reference is generated from.

    MAP      said exactly                          NEAR    said approximately, always in the same way
    EMULATE  done by ccproxy itself                DROP    left out, and listed in `x-ccproxy-loss`
    REJECT   400 naming the JSON path              PROXY   for ccproxy, not for the upstream
    PASS     unchanged, for the upstream to decide (native requests only)

Content is never dropped silently; switches that change what comes back are refused; tuning hints are dropped and listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from ccproxy.translate import codex
from ccproxy.translate.checks import UNKNOWN_FIELD, bad
from ccproxy.translate.codex import Native
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses, child

Json = dict[str, Any]


class Target(StrEnum):
    """A kind of upstream: its format, and for Responses which backend."""

    ANTHROPIC = "anthropic"
    CHAT = "openai_chat"
    RESPONSES = "openai_responses"
    CODEX = "codex"


class Action(StrEnum):
    """What happens to a field, a part or a tool."""

    MAP = "map"
    NEAR = "map~"
    EMULATE = "emulate"
    DROP = "drop"
    REJECT = "400"
    PROXY = "proxy"
    PASS = "pass"  # noqa: S105 - not a password


MAP, NEAR, EMULATE, DROP, REJECT, PROXY, PASS = Action


class Row(NamedTuple):
    """One line of a table. `why` is the reason of a loss or a refusal. `harmless` values ask for nothing beyond the default: leaving them out is no loss."""

    actions: Mapping[Target, Action]
    note: str
    why: str
    harmless: tuple[object, ...] = ()


def _row(
    note: str = "",
    *,
    all: Action | None = None,  # noqa: A002 — the word of the tables
    a: Action | None = None,
    c: Action | None = None,
    r: Action | None = None,
    x: Action | None = None,
    why: str = "",
    harmless: tuple[object, ...] = (),
) -> Row:
    """One action for `all` targets, then a: Anthropic, c: Chat, r: Responses, x: Codex (as `r` unless said). `why` is the note unless said."""
    actions: dict[Target, Action] = {}
    for target, action in ((Target.ANTHROPIC, a), (Target.CHAT, c), (Target.RESPONSES, r), (Target.CODEX, x or r)):
        chosen = action or all
        if chosen is not None:
            actions[target] = chosen
    return Row(actions, note, why or note, harmless)


class _OnCodex(TypedDict, total=False):
    x: Action
    why: str


def _on_codex(parameter: str) -> _OnCodex:
    """How a field is handled on Codex that becomes this parameter of Responses: dropped, if the backend refuses it."""
    return {"x": DROP, "why": "the Codex backend refuses this parameter"} if parameter in codex.REFUSED else {}


_CACHING = "OpenAI caches prompts by itself"
_NO_SAMPLING = "no such setting"
_STATELESS = "ccproxy keeps no conversations: send the whole history"
_ONE_CHOICE = "one answer a request"
_NOT_YOURS = "an account setting of the other provider"

# --- top-level request fields ----------------------------------------------------------------------------------------

_ANTHROPIC_FIELDS = {
    "model": _row("routing and `models` decide", all=MAP),
    "max_tokens": _row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "messages": _row(all=MAP),
    "system": _row("in place: leading instructions stay leading", all=MAP),
    "tools": _row(all=MAP),
    "tool_choice": _row(all=MAP),
    "thinking": _row("as reasoning effort; budget < 2048 low, < 8192 medium, < 24576 high, else xhigh", all=NEAR),
    "output_config": _row("`effort` and `format`", all=MAP),
    "output_format": _row("the older name of `output_config.format`", all=MAP),
    "stop_sequences": _row(
        "Responses has no stop: ccproxy cuts the stream at the match", c=MAP, r=EMULATE, harmless=([],)
    ),
    "stream": _row("Codex always streams; ccproxy folds it for you", all=PROXY),
    "metadata": _row("`user_id`: user, safety_identifier; on Codex the seed of `prompt_cache_key`", all=NEAR),
    "service_tier": _row(
        "standard_only is default",
        all=NEAR,
        x=DROP,
        why="the Codex backend accepts the priority tier only",
        harmless=("auto",),
    ),
    "speed": _row("`fast` is the priority tier", all=NEAR, harmless=("standard",)),
    "temperature": _row("Responses: not with reasoning models", c=MAP, r=MAP, **_on_codex("temperature")),
    "top_p": _row("Responses: not with reasoning models", c=MAP, r=MAP, **_on_codex("top_p")),
    "top_k": _row(_NO_SAMPLING, all=DROP),
    "cache_control": _row(_CACHING, all=DROP),
    "container": _row("code execution runs at Anthropic only; skills are refused", all=DROP),
    "mcp_servers": _row("remote MCP servers are called by Anthropic only", all=REJECT, harmless=([],)),
    "thread": _row(_STATELESS, all=REJECT),
    "compaction": _row("server-side compaction cannot be told to OpenAI", all=REJECT),
    "context_management": _row("server-side context editing", all=DROP),
    "diagnostics": _row("cache diagnostics", all=DROP),
    "inference_geo": _row(_NOT_YOURS, all=DROP),
    "user_profile_id": _row(_NOT_YOURS, all=DROP),
    "workspace_id": _row(_NOT_YOURS, all=DROP),
    "betas": _row("a header, not a field", all=DROP, harmless=([],)),
    "billing_policy": _row(_NOT_YOURS, all=DROP),
    "fallbacks": _row("model fallbacks", all=DROP, harmless=([],)),
    "fallback_credit_token": _row(_NOT_YOURS, all=DROP),
}

_CHAT_FIELDS = {
    "model": _row("routing and `models` decide", all=MAP),
    "messages": _row(all=MAP),
    "max_completion_tokens": _row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "max_tokens": _row("the older name of `max_completion_tokens`", all=MAP, **_on_codex("max_output_tokens")),
    "stream": _row(all=PROXY),
    "stream_options": _row("`include_usage` drives what ccproxy sends", all=PROXY),
    "n": _row(_ONE_CHOICE, all=REJECT, harmless=(1,)),
    "stop": _row("Responses has no stop: ccproxy cuts the stream at the match", a=MAP, r=EMULATE),
    "temperature": _row(
        "Anthropic: at most 1, where version and model accept it", a=NEAR, r=MAP, **_on_codex("temperature")
    ),
    "top_p": _row("Anthropic: where version and model accept it", a=NEAR, r=MAP, **_on_codex("top_p")),
    "top_k": _row("an extension of other servers; Anthropic knows it", a=NEAR, r=DROP),
    "seed": _row(_NO_SAMPLING, all=DROP),
    "frequency_penalty": _row(_NO_SAMPLING, all=DROP, harmless=(0,)),
    "presence_penalty": _row(_NO_SAMPLING, all=DROP, harmless=(0,)),
    "logit_bias": _row(_NO_SAMPLING, all=DROP, harmless=({},)),
    "logprobs": _row("token probabilities", all=REJECT, harmless=(False,)),
    "top_logprobs": _row("token probabilities", all=REJECT, harmless=(0,)),
    "response_format": _row("`json_object` is dropped on Anthropic", all=MAP, harmless=({"type": "text"},)),
    "tools": _row(all=MAP),
    "tool_choice": _row(all=MAP),
    "parallel_tool_calls": _row(all=MAP),
    "functions": _row("the older form of `tools`", all=MAP),
    "function_call": _row("the older form of `tool_choice`", all=MAP),
    "reasoning_effort": _row("clamped to what the model offers", all=NEAR),
    "reasoning": _row("OpenRouter's form: `effort`, `max_tokens`, `enabled`, `exclude`", all=NEAR),
    "thinking": _row("Anthropic's form, as other servers take it", all=NEAR),
    "verbosity": _row(_NO_SAMPLING, a=DROP, r=MAP),
    "modalities": _row("text only", all=REJECT, harmless=(["text"], [])),
    "audio": _row("no audio output", all=REJECT),
    "prediction": _row("a hint for speed", all=DROP),
    "web_search_options": _row("the web search tool; `search_context_size` only on Responses", all=NEAR),
    "moderation": _row("moderation runs at OpenAI's own endpoint", all=DROP),
    "metadata": _row("labels of stored completions", all=DROP, harmless=({},)),
    "store": _row("nothing is stored", all=DROP, harmless=(False,)),
    "user": _row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "safety_identifier": _row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "service_tier": _row(
        "Anthropic: default is standard_only, priority and fast are `speed` if switched on",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": _row("Anthropic needs none", a=DROP, r=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": _row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": _row("cache settings of OpenAI", all=DROP),
}

_RESPONSES_FIELDS = {
    "model": _row("routing and `models` decide", all=MAP),
    "input": _row("Codex: a string becomes a list, the role system developer", all=MAP),
    "instructions": _row("the first system text; Codex wants the key and takes it empty", all=MAP),
    "max_output_tokens": _row("not on Codex", all=MAP),
    "max_tool_calls": _row("a limit on OpenAI's own tools", all=DROP),
    "stream": _row("Codex always streams; ccproxy folds it for you", all=PROXY),
    "stream_options": _row("ccproxy never obfuscates", all=PROXY),
    "tools": _row(all=MAP),
    "tool_choice": _row(all=MAP),
    "parallel_tool_calls": _row(all=MAP),
    "reasoning": _row("`effort` clamped to what the model offers; `summary` makes thinking visible", all=NEAR),
    "text": _row("`format`; `verbosity` not on Anthropic", all=MAP),
    "include": _row("drives what ccproxy sends", all=PROXY),
    "temperature": _row("Anthropic: at most 1, where version and model accept it", a=NEAR, c=MAP),
    "top_p": _row("Anthropic: where version and model accept it", a=NEAR, c=MAP),
    "top_logprobs": _row("token probabilities", all=REJECT, harmless=(0,)),
    "store": _row("nothing is stored, and the answer says so", all=DROP, harmless=(False,)),
    "previous_response_id": _row(_STATELESS, all=REJECT),
    "conversation": _row(_STATELESS, all=REJECT),
    "prompt": _row("a template stored at OpenAI", all=REJECT),
    "background": _row(_STATELESS, all=REJECT, harmless=(False,)),
    "background_options": _row(_STATELESS, all=DROP),
    "truncation": _row("server-side truncation", all=DROP, harmless=("disabled",)),
    "context_management": _row("server-side context editing", all=DROP, harmless=([],)),
    "metadata": _row("labels of stored responses", all=DROP, harmless=({},)),
    "client_metadata": _row("labels that Codex adds", all=DROP),
    "user": _row("Anthropic: `metadata.user_id`", all=MAP),
    "safety_identifier": _row("Anthropic: `metadata.user_id`", all=MAP),
    "service_tier": _row(
        "Anthropic: default is standard_only, priority and fast are `speed` if switched on",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": _row("Anthropic needs none", a=DROP, c=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": _row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": _row("cache settings of OpenAI", all=DROP),
    "moderation": _row("moderation runs at OpenAI's own endpoint", all=DROP),
    "access_programs": _row("programs of an OpenAI account", all=DROP),
    "image": _row("image context settings of OpenAI", all=DROP),
}

# A Responses request to Codex is not translated: what happens to it is in the table of `codex`.
_NATIVE_ACTIONS = {
    Native.KEEP: MAP,
    Native.ADJUST: NEAR,
    Native.SET: PROXY,
    Native.REMOVE: DROP,
    Native.LEAVE: PASS,
}

FIELDS: Mapping[Format, Mapping[str, Row]] = {
    Format.ANTHROPIC: _ANTHROPIC_FIELDS,
    Format.OPENAI_CHAT: _CHAT_FIELDS,
    Format.OPENAI_RESPONSES: {
        name: row._replace(actions={**row.actions, Target.CODEX: _NATIVE_ACTIONS[codex.PARAMETERS[name].native]})
        for name, row in _RESPONSES_FIELDS.items()
    },
}

# --- content of a request --------------------------------------------------------------------------------------------

_SERVER_SIDE = "the work of the provider's own tool: its text stays, its records do not travel"

_ANTHROPIC_CONTENT = {
    "text": _row(all=MAP),
    "image": _row("file ids are refused: they are known to one provider only", all=MAP),
    "document": _row("PDF as a file; plain text and content with a header line; Chat has no URL for files", all=NEAR),
    "search_result": _row("text with a header line", all=NEAR),
    "thinking": _row("back to the provider that minted it, and to no other", all=MAP),
    "redacted_thinking": _row("back to the provider that minted it, and to no other", all=MAP),
    "tool_use": _row(all=MAP),
    "tool_result": _row("`is_error` becomes a prefix `Error: `; Chat takes images in a user message after it", all=MAP),
    "tool_reference": _row("the tool's name as text", all=NEAR),
    "browser_state": _row("the browser toolset runs with Claude only", all=REJECT),
    "server_tool_use": _row(_SERVER_SIDE, all=DROP),
    "web_search_tool_result": _row(_SERVER_SIDE, all=DROP),
    "web_fetch_tool_result": _row(_SERVER_SIDE, all=DROP),
    "code_execution_tool_result": _row(_SERVER_SIDE, all=DROP),
    "bash_code_execution_tool_result": _row(_SERVER_SIDE, all=DROP),
    "text_editor_code_execution_tool_result": _row(_SERVER_SIDE, all=DROP),
    "tool_search_tool_result": _row(_SERVER_SIDE, all=DROP),
    "advisor_tool_result": _row(_SERVER_SIDE, all=DROP),
    "mcp_tool_use": _row(_SERVER_SIDE, all=DROP),
    "mcp_tool_result": _row(_SERVER_SIDE, all=DROP),
    "mcp_tool_listing": _row("all tools are offered at once", all=DROP),
    "tool_addition": _row("all tools are offered at once", all=DROP),
    "tool_removal": _row("all tools are offered at once", all=DROP),
    "fallback": _row("a record of which model answered", all=DROP),
    "compaction": _row("its summary as text; the messages before it are sent as well", all=NEAR),
    "container_upload": _row("files in Anthropic's sandbox", all=REJECT),
}

_CHAT_CONTENT = {
    "text": _row(all=MAP),
    "refusal": _row("text", all=NEAR),
    "image_url": _row("`detail` only on Responses", all=MAP),
    "file": _row("PDF, or text in UTF-8; file ids are refused", all=MAP),
    "input_audio": _row("no audio input", all=REJECT),
    "role:system": _row("in place; Anthropic: leading ones are `system`", all=MAP),
    "role:developer": _row("in place; Anthropic: leading ones are `system`", all=MAP),
    "role:user": _row("`name` is dropped", all=MAP),
    "role:assistant": _row("`audio` is refused; `reasoning_details` go back to who minted them", all=MAP),
    "role:tool": _row(all=MAP),
    "role:function": _row("a tool result", all=MAP),
}

_RESPONSES_CONTENT = {
    "message": _row(all=MAP),
    "input_text": _row(all=MAP),
    "output_text": _row(all=MAP),
    "refusal": _row("text", all=NEAR),
    "input_image": _row("file ids are refused; `detail` only on Chat", all=MAP),
    "input_file": _row("PDF, or text in UTF-8; file ids are refused; Chat has no URL for files", all=MAP),
    "input_audio": _row("no audio input", all=REJECT),
    "reasoning": _row("back to the provider that minted it, and to no other", all=MAP),
    "function_call": _row(all=MAP),
    "function_call_output": _row(all=MAP),
    "custom_tool_call": _row("Anthropic: a tool with one text field `input`", all=NEAR),
    "custom_tool_call_output": _row(all=MAP),
    "local_shell_call": _row("a call of a function of that name", all=NEAR),
    "local_shell_call_output": _row(all=NEAR),
    "shell_call": _row("a call of a function of that name", all=NEAR),
    "shell_call_output": _row("its JSON", all=NEAR),
    "apply_patch_call": _row("a call of a function of that name", all=NEAR),
    "apply_patch_call_output": _row(all=NEAR),
    "tool_search_call": _row("run by the client: a call of a function of that name", all=NEAR),
    "tool_search_output": _row("run by the client: its tools are offered from then on", all=NEAR),
    "server:tool_search_call": _row(_SERVER_SIDE, all=DROP),
    "server:tool_search_output": _row(_SERVER_SIDE, all=DROP),
    "additional_tools": _row("offered with the others", all=NEAR),
    "web_search_call": _row(_SERVER_SIDE, all=DROP),
    "file_search_call": _row(_SERVER_SIDE, all=DROP),
    "code_interpreter_call": _row(_SERVER_SIDE, all=DROP),
    "image_generation_call": _row(_SERVER_SIDE, all=DROP),
    "mcp_list_tools": _row(_SERVER_SIDE, all=DROP),
    "mcp_call": _row(_SERVER_SIDE, all=DROP),
    "program": _row("programmatic tool calling runs at OpenAI only", all=REJECT),
    "program_output": _row("programmatic tool calling runs at OpenAI only", all=REJECT),
    "mcp_approval_request": _row("remote MCP servers are called by OpenAI only", all=REJECT),
    "mcp_approval_response": _row("remote MCP servers are called by OpenAI only", all=REJECT),
    "computer_call": _row("the computer tool of OpenAI", all=REJECT),
    "computer_call_output": _row("the computer tool of OpenAI", all=REJECT),
    "configuration_update": _row("settings for the rest of the conversation", all=DROP),
    "compaction": _row("an encrypted summary that only OpenAI reads", all=REJECT),
    "compaction_trigger": _row("server-side compaction", all=REJECT),
    "item_reference": _row(_STATELESS, all=REJECT),
}

CONTENT: Mapping[Format, Mapping[str, Row]] = {
    Format.ANTHROPIC: _ANTHROPIC_CONTENT,
    Format.OPENAI_CHAT: _CHAT_CONTENT,
    Format.OPENAI_RESPONSES: _RESPONSES_CONTENT,
}

# --- tools; a name ending in `*` stands for every version -------------------------------------------------------------

_CLIENT_RUN = "a function with the published schema: the client runs it"
_THERE_ONLY = "runs at the other provider only"

_ANTHROPIC_TOOLS = {
    "custom": _row("`strict` is always written; `eager_input_streaming` is dropped", all=MAP),
    "bash_*": _row(_CLIENT_RUN, all=NEAR),
    "text_editor_*": _row(_CLIENT_RUN, all=NEAR),
    "memory_*": _row(_CLIENT_RUN, all=NEAR),
    "web_search_*": _row("`blocked_domains` and `max_uses` are dropped", all=NEAR),
    "web_fetch_*": _row(_THERE_ONLY, all=REJECT),
    "code_execution_*": _row(_THERE_ONLY, all=REJECT),
    "tool_search_tool_*": _row("all tools are offered at once", all=DROP),
    "computer_*": _row(_THERE_ONLY, all=REJECT),
    "browser_toolset_*": _row(_THERE_ONLY, all=REJECT),
    "advisor_*": _row(_THERE_ONLY, all=REJECT),
    "mcp_toolset": _row(_THERE_ONLY, all=REJECT),
}

_CHAT_TOOLS = {
    "function": _row("Anthropic: a strict schema is rewritten as its own SDK does", all=MAP),
    "custom": _row("Anthropic: a tool with one text field `input`, the grammar in its description", a=NEAR, r=MAP),
}

_RESPONSES_TOOLS = {
    "function": _row("Anthropic: a strict schema is rewritten as its own SDK does", all=MAP),
    "custom": _row("a tool with one text field `input`, the grammar in its description", all=NEAR),
    "namespace": _row("each as `namespace__tool`, and back", all=NEAR),
    "local_shell": _row("a function with the schema of its action, and back", all=NEAR),
    "shell": _row("a function with the schema of its action, and back; a container is refused", all=NEAR),
    "apply_patch": _row("a function with the schema of its operation, and back", all=NEAR),
    "tool_search": _row(
        "run by the client: a function, and back; Anthropic has its own for the server", a=NEAR, c=NEAR
    ),
    "web_search*": _row("`search_context_size` is dropped on Anthropic", all=NEAR),
    "file_search": _row(_THERE_ONLY, all=REJECT),
    "code_interpreter": _row(_THERE_ONLY, all=REJECT),
    "image_generation": _row(_THERE_ONLY, all=REJECT),
    "mcp": _row(_THERE_ONLY, all=REJECT),
    "computer": _row(_THERE_ONLY, all=REJECT),
    "computer_use_preview": _row(_THERE_ONLY, all=REJECT),
    "programmatic_tool_calling": _row(_THERE_ONLY, all=REJECT),
}

TOOLS: Mapping[Format, Mapping[str, Row]] = {
    Format.ANTHROPIC: _ANTHROPIC_TOOLS,
    Format.OPENAI_CHAT: _CHAT_TOOLS,
    Format.OPENAI_RESPONSES: _RESPONSES_TOOLS,
}


def tool_row(fmt: Format, kind: str) -> Row | None:
    """The line for a tool of this type, whatever its version."""
    table = TOOLS[fmt]
    found = table.get(kind)
    if found is None:
        found = next((row for name, row in table.items() if name.endswith("*") and kind.startswith(name[:-1])), None)
    return found


# --- obeying them ----------------------------------------------------------------------------------------------------


def screen_fields(client: Format, target: Target, body: Json, losses: Losses) -> None:
    """Apply the field table to a request: note what is dropped, refuse what must be.

    Raises `BadRequest` for a field whose loss would change what comes back.
    """
    table = FIELDS[client]
    for name, value in body.items():
        row = table.get(name)
        if row is None:
            if value is not None:
                losses.add(child("", str(name)), UNKNOWN_FIELD)
        elif value is not None:
            settle(row, target, name, losses, value)


def settle(row: Row, target: Target, path: str, losses: Losses, value: object = None) -> bool:
    """Note or refuse what this line drops or rejects; True when it is to be translated."""
    action = row.actions.get(target, MAP)
    if action is DROP or action is REJECT:
        if value is not None and any(value == harmless and type(value) is type(harmless) for harmless in row.harmless):
            return False
        if action is REJECT:
            raise bad(path, f"cannot be told to this upstream: {row.why}", code="unsupported_parameter")
        losses.add(path, row.why)
        return False
    return True
