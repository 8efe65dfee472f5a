"""Requests, whole answers and errors that use as much of each format as possible: what fuzz tests bend."""

from __future__ import annotations

from typing import Any

from ccproxy.translate import capsule
from ccproxy.translate.formats import Format
from tests.examples.requests import PDF, PNG, RICH, SCHEMA

Json = dict[str, Any]
A, C, R = Format

_THOUGHT = capsule.seal(R, "gpt-5.5", {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"})
_CHAT_THOUGHT = capsule.seal(C, "m", {"reasoning_content": "Hm."})

_ANTHROPIC: Json = {
    "model": "claude-opus-5",
    "max_tokens": 2000,
    "metadata": {"user_id": '{"session_id": "s-1"}'},
    "system": "Be brief.",
    "thinking": {"type": "enabled", "budget_tokens": 1500, "display": "summarized"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "tools": [
        {"name": "weather", "input_schema": SCHEMA, "strict": True, "input_examples": [{"city": "x"}]},
        {"type": "bash_20250124", "name": "bash"},
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "allowed_domains": ["example.com"],
            "user_location": {"type": "approximate", "city": "Bern"},
        },
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ],
    "stop_sequences": ["STOP"],
    "temperature": 0.5,
    "service_tier": "auto",
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": _THOUGHT},
                {"type": "redacted_thinking", "data": _CHAT_THOUGHT},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                {
                    "type": "tool_use",
                    "id": "t1",
                    "name": "weather",
                    "input": {"city": "Bern"},
                    "caller": {"type": "direct"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "no"},
                        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                        {"type": "tool_reference", "tool_name": "weather"},
                    ],
                },
                {
                    "type": "document",
                    "title": "t",
                    "context": "c",
                    "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
                },
            ],
        },
        {
            "role": "system",
            "content": [{"type": "text", "text": "Now in French.", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "user", "content": [{"type": "compaction", "content": "So far."}, {"type": "text", "text": "go"}]},
    ],
}
_CHAT: Json = {
    "model": "gpt-5.5",
    "max_completion_tokens": 100,
    "stop": ["STOP", "END"],
    "reasoning": {"effort": "high", "max_tokens": 2000, "enabled": True, "exclude": False},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "stream_options": {"include_usage": True},
    "web_search_options": {
        "user_location": {"type": "approximate", "approximate": {"city": "Bern"}},
        "search_context_size": "low",
    },
    "functions": [{"name": "old", "parameters": SCHEMA}],
    "tools": [
        {"type": "function", "function": {"name": "weather", "parameters": {"anyOf": [SCHEMA]}, "strict": False}},
        {
            "type": "custom",
            "custom": {
                "name": "patch",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}},
            },
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
    },
    "user": "u",
    "service_tier": "priority",
    "messages": [
        {
            "role": "developer",
            "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": "no",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Hm.",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "pos": 0,
                },
                {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1"},
                {"type": "reasoning.summary", "summary": "s", "format": "openai-responses-v1"},
                {"type": "reasoning.encrypted", "data": "x", "id": "rs", "format": "openai-responses-v1"},
                {"type": "reasoning.text", "text": "y", "format": "unknown"},
            ],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "tool", "tool_call_id": "c2", "content": "done"},
        {
            "role": "assistant",
            "content": "Hi",
            "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s"}],
            "function_call": {"name": "old", "arguments": "{}"},
        },
        {"role": "function", "name": "old", "content": "ok"},
        {"role": "user", "content": "go", "name": "bob"},
    ],
}
_RESPONSES: Json = {
    "model": "gpt-5.5",
    "instructions": "Be brief.",
    "max_output_tokens": 100,
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content", "web_search_call.action.sources"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "tools": [
        {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True},
        {
            "type": "custom",
            "name": "patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        },
        {
            "type": "namespace",
            "name": "mcp",
            "description": "d",
            "tools": [{"type": "function", "name": "find", "parameters": {"oneOf": [SCHEMA]}, "defer_loading": True}],
        },
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.com"]},
            "user_location": {"type": "approximate", "city": "x"},
        },
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client", "parameters": SCHEMA},
    ],
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"ttl": "30m"}},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "high"},
                {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {"type": "function_call", "call_id": "c1", "name": "find", "namespace": "mcp", "arguments": '{"city": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
        {"type": "local_shell_call", "call_id": "c3", "action": {"type": "exec", "command": ["ls"], "env": {}}},
        {"type": "local_shell_call_output", "id": "c3", "output": "a"},
        {"type": "shell_call", "call_id": "c4", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "c4", "output": [{"stdout": "a"}]},
        {"type": "apply_patch_call", "call_id": "c5", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "c5", "status": "failed", "output": "no"},
        {"type": "tool_search_call", "call_id": "c6", "execution": "client", "arguments": {"query": "x"}},
        {
            "type": "tool_search_output",
            "call_id": "c6",
            "execution": "client",
            "tools": [{"type": "function", "name": "late", "parameters": SCHEMA}],
        },
        {"type": "additional_tools", "tools": [{"type": "function", "name": "more", "parameters": SCHEMA}]},
        {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}},
        {
            "type": "message",
            "role": "assistant",
            "phase": "final_answer",
            "content": [{"type": "output_text", "text": "x", "annotations": []}, {"type": "refusal", "refusal": "no"}],
        },
        {"role": "developer", "content": "In French."},
        {"role": "user", "content": "go"},
    ],
}

