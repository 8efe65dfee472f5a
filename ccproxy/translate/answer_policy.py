"""What happens to the parts and events of an answer. `policy` has the tables for requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ccproxy.translate.formats import Format


class Counterparts(NamedTuple):
    """What a part of an answer becomes in the other formats."""

    anthropic: str = "—"
    chat: str = "—"
    responses: str = "—"


_RECORD = "dropped, with a loss"

_ANTHROPIC_PARTS = {
    "text": Counterparts(
        chat="content, all blocks in one string",
        responses="output_text; consecutive blocks are contents of one message",
    ),
    "thinking": Counterparts(
        chat="reasoning_content; reasoning_details with the signature",
        responses="reasoning, sealed in encrypted_content",
    ),
    "redacted_thinking": Counterparts(
        chat="reasoning_details", responses="reasoning without summary, sealed in encrypted_content"
    ),
    "tool_use": Counterparts(chat="tool_calls", responses="function_call, or the item type that the client's tool has"),
    "server_tool_use": Counterparts(
        chat=_RECORD, responses="web_search_call for web searches; others dropped, with a loss"
    ),
    "web_search_tool_result": Counterparts(chat=_RECORD, responses="completes the web_search_call"),
    "web_fetch_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "code_execution_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "bash_code_execution_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "text_editor_code_execution_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "tool_search_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "advisor_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "mcp_tool_use": Counterparts(chat=_RECORD, responses=_RECORD),
    "mcp_tool_result": Counterparts(chat=_RECORD, responses=_RECORD),
    "mcp_tool_listing": Counterparts(chat=_RECORD, responses=_RECORD),
    "container_upload": Counterparts(chat=_RECORD, responses=_RECORD),
    "compaction": Counterparts(chat=_RECORD, responses=_RECORD),
    "fallback": Counterparts(chat=_RECORD, responses=_RECORD),
}

_CHAT_PARTS = {
    "content": Counterparts(anthropic="text", responses="output_text"),
    "refusal": Counterparts(anthropic="text, and stop_reason refusal", responses="refusal"),
    "reasoning_content": Counterparts(
        anthropic="thinking, sealed in its signature", responses="reasoning, sealed in encrypted_content"
    ),
    "reasoning_details": Counterparts(
        anthropic="thinking, sealed in its signature", responses="reasoning, sealed in encrypted_content"
    ),
    "tool_calls": Counterparts(
        anthropic="tool_use", responses="function_call, or the item type that the client's tool has"
    ),
    "function_call": Counterparts(anthropic="tool_use", responses="function_call"),
    "annotations": Counterparts(anthropic="citations", responses="annotations"),
    "audio": Counterparts(anthropic="not requested", responses="not requested"),
}

_CALL = Counterparts(anthropic="tool_use", chat="tool_calls")
_RESPONSES_PARTS = {
    "message": Counterparts(anthropic="text", chat="content"),
    "reasoning": Counterparts(
        anthropic="thinking, or redacted_thinking when it has no summary; sealed in signature or data",
        chat="reasoning_content; reasoning_details with the encrypted content",
    ),
    "function_call": _CALL,
    "custom_tool_call": Counterparts(anthropic='tool_use with {"input": text}', chat="tool_calls of type custom"),
    "local_shell_call": _CALL,
    "shell_call": Counterparts(
        anthropic="tool_use; in a container dropped, with a loss",
        chat="tool_calls; in a container dropped, with a loss",
    ),
    "apply_patch_call": _CALL,
    "tool_search_call": Counterparts(
        anthropic="tool_use when the client runs it", chat="tool_calls when the client runs it"
    ),
    "web_search_call": Counterparts(
        anthropic="server_tool_use and web_search_tool_result", chat="dropped; citations stay"
    ),
    "file_search_call": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "code_interpreter_call": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "image_generation_call": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "computer_call": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "computer_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "function_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "custom_tool_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "local_shell_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "shell_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "apply_patch_call_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "tool_search_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "additional_tools": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "mcp_call": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "mcp_list_tools": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "mcp_approval_request": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "mcp_approval_response": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "program": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "program_output": Counterparts(anthropic=_RECORD, chat=_RECORD),
    "compaction": Counterparts(anthropic=_RECORD, chat=_RECORD),
}

PARTS: Mapping[Format, Mapping[str, Counterparts]] = {
    Format.ANTHROPIC: _ANTHROPIC_PARTS,
    Format.OPENAI_CHAT: _CHAT_PARTS,
    Format.OPENAI_RESPONSES: _RESPONSES_PARTS,
}

# --- stop reasons in the other formats -------------------------------------------------------------------------------

STOPS: Mapping[Format, Mapping[str, Counterparts]] = {
    Format.ANTHROPIC: {
        "end_turn": Counterparts(chat="stop", responses="completed"),
        "stop_sequence": Counterparts(chat="stop", responses="completed"),
        "tool_use": Counterparts(chat="tool_calls", responses="completed"),
        "max_tokens": Counterparts(chat="length", responses="incomplete: max_output_tokens"),
        "model_context_window_exceeded": Counterparts(chat="length", responses="incomplete: max_output_tokens"),
        "refusal": Counterparts(chat="content_filter", responses="incomplete: content_filter"),
        "pause_turn": Counterparts(chat="stop, with a loss", responses="incomplete: max_output_tokens, with a loss"),
        "compaction": Counterparts(chat="stop, with a loss", responses="incomplete: max_output_tokens, with a loss"),
    },
    Format.OPENAI_CHAT: {
        "stop": Counterparts(anthropic="end_turn (refusal after a refusal)", responses="completed"),
        "tool_calls": Counterparts(anthropic="tool_use", responses="completed"),
        "function_call": Counterparts(anthropic="tool_use", responses="completed"),
        "length": Counterparts(anthropic="max_tokens", responses="incomplete: max_output_tokens"),
        "content_filter": Counterparts(anthropic="refusal", responses="incomplete: content_filter"),
    },
    Format.OPENAI_RESPONSES: {
        "completed": Counterparts(
            anthropic="tool_use with calls, else end_turn (refusal after a refusal)",
            chat="tool_calls with calls, else stop",
        ),
        "incomplete: max_output_tokens": Counterparts(anthropic="max_tokens, also when a call was cut", chat="length"),
        "incomplete: content_filter": Counterparts(anthropic="refusal", chat="content_filter"),
        "incomplete: max_messages": Counterparts(anthropic="end_turn, with a loss", chat="stop"),
        "incomplete: steered": Counterparts(anthropic="end_turn, with a loss", chat="stop"),
        "failed": Counterparts(anthropic="error", chat="error"),
        "cancelled": Counterparts(anthropic="error", chat="error"),
    },
}

# --- events of a stream: read, or ignored because other events repeat them or no format has an equivalent --------------

_READ_ANTHROPIC = frozenset(
    (
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    )
)
_READ_DELTAS = frozenset(
    ("text_delta", "input_json_delta", "citations_delta", "thinking_delta", "signature_delta", "compaction_delta")
)
_READ_RESPONSES = frozenset(
    (
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
        "error",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
    )
)
_REPEATED = "repeated by content_part.done or output_item.done"
_PROGRESS = "progress of a tool that runs at OpenAI"
_IGNORED_RESPONSES: Mapping[str, str] = {
    "response.output_text.done": _REPEATED,
    "response.refusal.done": _REPEATED,
    "response.reasoning_text.done": _REPEATED,
    "response.reasoning_summary_text.done": _REPEATED,
    "response.reasoning_summary_part.added": "the deltas of the summary contain its number",
    "response.reasoning_summary_part.done": _REPEATED,
    "response.audio.delta": "not requested",
    "response.audio.done": "not requested",
    "response.audio.transcript.delta": "not requested",
    "response.audio.transcript.done": "not requested",
    "response.compaction.compacting": "progress of a compaction",
    "response.shell_call_command.added": "the whole command comes with output_item.done",
    "response.shell_call_command.delta": "the whole command comes with output_item.done",
    "response.shell_call_command.done": "the whole command comes with output_item.done",
    "response.shell_call_output_content.delta": _PROGRESS,
    "response.shell_call_output_content.done": _PROGRESS,
    "response.apply_patch_call_operation_diff.delta": "the whole operation comes with output_item.done",
    "response.apply_patch_call_operation_diff.done": "the whole operation comes with output_item.done",
    "response.code_interpreter_call_code.delta": _PROGRESS,
    "response.code_interpreter_call_code.done": _PROGRESS,
    "response.code_interpreter_call.in_progress": _PROGRESS,
    "response.code_interpreter_call.interpreting": _PROGRESS,
    "response.code_interpreter_call.completed": _PROGRESS,
    "response.file_search_call.in_progress": _PROGRESS,
    "response.file_search_call.searching": _PROGRESS,
    "response.file_search_call.completed": _PROGRESS,
    "response.web_search_call.in_progress": _PROGRESS,
    "response.web_search_call.searching": _PROGRESS,
    "response.web_search_call.completed": _PROGRESS,
    "response.image_generation_call.in_progress": _PROGRESS,
    "response.image_generation_call.generating": _PROGRESS,
    "response.image_generation_call.partial_image": _PROGRESS,
    "response.image_generation_call.completed": _PROGRESS,
    "response.mcp_call_arguments.delta": _PROGRESS,
    "response.mcp_call_arguments.done": _PROGRESS,
    "response.mcp_call.in_progress": _PROGRESS,
    "response.mcp_call.completed": _PROGRESS,
    "response.mcp_call.failed": _PROGRESS,
    "response.mcp_list_tools.in_progress": _PROGRESS,
    "response.mcp_list_tools.completed": _PROGRESS,
    "response.mcp_list_tools.failed": _PROGRESS,
}

READ: Mapping[Format, frozenset[str]] = {
    Format.ANTHROPIC: _READ_ANTHROPIC | _READ_DELTAS,
    Format.OPENAI_CHAT: frozenset(("chat.completion.chunk",)),
    Format.OPENAI_RESPONSES: _READ_RESPONSES,
}
IGNORED: Mapping[Format, Mapping[str, str]] = {
    Format.ANTHROPIC: {},
    Format.OPENAI_CHAT: {},
    Format.OPENAI_RESPONSES: _IGNORED_RESPONSES,
}
