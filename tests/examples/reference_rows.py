"""One example for each row of the reference page of the translation, by format and by the name of the row."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ccproxy.translate import capsule
from ccproxy.translate.formats import Format
from ccproxy.translate.policy import Target
from tests.examples.requests import PDF, PNG

Json = dict[str, Any]
A, C, R = Format

MARK = "marker-of-this-example"
"""A text in examples of content and tools that shows whether they arrive."""

BASE: dict[Format, Json] = {
    A: {"model": "", "max_tokens": 1000, "messages": [{"role": "user", "content": "hello"}]},
    C: {"model": "", "messages": [{"role": "user", "content": "hello"}]},
    R: {"model": "", "input": "hello"},
}
MODELS: dict[Target, str] = {
    Target.ANTHROPIC: "claude-sonnet-4-5",
    Target.CHAT: "chat-model",
    Target.RESPONSES: "gpt-5.5",
    Target.CODEX: "gpt-5.5",
}


@dataclass(frozen=True)
class Field:
    """A value of a top-level field, the rest of the request that it needs, and what differs for some upstreams."""

    value: Any
    also: Json = field(default_factory=dict)
    models: dict[Target, str] = field(default_factory=dict)
    values: dict[Target, Any] = field(default_factory=dict)


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
PLAIN = {Target.RESPONSES: "gpt-4o"}
"""A model that does not reason."""
TOOLS: dict[Format, Json] = {
    A: {"tools": [{"name": "look", "input_schema": SCHEMA}]},
    C: {"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]},
    R: {"tools": [{"type": "function", "name": "look", "parameters": SCHEMA}]},
}
FUNCTIONS: Json = {"functions": [{"name": "look", "parameters": SCHEMA}]}

FIELDS: dict[Format, dict[str, Field]] = {
    A: {
        "model": Field(None),
        "max_tokens": Field(99),
        "messages": Field([{"role": "user", "content": "something else"}]),
        "system": Field("Be brief."),
        "tools": Field(TOOLS[A]["tools"]),
        "tool_choice": Field({"type": "any"}, TOOLS[A]),
        "thinking": Field({"type": "enabled", "budget_tokens": 2000}),
        "output_config": Field({"effort": "low"}),
        "output_format": Field({"type": "json_schema", "schema": SCHEMA}),
        "stop_sequences": Field(["STOP"]),
        "stream": Field(True),
        "metadata": Field({"user_id": "user_1_account__session_2"}),
        "service_tier": Field("standard_only"),
        "speed": Field("fast"),
        "temperature": Field(0.5, models=PLAIN),
        "top_p": Field(0.5, models=PLAIN),
        "top_k": Field(5),
        "cache_control": Field({"type": "ephemeral"}),
        "container": Field("container_1"),
        "mcp_servers": Field([{"type": "url", "name": "x", "url": "https://example.com"}]),
        "thread": Field({"id": "thread_1"}),
        "compaction": Field({"type": "enabled"}),
        "context_management": Field({"edits": [{"type": "clear_tool_uses_20250919"}]}),
        "diagnostics": Field({"cache": True}),
        "inference_geo": Field("eu"),
        "user_profile_id": Field("profile"),
        "workspace_id": Field("workspace"),
        "betas": Field(["context-1m-2025-08-07"]),
        "billing_policy": Field("default"),
        "fallbacks": Field([{"model": "claude-haiku-5-5"}]),
        "fallback_credit_token": Field("token"),
    },
    C: {
        "model": Field(None),
        "messages": Field([{"role": "user", "content": "something else"}]),
        "max_completion_tokens": Field(99),
        "max_tokens": Field(99),
        "stream": Field(True),
        "stream_options": Field({"include_usage": True}, {"stream": True}),
        "n": Field(2),
        "stop": Field("STOP"),
        "temperature": Field(0.5, models=PLAIN),
        "top_p": Field(0.5, models=PLAIN),
        "top_k": Field(5),
        "seed": Field(1),
        "frequency_penalty": Field(0.5),
        "presence_penalty": Field(0.5),
        "logit_bias": Field({"1": 2}),
        "logprobs": Field(True),
        "top_logprobs": Field(2),
        "response_format": Field({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}),
        "tools": Field(TOOLS[C]["tools"]),
        "tool_choice": Field("required", TOOLS[C]),
        "parallel_tool_calls": Field(False, TOOLS[C]),
        "functions": Field(FUNCTIONS["functions"]),
        "function_call": Field({"name": "look"}, FUNCTIONS),
        "reasoning_effort": Field("high"),
        "reasoning": Field({"effort": "high"}),
        "thinking": Field({"type": "enabled", "budget_tokens": 2000}),
        "verbosity": Field("low"),
        "modalities": Field(["text", "audio"]),
        "audio": Field({"voice": "alloy", "format": "mp3"}),
        "prediction": Field({"type": "content", "content": "x"}),
        "web_search_options": Field({}),
        "moderation": Field({"model": "omni-moderation-latest"}),
        "metadata": Field({"a": "b"}),
        "store": Field(True),
        "user": Field("user-1"),
        "safety_identifier": Field("user-1"),
        "service_tier": Field("default", values={Target.CODEX: "priority"}),
        "prompt_cache_key": Field("key"),
        "prompt_cache_options": Field({"mode": "explicit"}),
        "prompt_cache_retention": Field("24h"),
    },
    R: {
        "model": Field(None),
        "input": Field([{"role": "user", "content": "something else"}]),
        "instructions": Field("Be brief."),
        "max_output_tokens": Field(99),
        "max_tool_calls": Field(3),
        "stream": Field(True),
        "stream_options": Field({"include_obfuscation": False}, {"stream": True}),
        "tools": Field(TOOLS[R]["tools"]),
        "tool_choice": Field("required", TOOLS[R]),
        "parallel_tool_calls": Field(False, TOOLS[R]),
        "reasoning": Field({"effort": "high"}),
        "text": Field({"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}),
        "include": Field(["reasoning.encrypted_content"]),
        "temperature": Field(0.5, models=PLAIN),
        "top_p": Field(0.5, models=PLAIN),
        "top_logprobs": Field(2),
        "store": Field(True),
        "previous_response_id": Field("resp_1"),
        "conversation": Field("conv_1"),
        "prompt": Field({"id": "pmpt_1"}),
        "background": Field(True),
        "background_options": Field({"priority": "low"}),
        "truncation": Field("auto"),
        "context_management": Field([{"type": "compaction"}]),
        "metadata": Field({"a": "b"}),
        "client_metadata": Field({"a": "b"}),
        "user": Field("user-1"),
        "safety_identifier": Field("user-1"),
        "service_tier": Field("default", values={Target.CODEX: "priority"}),
        "prompt_cache_key": Field("key"),
        "prompt_cache_options": Field({"mode": "explicit"}),
        "prompt_cache_retention": Field("24h"),
        "moderation": Field({"model": "omni-moderation-latest"}),
        "access_programs": Field(["x"]),
        "image": Field({"detail": "high"}),
    },
}

# --- content ---------------------------------------------------------------------------------------------------------

IMAGE = {"type": "base64", "media_type": "image/png", "data": PNG}
WEATHER = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": MARK}}


@dataclass(frozen=True)
class Content:
    """A conversation with a part of this type, the path of that part, and a text that shows that it arrived."""

    conversation: list[Json]
    path: str
    mark: str = MARK
    also: Json = field(default_factory=dict)


def _user(part: Json, **more: Any) -> Content:
    return Content(
        [{"role": "user", "content": [{"type": "text", "text": "hello"}, part]}], "messages[0].content[1]", **more
    )


def _assistant(part: Json, *after: Json, **more: Any) -> Content:
    conversation = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Well."}, part, *after]},
        {"role": "user", "content": "Thanks."},
    ]
    return Content(conversation, "messages[1].content[1]", **more)


def thinking_of(target: Target) -> Json:
    """Thinking in Anthropic's format, minted by an upstream of this kind."""
    match target:
        case Target.ANTHROPIC:
            return {"type": "thinking", "thinking": "Hm.", "signature": MARK}
        case Target.CHAT:
            raw: Json = {"reasoning_content": MARK}
            return {"type": "thinking", "thinking": "Hm.", "signature": capsule.seal(C, "m", raw)}
        case Target.RESPONSES | Target.CODEX:
            raw = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": MARK}
            return {"type": "thinking", "thinking": "Hm.", "signature": capsule.seal(R, "m", raw)}


