"""The response object around an answer: the members of the request that the API repeats, with its defaults."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ECHOED = ("metadata", "text", "tool_choice", "tools")
"""Members of a request that the response object repeats with any content."""


def response_object(request: Json, identity: str, model: str, created: int) -> Json:
    """A response in progress, as in `response.created`."""
    reasoning, text, metadata = (_object(request, name) for name in ("reasoning", "text", "metadata"))
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "metadata": metadata,
        "model": model,
        "output": [],
        "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": request.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": "default",
        "store": False,
        "temperature": request.get("temperature"),
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": [_tool(tool) for tool in request.get("tools") or () if isinstance(tool, dict)],
        "top_p": request.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": request.get("user"),
    }


def _object(request: Json, name: str) -> Json:
    value = request.get(name)
    return value if isinstance(value, dict) else {}


def _tool(tool: Json) -> Json:
    """A tool with all its members, as the API shows it."""
    if tool.get("type") != "function":
        return tool
    return {
        **tool,
        "parameters": tool.get("parameters"),
        "strict": tool.get("strict") is True,
        "description": tool.get("description"),
    }
