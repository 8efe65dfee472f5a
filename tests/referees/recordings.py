"""Recorded exchanges of the three formats, from the folder that `CCPROXY_CORPUS` names. Nothing of them is part of the project."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ccproxy.translate.formats import Format

Json = dict[str, Any]

FORMATS = {
    "messages": Format.ANTHROPIC,
    "chat": Format.OPENAI_CHAT,
    "responses": Format.OPENAI_RESPONSES,
}


class Recording(NamedTuple):
    """One request and its answer."""

    name: str
    fmt: Format
    stream: bool
    request: Json | None
    answer: bytes
    """JSON or SSE, as `stream` says."""

    def whole(self) -> Json:
        """The answer as one object, put together from its stream by plain means."""
        if not self.stream:
            found: Json = json.loads(self.answer)
            return found
        events = [
            json.loads(line[5:])
            for line in self.answer.decode().splitlines()
            if line.startswith("data:") and "[DONE]" not in line
        ]
        match self.fmt:
            case Format.ANTHROPIC:
                return _fold_messages(events)
            case Format.OPENAI_CHAT:
                return _fold_chat(events)
            case Format.OPENAI_RESPONSES:
                return _fold_responses(events)


def recordings() -> Iterator[Recording]:
    """All successful recordings; none when there is no folder."""
    folder = os.environ.get("CCPROXY_CORPUS")
    if not folder:
        return
    root = Path(folder)
    for entry in json.loads((root / "index.json").read_text()):
        if entry["endpoint"] not in FORMATS or entry["status"] not in (200, None):
            continue
        found = json.loads((root / entry["file"]).read_text())
        answer = found["sse_text"] if entry["stream"] else json.dumps(found["response"])
        yield Recording(
            entry["file"], FORMATS[entry["endpoint"]], entry["stream"], found.get("request"), answer.encode()
        )


def _fold_messages(events: list[Json]) -> Json:
    message: Json = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append({**event["content_block"], "_json": ""})
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "input_json_delta":
                        block["_json"] += delta["partial_json"]
                    case "citations_delta":
                        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            case "message_delta":
                message.update(event["delta"])
                message["usage"] = {**message["usage"], **event["usage"]}
    for block in message["content"]:
        if block["type"] == "tool_use" and block["_json"]:
            try:
                block["input"] = json.loads(block["_json"])
            except ValueError:  # cut by the output limit
                block["input"] = block["_json"]
    return message


def _fold_chat(events: list[Json]) -> Json:
    message: Json = {"content": "", "refusal": "", "reasoning": "", "annotations": [], "tool_calls": {}}
    reason, usage = None, None
    for event in events:
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            if choice["index"] != 0:
                continue
            reason = choice.get("finish_reason") or reason
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["refusal"] += delta.get("refusal") or ""
            message["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            message["annotations"] += delta.get("annotations") or []
            for call in delta.get("tool_calls") or ():
                known = message["tool_calls"].setdefault(
                    call["index"], {"type": "function", "function": {"name": "", "arguments": ""}}
                )
                known["function"]["name"] += call["function"].get("name") or ""
                known["function"]["arguments"] += call["function"].get("arguments") or ""
    message["tool_calls"] = list(message["tool_calls"].values())
    return {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}


def _fold_responses(events: list[Json]) -> Json:
    """The last response object, its text as it was streamed: some recordings were shortened and disagree with themselves."""
    response: Json = events[-1]["response"]
    texts: dict[tuple[str, int], str] = {}
    for event in events:
        if event["type"] == "response.output_text.delta":
            key = (event["item_id"], event["content_index"])
            texts[key] = texts.get(key, "") + event["delta"]
    for item in response["output"]:
        if item["type"] == "message":
            for place, part in enumerate(item["content"]):
                if part["type"] == "output_text":
                    part["text"] = texts.get((item["id"], place), part["text"])
    return response