def _thought(block: Json) -> Content:
    conversation = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [block, {"type": "text", "text": "Well."}]},
        {"role": "user", "content": "Thanks."},
    ]
    return Content(conversation, "messages[1].content[0]")


def _server(kind: str, **members: Any) -> Content:
    return _assistant(
        {"type": kind, "tool_use_id": "srvtoolu_1", "content": [{"type": "text", "text": MARK}], **members}
    )


def anthropic_content(target: Target) -> dict[str, Content]:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": MARK}}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": MARK}]}
    named = {"type": "tool_reference", "tool_name": MARK}
    reference = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [named]}]}
    called = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Well."}, WEATHER]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]},
    ]
    redacted = {"type": "redacted_thinking", "data": thinking_of(target)["signature"]}
    return {
        "text": _user({"type": "text", "text": MARK}),
        "image": _user({"type": "image", "source": IMAGE}, mark=PNG),
        "document": _user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": MARK}}),
        "search_result": _user({"type": "search_result", "source": "https://example.com", "title": "t", "content": [{"type": "text", "text": MARK}]}),
        "thinking": _thought(thinking_of(target)),
        "redacted_thinking": _thought(redacted),
        "tool_use": Content(called, "messages[1].content[1]", also=TOOLS[A]),
        "tool_result": Content([*called[:2], result], "messages[2].content[0]", also=TOOLS[A]),
        "tool_reference": Content([*called[:2], reference], "messages[2].content[0].content[0]", also=TOOLS[A]),
        "browser_state": _user({"type": "browser_state", "state": {}}),
        "server_tool_use": _assistant(search),
        "web_search_tool_result": _server("web_search_tool_result"),
        "web_fetch_tool_result": _server("web_fetch_tool_result"),
        "code_execution_tool_result": _server("code_execution_tool_result"),
        "bash_code_execution_tool_result": _server("bash_code_execution_tool_result"),
        "text_editor_code_execution_tool_result": _server("text_editor_code_execution_tool_result"),
        "tool_search_tool_result": _server("tool_search_tool_result"),
        "advisor_tool_result": _server("advisor_tool_result"),
        "mcp_tool_use": _assistant({"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "x", "server_name": "s", "input": {"q": MARK}}),
        "mcp_tool_result": _server("mcp_tool_result"),
        "mcp_tool_listing": _server("mcp_tool_listing"),
        "tool_addition": _user({"type": "tool_addition", "tool": {"name": MARK}}),
        "tool_removal": _user({"type": "tool_removal", "tool_name": MARK}),
        "fallback": _assistant({"type": "fallback", "from": MARK}),
        "compaction": _assistant({"type": "compaction", "content": MARK}),
        "container_upload": _user({"type": "container_upload", "file_id": "file_1"}),
    }  # fmt: skip


def chat_content(target: Target) -> dict[str, Content]:
    del target
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    hello = {"role": "user", "content": "hello"}

    def message(message: Json) -> Content:
        return Content([message, hello], "messages[0]")

    return {
        "text": _user({"type": "text", "text": MARK}),
        "refusal": Content([hello, {"role": "assistant", "content": [{"type": "refusal", "refusal": MARK}]}, hello], "messages[1].content[0]"),
        "image_url": _user({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, mark=PNG),
        "file": _user({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}, mark=PDF),
        "input_audio": _user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
        "role:system": message({"role": "system", "content": MARK}),
        "role:developer": message({"role": "developer", "content": MARK}),
        "role:user": message({"role": "user", "content": MARK}),
        "role:assistant": Content([hello, {"role": "assistant", "content": MARK}, hello], "messages[1]"),
        "role:tool": Content([hello, call, {"role": "tool", "tool_call_id": "call_1", "content": MARK}], "messages[2]", also=TOOLS[C]),
        "role:function": Content([hello, legacy, {"role": "function", "name": "look", "content": MARK}], "messages[2]", also=FUNCTIONS),
    }  # fmt: skip


def responses_content(target: Target) -> dict[str, Content]:
    hello = {"role": "user", "content": "hello"}
    raw = {
        Target.ANTHROPIC: (A, {"type": "thinking", "thinking": "Hm.", "signature": MARK}),
        Target.CHAT: (C, {"reasoning_content": MARK}),
    }
    minted = capsule.seal(raw[target][0], "m", raw[target][1]) if target in raw else MARK

    def item(item: Json, *after: Json, **more: Any) -> Content:
        return Content([hello, item, *after], "input[1]", **more)

    def user(part: Json, **more: Any) -> Content:
        return Content(
            [{"role": "user", "content": [{"type": "input_text", "text": "hello"}, part]}],
            "input[0].content[1]",
            **more,
        )

    def assistant(part: Json) -> Content:
        return Content(
            [hello, {"type": "message", "role": "assistant", "content": [part]}, hello], "input[1].content[0]"
        )

    def called(call: Json, output: Json, *, is_output: bool = False, **more: Any) -> Content:
        return Content([hello, call, output], "input[2]" if is_output else "input[1]", **more)

    function = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": json.dumps({"a": MARK})}
    output = {"type": "function_call_output", "call_id": "call_1", "output": MARK}
    custom = {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": MARK}
    custom_output = {"type": "custom_tool_call_output", "call_id": "call_1", "output": MARK}
    custom_tool: Json = {"tools": [{"type": "custom", "name": "patch"}]}
    local = {
        "type": "local_shell_call",
        "id": "lsh_1",
        "call_id": "call_1",
        "status": "completed",
        "action": {"type": "exec", "command": [MARK], "env": {}},
    }
    local_output = {"type": "local_shell_call_output", "id": "call_1", "call_id": "call_1", "output": MARK}
    shell = {"type": "shell_call", "call_id": "call_1", "action": {"commands": [MARK]}, "status": "completed"}
    shell_output = {
        "type": "shell_call_output",
        "call_id": "call_1",
        "output": [{"stdout": MARK, "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    }
    patch = {
        "type": "apply_patch_call",
        "call_id": "call_1",
        "status": "completed",
        "operation": {"type": "delete_file", "path": MARK},
    }
    patch_output = {"type": "apply_patch_call_output", "call_id": "call_1", "status": "completed", "output": MARK}
    search = {
        "type": "tool_search_call",
        "call_id": "call_1",
        "execution": "client",
        "arguments": {"query": MARK},
        "status": "completed",
    }
    search_output = {
        "type": "tool_search_output",
        "call_id": "call_1",
        "execution": "client",
        "status": "completed",
        "tools": [{"type": "function", "name": MARK, "parameters": SCHEMA}],
    }
    said = {"type": "message", "role": "assistant", "content": "Well."}
    local_ls = {**local, "action": {"type": "exec", "command": ["ls"], "env": {}}}
    shell_ls = {**shell, "action": {"commands": ["ls"]}}
    delete_a = {**patch, "operation": {"type": "delete_file", "path": "a"}}
    shells: dict[str, Json] = {kind: {"tools": [{"type": kind}]} for kind in ("local_shell", "shell", "apply_patch")}
    searching: Json = {"tools": [{"type": "tool_search", "execution": "client", "parameters": SCHEMA}]}
    at_openai: Json = {"id": "x_1", "status": "completed"}
    return {
        "message": Content([{"type": "message", "role": "user", "content": MARK}], "input[0]"),
        "input_text": user({"type": "input_text", "text": MARK}),
        "output_text": assistant({"type": "output_text", "text": MARK, "annotations": []}),
        "refusal": assistant({"type": "refusal", "refusal": MARK}),
        "input_image": user({"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}, mark=PNG),
        "input_file": user({"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}, mark=PDF),
        "input_audio": user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
        "reasoning": item({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": minted}, said, hello),
        "function_call": called(function, {**output, "output": "sunny"}, also=TOOLS[R]),
        "function_call_output": called({**function, "arguments": "{}"}, output, is_output=True, also=TOOLS[R]),
        "custom_tool_call": called(custom, {**custom_output, "output": "done"}, also=custom_tool),
        "custom_tool_call_output": called({**custom, "input": "x"}, custom_output, is_output=True, also=custom_tool),
        "local_shell_call": called(local, {**local_output, "output": "done"}, also=shells["local_shell"]),
        "local_shell_call_output": called(local_ls, local_output, is_output=True, also=shells["local_shell"]),
        "shell_call": called(shell, {**shell_output, "output": []}, also=shells["shell"]),
        "shell_call_output": called(shell_ls, shell_output, is_output=True, also=shells["shell"]),
        "apply_patch_call": called(patch, {**patch_output, "output": "done"}, also=shells["apply_patch"]),
        "apply_patch_call_output": called(delete_a, patch_output, is_output=True, also=shells["apply_patch"]),
        "tool_search_call": called(search, {**search_output, "tools": []}, also=searching),
        "tool_search_output": called({**search, "arguments": {}}, search_output, is_output=True, also=searching),
        "server:tool_search_call": item({"type": "tool_search_call", "execution": "server", "arguments": {"query": MARK}, **at_openai}),
        "server:tool_search_output": item({"type": "tool_search_output", "execution": "server", "tools": [], **at_openai}),
        "additional_tools": item({"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": MARK, "parameters": SCHEMA}]}),
        "web_search_call": item({"type": "web_search_call", "action": {"type": "search", "query": MARK}, **at_openai}),
        "file_search_call": item({"type": "file_search_call", "queries": [MARK], **at_openai}),
        "code_interpreter_call": item({"type": "code_interpreter_call", "code": MARK, "container_id": "c", **at_openai}),
        "image_generation_call": item({"type": "image_generation_call", "result": MARK, **at_openai}),
        "mcp_list_tools": item({"type": "mcp_list_tools", "server_label": MARK, "tools": [], **at_openai}),
        "mcp_call": item({"type": "mcp_call", "server_label": "s", "name": MARK, "arguments": "{}", **at_openai}),
        "program": item({"type": "program", "code": MARK, **at_openai}),
        "program_output": item({"type": "program_output", "output": MARK, **at_openai}),
        "mcp_approval_request": item({"type": "mcp_approval_request", "name": MARK, "arguments": "{}", "server_label": "s", "id": "x"}),
        "mcp_approval_response": item({"type": "mcp_approval_response", "approve": True, "approval_request_id": MARK}),
        "computer_call": item({"type": "computer_call", "call_id": "call_1", "action": {}, **at_openai}),
        "computer_call_output": item({"type": "computer_call_output", "call_id": "call_1", "output": {}}),
        "configuration_update": item({"type": "configuration_update", "configuration": {"a": MARK}}),
        "compaction": item({"type": "compaction", "encrypted_content": MARK}),
        "compaction_trigger": item({"type": "compaction_trigger"}),
        "item_reference": item({"type": "item_reference", "id": "msg_1"}),
    }  # fmt: skip


CONTENT = {A: anthropic_content, C: chat_content, R: responses_content}

# --- tools -----------------------------------------------------------------------------------------------------------

TOOL: dict[Format, dict[str, Json]] = {
    A: {
        "custom": {"name": MARK, "input_schema": SCHEMA},
        "bash_*": {"type": "bash_20250124", "name": "bash"},
        "text_editor_*": {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        "memory_*": {"type": "memory_20250818", "name": "memory"},
        "web_search_*": {"type": "web_search_20250305", "name": "web_search"},
        "web_fetch_*": {"type": "web_fetch_20250910", "name": "web_fetch"},
        "code_execution_*": {"type": "code_execution_20250825", "name": "code_execution"},
        "tool_search_tool_*": {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        "computer_*": {"type": "computer_20250124", "name": "computer", "display_width_px": 10, "display_height_px": 10},
        "browser_toolset_*": {"type": "browser_toolset_20260101", "name": "browser"},
        "advisor_*": {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
        "mcp_toolset": {"type": "mcp_toolset", "mcp_server_name": "x"},
    },
    C: {
        "function": {"type": "function", "function": {"name": MARK, "parameters": SCHEMA}},
        "custom": {"type": "custom", "custom": {"name": MARK}},
    },
    R: {
        "function": {"type": "function", "name": MARK, "parameters": SCHEMA},
        "custom": {"type": "custom", "name": MARK},
        "namespace": {"type": "namespace", "name": "ns", "description": "", "tools": [{"type": "function", "name": MARK, "parameters": SCHEMA}]},
        "local_shell": {"type": "local_shell"},
        "shell": {"type": "shell"},
        "apply_patch": {"type": "apply_patch"},
        "tool_search": {"type": "tool_search", "execution": "client", "parameters": SCHEMA},
        "web_search*": {"type": "web_search"},
        "file_search": {"type": "file_search", "vector_store_ids": ["vs_1"]},
        "code_interpreter": {"type": "code_interpreter", "container": {"type": "auto"}},
        "image_generation": {"type": "image_generation"},
        "mcp": {"type": "mcp", "server_label": "s", "server_url": "https://example.com"},
        "computer": {"type": "computer"},
        "computer_use_preview": {"type": "computer_use_preview", "display_width": 10, "display_height": 10, "environment": "browser"},
        "programmatic_tool_calling": {"type": "programmatic_tool_calling"},
    },
}  # fmt: skip
TOOL_MARKS: dict[str, str] = {
    "bash_*": "bash", "text_editor_*": "str_replace_based_edit_tool", "memory_*": "memory", "web_search_*": "web_search", "local_shell": "local_shell",
    "shell": "shell", "apply_patch": "apply_patch", "tool_search": "tool_search", "web_search*": "web_search",
    "tool_search_tool_*": "tool_search_tool_regex",
}  # fmt: skip
"""The text that shows that a tool arrived; else `MARK`."""

# --- parts of an answer ------------------------------------------------------------------------------------------------

CITATION = {
    "type": "web_search_result_location", "url": "https://example.com/" + MARK, "title": "t", "cited_text": "c", "encrypted_index": "e",
}  # fmt: skip
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": MARK}}
FOUND = {
    "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://example.com/" + MARK, "title": "t", "encrypted_content": "e", "page_age": None}],
}  # fmt: skip


def _result(kind: str) -> list[Json]:
    return [{"type": kind, "tool_use_id": "srvtoolu_1", "content": {"type": f"{kind}_content", "text": MARK}}]


def _item(kind: str, **members: Any) -> list[Json]:
    return [{"type": kind, "id": "item_1", "status": "completed", **members}]


BLOCKS: dict[str, list[Json]] = {
    "text": [{"type": "text", "text": MARK}, {"type": "text", "text": "more"}],
    "thinking": [{"type": "thinking", "thinking": MARK, "signature": "c2ln"}],
    "redacted_thinking": [{"type": "redacted_thinking", "data": MARK}],
    "tool_use": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": MARK}}],
    "server_tool_use": [SEARCH],
    "web_search_tool_result": [SEARCH, FOUND],
    "web_fetch_tool_result": _result("web_fetch_tool_result"),
    "code_execution_tool_result": _result("code_execution_tool_result"),
    "bash_code_execution_tool_result": _result("bash_code_execution_tool_result"),
    "text_editor_code_execution_tool_result": _result("text_editor_code_execution_tool_result"),
    "tool_search_tool_result": _result("tool_search_tool_result"),
    "advisor_tool_result": _result("advisor_tool_result"),
    "mcp_tool_use": [{"type": "mcp_tool_use", "id": "m_1", "name": MARK, "server_name": "s", "input": {}}],
    "mcp_tool_result": _result("mcp_tool_result"),
    "mcp_tool_listing": _result("mcp_tool_listing"),
    "container_upload": [{"type": "container_upload", "file_id": MARK}],
    "compaction": [{"type": "compaction", "content": MARK}],
    "fallback": [{"type": "fallback", "from": MARK}],
}
_CALL = {"name": "look", "arguments": '{"a": "' + MARK + '"}'}
MEMBERS: dict[str, Json] = {
    "content": {"content": MARK},
    "refusal": {"refusal": MARK},
    "reasoning_content": {"reasoning_content": MARK, "content": "Well."},
    "reasoning_details": {
        "reasoning_details": [{"type": "reasoning.text", "text": MARK, "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}],
        "content": "Well.",
    },
    "tool_calls": {"content": None, "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": _CALL}]},
    "function_call": {"content": None, "function_call": _CALL},
    "annotations": {
        "content": "Well.",
        "annotations": [{
            "type": "url_citation", "url_citation": {"url": "https://example.com/" + MARK, "title": "t", "start_index": 0, "end_index": 4},
        }],
    },
    "audio": {"content": "Well.", "audio": {"id": "audio_1", "data": MARK, "expires_at": 1, "transcript": ""}},
}  # fmt: skip
ITEMS: dict[str, list[Json]] = {
    "message": _item("message", role="assistant", content=[{"type": "output_text", "text": MARK, "annotations": []}]),
    "reasoning": _item("reasoning", summary=[{"type": "summary_text", "text": MARK}], encrypted_content="sealed"),
    "function_call": _item("function_call", call_id="call_1", **_CALL),
    "custom_tool_call": _item("custom_tool_call", call_id="call_1", name="patch", input=MARK),
    "local_shell_call": _item("local_shell_call", call_id="call_1", action={"type": "exec", "command": [MARK], "env": {}}),
    "shell_call": _item("shell_call", call_id="call_1", action={"commands": [MARK]}),
    "apply_patch_call": _item("apply_patch_call", call_id="call_1", operation={"type": "delete_file", "path": MARK}),
    "tool_search_call": _item("tool_search_call", call_id="call_1", execution="client", arguments={"query": MARK}),
    "web_search_call": _item("web_search_call", action={"type": "search", "query": MARK, "sources": []}),
    **{
        kind: _item(kind, call_id="call_1", output=MARK)
        for kind in (
            "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call", "computer_call_output", "function_call_output",
            "custom_tool_call_output", "local_shell_call_output", "shell_call_output", "apply_patch_call_output", "tool_search_output",
            "additional_tools", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "program", "program_output",
            "compaction",
        )
    },
}  # fmt: skip
IN_A_CONTAINER = _item(
    "shell_call",
    call_id="call_1",
    action={"commands": [MARK]},
    environment={"type": "container_reference", "container_id": "c"},
)
AT_THE_SERVER = _item("tool_search_call", execution="server", arguments={"query": MARK})
OTHER_SERVER_TOOL: list[Json] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_fetch", "input": {"u": MARK}}
]
