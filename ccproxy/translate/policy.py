"""What happens to each field, type of content and tool of a format, for each kind of upstream: tables for the translator and for the reference page.

    MAP      sent with the same meaning            NEAR    sent as the closest equivalent, always the same one
    EMULATE  done by ccproxy itself                DROP    left out, and listed in `x-ccproxy-loss`
    REJECT   400 with the JSON path                PROXY   read by ccproxy, not sent
    PASS     unchanged, for the upstream to decide (native requests only)

Content is never dropped without a loss, options that change the answer are refused, and hints are dropped and listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ccproxy.translate import codex
from ccproxy.translate.checks import UNKNOWN_FIELD, bad
from ccproxy.translate.codex import Native
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Losses, child
from ccproxy.translate.policy_rows import (
    DROP,
    EMULATE,
    MAP,
    NEAR,
    PASS,
    PROXY,
    REJECT,
    Action,
    Row,
    Target,
    row,
)

__all__ = ["CONTENT", "FIELDS", "TOOLS", "Action", "Row", "Target", "screen_fields", "settle", "tool_row"]

Json = dict[str, Any]


class _OnCodex(TypedDict, total=False):
    x: Action
    why: str


def _on_codex(parameter: str) -> _OnCodex:
    """The action on Codex for a field that becomes this parameter of Responses: dropped if the backend refuses it."""
    return {"x": DROP, "why": "the Codex backend refuses this parameter"} if parameter in codex.REFUSED else {}


_CACHING = "OpenAI caches prompts automatically"
_UNSUPPORTED = "not supported"
_STATELESS = "ccproxy stores no conversations: send the whole history"
_ONE_CHOICE = "one answer per request"
_ACCOUNT = "an account setting of the other provider"

# --- top-level request fields ----------------------------------------------------------------------------------------

_ANTHROPIC_FIELDS = {
    "model": row("set by the route and `models`", all=MAP),
    "max_tokens": row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "messages": row(all=MAP),
    "system": row("in the same position", all=MAP),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "thinking": row(
        "becomes an effort; budgets below 2048 are low, below 8192 medium, below 24576 high, others xhigh", all=NEAR
    ),
    "output_config": row("`effort` and `format`", all=MAP),
    "output_format": row("older name of `output_config.format`", all=MAP),
    "stop_sequences": row(
        "Responses has no stop sequences: ccproxy cuts the answer at the match", c=MAP, r=EMULATE, harmless=([],)
    ),
    "stream": row("Codex always streams; ccproxy makes a whole response of it", all=PROXY),
    "metadata": row("`user_id` becomes `user` or `safety_identifier`; on Codex, part of `prompt_cache_key`", all=NEAR),
    "service_tier": row(
        "`standard_only` becomes `default`",
        all=NEAR,
        x=DROP,
        why="the Codex backend accepts only the priority tier",
        harmless=("auto",),
    ),
    "speed": row("`fast` becomes the priority tier", all=NEAR, harmless=("standard",)),
    "temperature": row("Responses: not for reasoning models", c=MAP, r=MAP, **_on_codex("temperature")),
    "top_p": row("Responses: not for reasoning models", c=MAP, r=MAP, **_on_codex("top_p")),
    "top_k": row(_UNSUPPORTED, all=DROP),
    "cache_control": row(_CACHING, all=DROP),
    "container": row("code execution works only at Anthropic; skills are refused", all=DROP),
    "mcp_servers": row("only Anthropic calls remote MCP servers", all=REJECT, harmless=([],)),
    "thread": row(_STATELESS, all=REJECT),
    "compaction": row("OpenAI does not support this compaction", all=REJECT),
    "context_management": row("server-side context editing", all=DROP),
    "diagnostics": row("cache diagnostics", all=DROP),
    "inference_geo": row(_ACCOUNT, all=DROP),
    "user_profile_id": row(_ACCOUNT, all=DROP),
    "workspace_id": row(_ACCOUNT, all=DROP),
    "betas": row("a header in other requests", all=DROP, harmless=([],)),
    "billing_policy": row(_ACCOUNT, all=DROP),
    "fallbacks": row("model fallbacks", all=DROP, harmless=([],)),
    "fallback_credit_token": row(_ACCOUNT, all=DROP),
}

_CHAT_FIELDS = {
    "model": row("set by the route and `models`", all=MAP),
    "messages": row(all=MAP),
    "max_completion_tokens": row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "max_tokens": row("older name of `max_completion_tokens`", all=MAP, **_on_codex("max_output_tokens")),
    "stream": row(all=PROXY),
    "stream_options": row("`include_usage` adds the usage to the stream", all=PROXY),
    "n": row(_ONE_CHOICE, all=REJECT, harmless=(1,)),
    "stop": row("Responses has no stop sequences: ccproxy cuts the answer at the match", a=MAP, r=EMULATE),
    "temperature": row(
        "Anthropic: at most 1, if version and model accept it", a=NEAR, r=MAP, **_on_codex("temperature")
    ),
    "top_p": row("Anthropic: if version and model accept it", a=NEAR, r=MAP, **_on_codex("top_p")),
    "top_k": row("an extension of other servers; Anthropic supports it", a=NEAR, r=DROP),
    "seed": row(_UNSUPPORTED, all=DROP),
    "frequency_penalty": row(_UNSUPPORTED, all=DROP, harmless=(0,)),
    "presence_penalty": row(_UNSUPPORTED, all=DROP, harmless=(0,)),
    "logit_bias": row(_UNSUPPORTED, all=DROP, harmless=({},)),
    "logprobs": row("token probabilities", all=REJECT, harmless=(False,)),
    "top_logprobs": row("token probabilities", all=REJECT, harmless=(0,)),
    "response_format": row("`json_object` is dropped on Anthropic", all=MAP, harmless=({"type": "text"},)),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "parallel_tool_calls": row(all=MAP),
    "functions": row("older form of `tools`", all=MAP),
    "function_call": row("older form of `tool_choice`", all=MAP),
    "reasoning_effort": row("limited to the efforts of the model", all=NEAR),
    "reasoning": row("OpenRouter's form: `effort`, `max_tokens`, `enabled`, `exclude`", all=NEAR),
    "thinking": row("Anthropic's form, as other servers accept it", all=NEAR),
    "verbosity": row(_UNSUPPORTED, a=DROP, r=MAP),
    "modalities": row("text only", all=REJECT, harmless=(["text"], [])),
    "audio": row("no audio output", all=REJECT),
    "prediction": row("a hint that makes answers faster", all=DROP),
    "web_search_options": row("becomes the web search tool; `search_context_size` only on Responses", all=NEAR),
    "moderation": row("moderation works only at OpenAI's own endpoint", all=DROP),
    "metadata": row("labels of stored completions", all=DROP, harmless=({},)),
    "store": row("nothing is stored", all=DROP, harmless=(False,)),
    "user": row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "safety_identifier": row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "service_tier": row(
        "Anthropic: `default` becomes `standard_only`; `priority` and `fast` become `speed` if enabled",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": row("Anthropic needs no key", a=DROP, r=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": row("cache settings of OpenAI", all=DROP),
}

_RESPONSES_FIELDS = {
    "model": row("set by the route and `models`", all=MAP),
    "input": row("Codex: a string becomes a list, and the role `system` becomes `developer`", all=MAP),
    "instructions": row("the first system text; required by Codex, but may be empty", all=MAP),
    "max_output_tokens": row("not on Codex", all=MAP),
    "max_tool_calls": row("a limit on OpenAI's own tools", all=DROP),
    "stream": row("Codex always streams; ccproxy makes a whole response of it", all=PROXY),
    "stream_options": row("ccproxy adds no obfuscation", all=PROXY),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "parallel_tool_calls": row(all=MAP),
    "reasoning": row("`effort` is limited to those of the model; `summary` makes thinking visible", all=NEAR),
    "text": row("`format`; `verbosity` is dropped on Anthropic", all=MAP),
    "include": row("selects what ccproxy sends", all=PROXY),
    "temperature": row("Anthropic: at most 1, if version and model accept it", a=NEAR, c=MAP),
    "top_p": row("Anthropic: if version and model accept it", a=NEAR, c=MAP),
    "top_logprobs": row("token probabilities", all=REJECT, harmless=(0,)),
    "store": row("nothing is stored, and the response reports that", all=DROP, harmless=(False,)),
    "previous_response_id": row(_STATELESS, all=REJECT),
    "conversation": row(_STATELESS, all=REJECT),
    "prompt": row("a template stored at OpenAI", all=REJECT),
    "background": row(_STATELESS, all=REJECT, harmless=(False,)),
    "background_options": row(_STATELESS, all=DROP),
    "truncation": row("server-side truncation", all=DROP, harmless=("disabled",)),
    "context_management": row("server-side context editing", all=DROP, harmless=([],)),
    "metadata": row("labels of stored responses", all=DROP, harmless=({},)),
    "client_metadata": row("labels that Codex adds", all=DROP),
    "user": row("Anthropic: `metadata.user_id`", all=MAP),
    "safety_identifier": row("Anthropic: `metadata.user_id`", all=MAP),
    "service_tier": row(
        "Anthropic: `default` becomes `standard_only`; `priority` and `fast` become `speed` if enabled",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": row("Anthropic needs no key", a=DROP, c=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": row("cache settings of OpenAI", all=DROP),
    "moderation": row("moderation works only at OpenAI's own endpoint", all=DROP),
    "access_programs": row("programs of an OpenAI account", all=DROP),
    "image": row("image context settings of OpenAI", all=DROP),
}

# A Responses request to Codex is not translated: see the table in `codex`.
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

_SERVER_SIDE = "a record of the provider's own tool: text about it stays"

_ANTHROPIC_CONTENT = {
    "text": row(all=MAP),
    "image": row("file ids are refused: only one provider knows them", all=MAP),
    "document": row("PDF as a file; text and content after a header line; Chat has no file URLs", all=NEAR),
    "search_result": row("text after a header line", all=NEAR),
    "thinking": row("only back to the provider that created it", all=MAP),
    "redacted_thinking": row("only back to the provider that created it", all=MAP),
    "tool_use": row(all=MAP),
    "tool_result": row("`is_error` becomes the prefix `Error: `; on Chat, images follow in a user message", all=MAP),
    "tool_reference": row("the tool's name as text", all=NEAR),
    "browser_state": row("the browser toolset works only with Claude", all=REJECT),
    "server_tool_use": row(_SERVER_SIDE, all=DROP),
    "web_search_tool_result": row(_SERVER_SIDE, all=DROP),
    "web_fetch_tool_result": row(_SERVER_SIDE, all=DROP),
    "code_execution_tool_result": row(_SERVER_SIDE, all=DROP),
    "bash_code_execution_tool_result": row(_SERVER_SIDE, all=DROP),
    "text_editor_code_execution_tool_result": row(_SERVER_SIDE, all=DROP),
    "tool_search_tool_result": row(_SERVER_SIDE, all=DROP),
    "advisor_tool_result": row(_SERVER_SIDE, all=DROP),
    "mcp_tool_use": row(_SERVER_SIDE, all=DROP),
    "mcp_tool_result": row(_SERVER_SIDE, all=DROP),
    "mcp_tool_listing": row("all tools are offered at once", all=DROP),
    "tool_addition": row("all tools are offered at once", all=DROP),
    "tool_removal": row("all tools are offered at once", all=DROP),
    "fallback": row("a record of the model that answered", all=DROP),
    "compaction": row("its summary as text; earlier messages are sent too", all=NEAR),
    "container_upload": row("files in Anthropic's sandbox", all=REJECT),
}

_CHAT_CONTENT = {
    "text": row(all=MAP),
    "refusal": row("text", all=NEAR),
    "image_url": row("`detail` is dropped on Anthropic", all=MAP),
    "file": row("PDF, or text in UTF-8; file ids are refused", all=MAP),
    "input_audio": row("no audio input", all=REJECT),
    "role:system": row("in the same position; Anthropic: the first ones become `system`", all=MAP),
    "role:developer": row("in the same position; Anthropic: the first ones become `system`", all=MAP),
    "role:user": row("`name` is dropped", all=MAP),
    "role:assistant": row("`audio` is refused; `reasoning_details` only back to their provider", all=MAP),
    "role:tool": row(all=MAP),
    "role:function": row("a tool result", all=MAP),
}

_RESPONSES_CONTENT = {
    "message": row(all=MAP),
    "input_text": row(all=MAP),
    "output_text": row(all=MAP),
    "refusal": row("text", all=NEAR),
    "input_image": row("file ids are refused; `detail` only on Chat", all=MAP),
    "input_file": row("PDF, or text in UTF-8; file ids are refused; Chat has no file URLs", all=MAP),
    "input_audio": row("no audio input", all=REJECT),
    "reasoning": row("only back to the provider that created it", all=MAP),
    "function_call": row(all=MAP),
    "function_call_output": row(all=MAP),
    "custom_tool_call": row("Anthropic: a tool with one text field `input`", all=NEAR),
    "custom_tool_call_output": row(all=MAP),
    "local_shell_call": row("a call of a function of that name", all=NEAR),
    "local_shell_call_output": row(all=NEAR),
    "shell_call": row("a call of a function of that name", all=NEAR),
    "shell_call_output": row("its JSON", all=NEAR),
    "apply_patch_call": row("a call of a function of that name", all=NEAR),
    "apply_patch_call_output": row(all=NEAR),
    "tool_search_call": row("if the client runs it: a call of a function of that name", all=NEAR),
    "tool_search_output": row("if the client runs it: its tools are offered from then on", all=NEAR),
    "server:tool_search_call": row(_SERVER_SIDE, all=DROP),
    "server:tool_search_output": row(_SERVER_SIDE, all=DROP),
    "additional_tools": row("offered with the other tools", all=NEAR),
    "web_search_call": row(_SERVER_SIDE, all=DROP),
    "file_search_call": row(_SERVER_SIDE, all=DROP),
    "code_interpreter_call": row(_SERVER_SIDE, all=DROP),
    "image_generation_call": row(_SERVER_SIDE, all=DROP),
    "mcp_list_tools": row(_SERVER_SIDE, all=DROP),
    "mcp_call": row(_SERVER_SIDE, all=DROP),
    "program": row("programmatic tool calling works only at OpenAI", all=REJECT),
    "program_output": row("programmatic tool calling works only at OpenAI", all=REJECT),
    "mcp_approval_request": row("only OpenAI calls remote MCP servers", all=REJECT),
    "mcp_approval_response": row("only OpenAI calls remote MCP servers", all=REJECT),
    "computer_call": row("OpenAI's computer tool", all=REJECT),
    "computer_call_output": row("OpenAI's computer tool", all=REJECT),
    "configuration_update": row("settings for the rest of the conversation", all=DROP),
    "compaction": row("an encrypted summary that only OpenAI can read", all=REJECT),
    "compaction_trigger": row("server-side compaction", all=REJECT),
    "item_reference": row(_STATELESS, all=REJECT),
}

CONTENT: Mapping[Format, Mapping[str, Row]] = {
    Format.ANTHROPIC: _ANTHROPIC_CONTENT,
    Format.OPENAI_CHAT: _CHAT_CONTENT,
    Format.OPENAI_RESPONSES: _RESPONSES_CONTENT,
}

# --- tools; a name that ends in `*` stands for every version -----------------------------------------------------------

_CLIENT_RUN = "a function with the published schema, which the client runs"
_THERE_ONLY = "works only at the other provider"

_ANTHROPIC_TOOLS = {
    "custom": row("`strict` is always written; `eager_input_streaming` is dropped", all=MAP),
    "bash_*": row(_CLIENT_RUN, all=NEAR),
    "text_editor_*": row(_CLIENT_RUN, all=NEAR),
    "memory_*": row(_CLIENT_RUN, all=NEAR),
    "web_search_*": row("`blocked_domains` and `max_uses` are dropped", all=NEAR),
    "web_fetch_*": row(_THERE_ONLY, all=REJECT),
    "code_execution_*": row(_THERE_ONLY, all=REJECT),
    "tool_search_tool_*": row("all tools are offered at once", all=DROP),
    "computer_*": row(_THERE_ONLY, all=REJECT),
    "browser_toolset_*": row(_THERE_ONLY, all=REJECT),
    "advisor_*": row(_THERE_ONLY, all=REJECT),
    "mcp_toolset": row(_THERE_ONLY, all=REJECT),
}

_CHAT_TOOLS = {
    "function": row("Anthropic: a strict schema is rewritten as its SDK does", all=MAP),
    "custom": row("Anthropic: a tool with one text field `input` and the grammar in its description", a=NEAR, r=MAP),
}

_RESPONSES_TOOLS = {
    "function": row("Anthropic: a strict schema is rewritten as its SDK does", all=MAP),
    "custom": row("a tool with one text field `input` and the grammar in its description", all=NEAR),
    "namespace": row("each tool as `namespace__tool`, and back", all=NEAR),
    "local_shell": row("a function with the schema of its action, and back", all=NEAR),
    "shell": row("a function with the schema of its action, and back; a container is refused", all=NEAR),
    "apply_patch": row("a function with the schema of its operation, and back", all=NEAR),
    "tool_search": row("if the client runs it: a function, and back; else Anthropic's own", a=NEAR, c=NEAR),
    "web_search*": row("`search_context_size` is dropped on Anthropic", all=NEAR),
    "file_search": row(_THERE_ONLY, all=REJECT),
    "code_interpreter": row(_THERE_ONLY, all=REJECT),
    "image_generation": row(_THERE_ONLY, all=REJECT),
    "mcp": row(_THERE_ONLY, all=REJECT),
    "computer": row(_THERE_ONLY, all=REJECT),
    "computer_use_preview": row(_THERE_ONLY, all=REJECT),
    "programmatic_tool_calling": row(_THERE_ONLY, all=REJECT),
}

TOOLS: Mapping[Format, Mapping[str, Row]] = {
    Format.ANTHROPIC: _ANTHROPIC_TOOLS,
    Format.OPENAI_CHAT: _CHAT_TOOLS,
    Format.OPENAI_RESPONSES: _RESPONSES_TOOLS,
}


def tool_row(fmt: Format, kind: str) -> Row | None:
    """The row for a tool of this type, in any version."""
    table = TOOLS[fmt]
    exact = table.get(kind)
    if exact is not None:
        return exact
    return next((entry for name, entry in table.items() if name.endswith("*") and kind.startswith(name[:-1])), None)


# --- applying them ---------------------------------------------------------------------------------------------------


def screen_fields(client: Format, target: Target, body: Json, losses: Losses) -> None:
    """Apply the field table to a request: note what is dropped, and refuse what is rejected.

    Raises `BadRequest` for a field without which the answer would be a different one.
    """
    table = FIELDS[client]
    for name, value in body.items():
        entry = table.get(name)
        if entry is None:
            if value is not None:
                losses.add(child("", str(name)), UNKNOWN_FIELD)
        elif value is not None:
            settle(entry, target, name, losses, value)


def settle(entry: Row, target: Target, path: str, losses: Losses, value: object = None) -> bool:
    """Note or refuse what this row drops or rejects. Return True when it is to be translated."""
    action = entry.actions.get(target, MAP)
    if action is DROP or action is REJECT:
        if value is not None and any(
            value == harmless and type(value) is type(harmless) for harmless in entry.harmless
        ):
            return False
        if action is REJECT:
            raise bad(path, f"is not supported by this upstream: {entry.why}", code="unsupported_parameter")
        losses.add(path, entry.why)
        return False
    return True
