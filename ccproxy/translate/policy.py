"""What becomes of everything a format can say, for each kind of upstream: the tables that the translator obeys and the reference is generated from.

    MAP      said exactly                          NEAR    said approximately, always in the same way
    EMULATE  done by ccproxy itself                DROP    left out, and listed in `x-ccproxy-loss`
    REJECT   400 naming the JSON path              PROXY   for ccproxy, not for the upstream
    PASS     unchanged, for the upstream to decide (native requests only)

Content is never dropped silently; switches that change what comes back are refused; tuning hints are dropped and listed.
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
    """How a field is handled on Codex that becomes this parameter of Responses: dropped, if the backend refuses it."""
    return {"x": DROP, "why": "the Codex backend refuses this parameter"} if parameter in codex.REFUSED else {}


_CACHING = "OpenAI caches prompts by itself"
_NO_SAMPLING = "no such setting"
_STATELESS = "ccproxy keeps no conversations: send the whole history"
_ONE_CHOICE = "one answer a request"
_NOT_YOURS = "an account setting of the other provider"

# --- top-level request fields ----------------------------------------------------------------------------------------

_ANTHROPIC_FIELDS = {
    "model": row("routing and `models` decide", all=MAP),
    "max_tokens": row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "messages": row(all=MAP),
    "system": row("in place: leading instructions stay leading", all=MAP),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "thinking": row("as reasoning effort; budget < 2048 low, < 8192 medium, < 24576 high, else xhigh", all=NEAR),
    "output_config": row("`effort` and `format`", all=MAP),
    "output_format": row("the older name of `output_config.format`", all=MAP),
    "stop_sequences": row(
        "Responses has no stop: ccproxy cuts the stream at the match", c=MAP, r=EMULATE, harmless=([],)
    ),
    "stream": row("Codex always streams; ccproxy folds it for you", all=PROXY),
    "metadata": row("`user_id`: user, safety_identifier; on Codex the seed of `prompt_cache_key`", all=NEAR),
    "service_tier": row(
        "standard_only is default",
        all=NEAR,
        x=DROP,
        why="the Codex backend accepts the priority tier only",
        harmless=("auto",),
    ),
    "speed": row("`fast` is the priority tier", all=NEAR, harmless=("standard",)),
    "temperature": row("Responses: not with reasoning models", c=MAP, r=MAP, **_on_codex("temperature")),
    "top_p": row("Responses: not with reasoning models", c=MAP, r=MAP, **_on_codex("top_p")),
    "top_k": row(_NO_SAMPLING, all=DROP),
    "cache_control": row(_CACHING, all=DROP),
    "container": row("code execution runs at Anthropic only; skills are refused", all=DROP),
    "mcp_servers": row("remote MCP servers are called by Anthropic only", all=REJECT, harmless=([],)),
    "thread": row(_STATELESS, all=REJECT),
    "compaction": row("server-side compaction cannot be told to OpenAI", all=REJECT),
    "context_management": row("server-side context editing", all=DROP),
    "diagnostics": row("cache diagnostics", all=DROP),
    "inference_geo": row(_NOT_YOURS, all=DROP),
    "user_profile_id": row(_NOT_YOURS, all=DROP),
    "workspace_id": row(_NOT_YOURS, all=DROP),
    "betas": row("a header, not a field", all=DROP, harmless=([],)),
    "billing_policy": row(_NOT_YOURS, all=DROP),
    "fallbacks": row("model fallbacks", all=DROP, harmless=([],)),
    "fallback_credit_token": row(_NOT_YOURS, all=DROP),
}

_CHAT_FIELDS = {
    "model": row("routing and `models` decide", all=MAP),
    "messages": row(all=MAP),
    "max_completion_tokens": row("not on Codex", all=MAP, **_on_codex("max_output_tokens")),
    "max_tokens": row("the older name of `max_completion_tokens`", all=MAP, **_on_codex("max_output_tokens")),
    "stream": row(all=PROXY),
    "stream_options": row("`include_usage` drives what ccproxy sends", all=PROXY),
    "n": row(_ONE_CHOICE, all=REJECT, harmless=(1,)),
    "stop": row("Responses has no stop: ccproxy cuts the stream at the match", a=MAP, r=EMULATE),
    "temperature": row(
        "Anthropic: at most 1, where version and model accept it", a=NEAR, r=MAP, **_on_codex("temperature")
    ),
    "top_p": row("Anthropic: where version and model accept it", a=NEAR, r=MAP, **_on_codex("top_p")),
    "top_k": row("an extension of other servers; Anthropic knows it", a=NEAR, r=DROP),
    "seed": row(_NO_SAMPLING, all=DROP),
    "frequency_penalty": row(_NO_SAMPLING, all=DROP, harmless=(0,)),
    "presence_penalty": row(_NO_SAMPLING, all=DROP, harmless=(0,)),
    "logit_bias": row(_NO_SAMPLING, all=DROP, harmless=({},)),
    "logprobs": row("token probabilities", all=REJECT, harmless=(False,)),
    "top_logprobs": row("token probabilities", all=REJECT, harmless=(0,)),
    "response_format": row("`json_object` is dropped on Anthropic", all=MAP, harmless=({"type": "text"},)),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "parallel_tool_calls": row(all=MAP),
    "functions": row("the older form of `tools`", all=MAP),
    "function_call": row("the older form of `tool_choice`", all=MAP),
    "reasoning_effort": row("clamped to what the model offers", all=NEAR),
    "reasoning": row("OpenRouter's form: `effort`, `max_tokens`, `enabled`, `exclude`", all=NEAR),
    "thinking": row("Anthropic's form, as other servers take it", all=NEAR),
    "verbosity": row(_NO_SAMPLING, a=DROP, r=MAP),
    "modalities": row("text only", all=REJECT, harmless=(["text"], [])),
    "audio": row("no audio output", all=REJECT),
    "prediction": row("a hint for speed", all=DROP),
    "web_search_options": row("the web search tool; `search_context_size` only on Responses", all=NEAR),
    "moderation": row("moderation runs at OpenAI's own endpoint", all=DROP),
    "metadata": row("labels of stored completions", all=DROP, harmless=({},)),
    "store": row("nothing is stored", all=DROP, harmless=(False,)),
    "user": row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "safety_identifier": row("Anthropic: `metadata.user_id`", a=MAP, r=MAP, **_on_codex("safety_identifier")),
    "service_tier": row(
        "Anthropic: default is standard_only, priority and fast are `speed` if switched on",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": row("Anthropic needs none", a=DROP, r=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": row("cache settings of OpenAI", all=DROP),
}

_RESPONSES_FIELDS = {
    "model": row("routing and `models` decide", all=MAP),
    "input": row("Codex: a string becomes a list, the role system developer", all=MAP),
    "instructions": row("the first system text; Codex wants the key and takes it empty", all=MAP),
    "max_output_tokens": row("not on Codex", all=MAP),
    "max_tool_calls": row("a limit on OpenAI's own tools", all=DROP),
    "stream": row("Codex always streams; ccproxy folds it for you", all=PROXY),
    "stream_options": row("ccproxy never obfuscates", all=PROXY),
    "tools": row(all=MAP),
    "tool_choice": row(all=MAP),
    "parallel_tool_calls": row(all=MAP),
    "reasoning": row("`effort` clamped to what the model offers; `summary` makes thinking visible", all=NEAR),
    "text": row("`format`; `verbosity` not on Anthropic", all=MAP),
    "include": row("drives what ccproxy sends", all=PROXY),
    "temperature": row("Anthropic: at most 1, where version and model accept it", a=NEAR, c=MAP),
    "top_p": row("Anthropic: where version and model accept it", a=NEAR, c=MAP),
    "top_logprobs": row("token probabilities", all=REJECT, harmless=(0,)),
    "store": row("nothing is stored, and the answer says so", all=DROP, harmless=(False,)),
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
        "Anthropic: default is standard_only, priority and fast are `speed` if switched on",
        all=NEAR,
        harmless=("auto",),
    ),
    "prompt_cache_key": row("Anthropic needs none", a=DROP, c=MAP, why="Anthropic caches by content, not by a key"),
    "prompt_cache_options": row("cache settings of OpenAI", all=DROP),
    "prompt_cache_retention": row("cache settings of OpenAI", all=DROP),
    "moderation": row("moderation runs at OpenAI's own endpoint", all=DROP),
    "access_programs": row("programs of an OpenAI account", all=DROP),
    "image": row("image context settings of OpenAI", all=DROP),
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
    "text": row(all=MAP),
    "image": row("file ids are refused: they are known to one provider only", all=MAP),
    "document": row("PDF as a file; plain text and content with a header line; Chat has no URL for files", all=NEAR),
    "search_result": row("text with a header line", all=NEAR),
    "thinking": row("back to the provider that minted it, and to no other", all=MAP),
    "redacted_thinking": row("back to the provider that minted it, and to no other", all=MAP),
    "tool_use": row(all=MAP),
    "tool_result": row("`is_error` becomes a prefix `Error: `; Chat takes images in a user message after it", all=MAP),
    "tool_reference": row("the tool's name as text", all=NEAR),
    "browser_state": row("the browser toolset runs with Claude only", all=REJECT),
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
    "fallback": row("a record of which model answered", all=DROP),
    "compaction": row("its summary as text; the messages before it are sent as well", all=NEAR),
    "container_upload": row("files in Anthropic's sandbox", all=REJECT),
}

_CHAT_CONTENT = {
    "text": row(all=MAP),
    "refusal": row("text", all=NEAR),
    "image_url": row("`detail` only on Responses", all=MAP),
    "file": row("PDF, or text in UTF-8; file ids are refused", all=MAP),
    "input_audio": row("no audio input", all=REJECT),
    "role:system": row("in place; Anthropic: leading ones are `system`", all=MAP),
    "role:developer": row("in place; Anthropic: leading ones are `system`", all=MAP),
    "role:user": row("`name` is dropped", all=MAP),
    "role:assistant": row("`audio` is refused; `reasoning_details` go back to who minted them", all=MAP),
    "role:tool": row(all=MAP),
    "role:function": row("a tool result", all=MAP),
}

_RESPONSES_CONTENT = {
    "message": row(all=MAP),
    "input_text": row(all=MAP),
    "output_text": row(all=MAP),
    "refusal": row("text", all=NEAR),
    "input_image": row("file ids are refused; `detail` only on Chat", all=MAP),
    "input_file": row("PDF, or text in UTF-8; file ids are refused; Chat has no URL for files", all=MAP),
    "input_audio": row("no audio input", all=REJECT),
    "reasoning": row("back to the provider that minted it, and to no other", all=MAP),
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
    "tool_search_call": row("run by the client: a call of a function of that name", all=NEAR),
    "tool_search_output": row("run by the client: its tools are offered from then on", all=NEAR),
    "server:tool_search_call": row(_SERVER_SIDE, all=DROP),
    "server:tool_search_output": row(_SERVER_SIDE, all=DROP),
    "additional_tools": row("offered with the others", all=NEAR),
    "web_search_call": row(_SERVER_SIDE, all=DROP),
    "file_search_call": row(_SERVER_SIDE, all=DROP),
    "code_interpreter_call": row(_SERVER_SIDE, all=DROP),
    "image_generation_call": row(_SERVER_SIDE, all=DROP),
    "mcp_list_tools": row(_SERVER_SIDE, all=DROP),
    "mcp_call": row(_SERVER_SIDE, all=DROP),
    "program": row("programmatic tool calling runs at OpenAI only", all=REJECT),
    "program_output": row("programmatic tool calling runs at OpenAI only", all=REJECT),
    "mcp_approval_request": row("remote MCP servers are called by OpenAI only", all=REJECT),
    "mcp_approval_response": row("remote MCP servers are called by OpenAI only", all=REJECT),
    "computer_call": row("the computer tool of OpenAI", all=REJECT),
    "computer_call_output": row("the computer tool of OpenAI", all=REJECT),
    "configuration_update": row("settings for the rest of the conversation", all=DROP),
    "compaction": row("an encrypted summary that only OpenAI reads", all=REJECT),
    "compaction_trigger": row("server-side compaction", all=REJECT),
    "item_reference": row(_STATELESS, all=REJECT),
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
    "function": row("Anthropic: a strict schema is rewritten as its own SDK does", all=MAP),
    "custom": row("Anthropic: a tool with one text field `input`, the grammar in its description", a=NEAR, r=MAP),
}

_RESPONSES_TOOLS = {
    "function": row("Anthropic: a strict schema is rewritten as its own SDK does", all=MAP),
    "custom": row("a tool with one text field `input`, the grammar in its description", all=NEAR),
    "namespace": row("each as `namespace__tool`, and back", all=NEAR),
    "local_shell": row("a function with the schema of its action, and back", all=NEAR),
    "shell": row("a function with the schema of its action, and back; a container is refused", all=NEAR),
    "apply_patch": row("a function with the schema of its operation, and back", all=NEAR),
    "tool_search": row("run by the client: a function, and back; Anthropic has its own for the server", a=NEAR, c=NEAR),
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