REQUESTS: dict[Format, list[Json]] = {
    A: [_ANTHROPIC, {**RICH[A], "stream": True}, _ANTHROPIC | {"stream": True}],
    C: [_CHAT, {**RICH[C], "stream": True}, _CHAT | {"stream": True}],
    R: [_RESPONSES, {**RICH[R], "stream": True}, _RESPONSES | {"stream": True}],
}

WHOLE: dict[Format, Json] = {
    A: {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s1",
                "content": [{"type": "web_search_result", "url": "https://example.com", "title": "t"}],
            },
            {
                "type": "text",
                "text": "Hi",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://example.com",
                        "title": "t",
                        "cited_text": "x",
                    }
                ],
            },
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "x"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": {"explanation": "e", "category": "bio"},
        "usage": {
            "input_tokens": 3,
            "output_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 1},
            "server_tool_use": {"web_search_requests": 1},
        },
    },
    C: {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-5.5",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "refusal": None,
                    "reasoning_content": "Hm.",
                    "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}],
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url_citation": {
                                "url": "https://example.com",
                                "title": "t",
                                "start_index": 0,
                                "end_index": 1,
                            },
                        }
                    ],
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                        {"id": "c2", "type": "custom", "custom": {"name": "patch", "input": "x"}},
                    ],
                },
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}},
    },
    R: {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "model": "gpt-5.5",
        "status": "completed",
        "output": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "x",
            },
            {
                "type": "web_search_call",
                "id": "ws_1",
                "action": {"type": "search", "query": "x", "sources": [{"type": "url", "url": "https://example.com"}]},
            },
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "content": [
                    {
                        "type": "output_text",
                        "text": "Hi",
                        "annotations": [
                            {
                                "type": "url_citation",
                                "url": "https://example.com",
                                "title": "t",
                                "start_index": 0,
                                "end_index": 1,
                            }
                        ],
                    },
                    {"type": "refusal", "refusal": "no"},
                ],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "patch", "input": "x"},
            {
                "type": "shell_call",
                "id": "sh_1",
                "call_id": "c3",
                "action": {"commands": ["ls"]},
                "environment": {"type": "local"},
            },
        ],
        "incomplete_details": None,
        "usage": {"input_tokens": 3, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 1}},
    },
}

ERRORS: list[Json] = [
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"},
    {"error": {"message": "m", "type": "invalid_request_error", "param": "p", "code": "context_length_exceeded"}},
    {"error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_in_seconds": 5}},
    {"detail": "Unsupported parameter: temperature"},
    {"detail": [{"loc": ["body"], "msg": "field required"}]},
    {"message": "m"},
]
