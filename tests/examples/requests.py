"""One rich request in each format: everything in it can be sent to every other upstream, exactly or nearly."""

from __future__ import annotations

import base64
from typing import Any

from ccproxy.translate.formats import Format

Json = dict[str, Any]

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n-not-really-").decode()
PDF = base64.b64encode(b"%PDF-1.4 not really").decode()
NOTE = base64.b64encode("Grüße aus dem Anhang".encode()).decode()
SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "days": {"type": ["integer", "null"]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}

ANTHROPIC: Json = {
    "model": "claude-opus-5",
    "max_tokens": 4000,
    "system": [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is in these?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    "title": "report.pdf",
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "plain words"},
                    "title": "note",
                },
                {
                    "type": "search_result",
                    "source": "https://example.com/a",
                    "title": "A page",
                    "content": [{"type": "text", "text": "found words"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hmm.", "signature": "c2lnbmVk"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich", "days": 2}},
                {"type": "tool_use", "id": "toolu_2", "name": "screenshot", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such city", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "content": [
                        {"type": "text", "text": "a picture"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "text", "text": "Go on."},
            ],
        },
        {"role": "system", "content": "The user has switched to Fahrenheit."},
        {"role": "assistant", "content": "It is warm."},
        {"role": "user", "content": "Thanks. And tomorrow?"},
    ],
    "tools": [
        {
            "name": "weather",
            "description": "Tells the weather.",
            "input_schema": SCHEMA,
            "strict": True,
            "input_examples": [{"city": "Bern", "days": 1}],
        },
        {"name": "screenshot", "input_schema": {"type": "object"}},
        {"type": "bash_20250124", "name": "bash"},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    "stop_sequences": ["END"],
    "metadata": {"user_id": "user-7"},
    "stream": True,
}

CHAT: Json = {
    "model": "gpt-5.5",
    "max_completion_tokens": 4000,
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is in these?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                {"type": "file", "file": {"filename": "note.txt", "file_data": f"data:text/plain;base64,{NOTE}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Zürich", "days": 2}'},
                },
                {"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": 'say "hi"\n'}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "no such city"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "done"}]},
        {"role": "system", "content": "The user has switched to Fahrenheit."},
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": "I will not.", "refusal": None},
        {"role": "user", "content": "Thanks. And tomorrow?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA, "strict": True},
        },
        {"type": "custom", "custom": {"name": "patch", "description": "Takes a patch.", "format": {"type": "text"}}},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning_effort": "high",
    "response_format": {"type": "json_schema", "json_schema": {"name": "forecast", "schema": SCHEMA, "strict": True}},
    "stop": ["END"],
    "user": "user-7",
    "stream": True,
    "stream_options": {"include_usage": True},
}

RESPONSES: Json = {
    "model": "gpt-5.5",
    "instructions": "Be brief.",
    "max_output_tokens": 4000,
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is in these?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                {"type": "input_file", "filename": "report.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            ],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city": "Zürich", "days": 2}',
            "status": "completed",
        },
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "patch", "input": 'say "hi"\n'},
        {
            "type": "local_shell_call",
            "id": "lsh_1",
            "call_id": "call_3",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "no such city"}],
        },
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
        {"type": "local_shell_call_output", "id": "call_3", "output": "a\nb"},
        {"type": "message", "role": "system", "content": "The user has switched to Fahrenheit."},
        {"role": "user", "content": "Go on."},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "It is warm.", "annotations": []},
                {"type": "refusal", "refusal": "No more."},
            ],
        },
        {"role": "user", "content": "Thanks. And tomorrow?"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": SCHEMA,
            "strict": True,
        },
        {
            "type": "custom",
            "name": "patch",
            "description": "Takes a patch.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
        },
        {"type": "local_shell"},
        {
            "type": "namespace",
            "name": "crm",
            "description": "Customers.",
            "tools": [
                {
                    "type": "function",
                    "name": "find",
                    "parameters": {"type": "object", "properties": {}},
                    "strict": False,
                }
            ],
        },
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "forecast", "schema": SCHEMA, "strict": True}},
    "include": ["reasoning.encrypted_content"],
    "safety_identifier": "user-7",
    "store": False,
    "stream": True,
}

RICH: dict[Format, Json] = {
    Format.ANTHROPIC: ANTHROPIC,
    Format.OPENAI_CHAT: CHAT,
    Format.OPENAI_RESPONSES: RESPONSES,
}
