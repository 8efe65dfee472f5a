"""What the usage tap costs per SSE event, by format, with one event a chunk (the common case) and in chunks of 16 KB.

python benchmarks/tap.py
"""

from __future__ import annotations

import gzip
import json
import statistics
import time

from ccproxy.ledger.tap import UsageTap
from ccproxy.translate.formats import Format

DELTAS = 2000


def sse(event: dict[str, object], *, named: bool) -> bytes:
    data = json.dumps(event, separators=(",", ":"))
    return (f"event: {event['type']}\n" if named else "").encode() + f"data: {data}\n\n".encode()


def messages() -> list[bytes]:
    usage = {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 12000, "output_tokens": 1}
    events: list[dict[str, object]] = [
        {
            "type": "message_start",
            "message": {"id": "msg_1", "role": "assistant", "model": "claude-opus-5-5", "content": [], "usage": usage},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f" word{n}"}}
            for n in range(DELTAS)
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": DELTAS}},
        {"type": "message_stop"},
    ]
    return [sse(event, named=True) for event in events]


def chat() -> list[bytes]:
    def chunk(delta: dict[str, object], finish: str | None = None, usage: object = None) -> dict[str, object]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-6-sol",
            "service_tier": "default",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            "usage": usage,
            "obfuscation": "aBcDeFgH",
        }

    events = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": f" word{n}"}) for n in range(DELTAS)),
        chunk({}, "stop"),
    ]
    events.append({**chunk({}), "choices": [], "usage": {"prompt_tokens": 25, "completion_tokens": DELTAS}})
    return [*(sse(event, named=False) for event in events), b"data: [DONE]\n\n"]


def responses() -> list[bytes]:
    response = {"id": "resp_1", "object": "response", "model": "gpt-6-sol", "error": None, "output": [], "usage": None}
    text = "".join(f" word{n}" for n in range(DELTAS))
    done = {
        **response,
        "status": "completed",
        "usage": {"input_tokens": 25, "output_tokens": DELTAS},
        "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
    }
    delta = {"type": "response.output_text.delta", "item_id": "msg_68a1f0c2b3", "output_index": 0, "content_index": 0}
    delta |= {"logprobs": [], "obfuscation": "aBcDeFgH"}
    events = [
        {"type": "response.created", "response": response},
        *({**delta, "sequence_number": n, "delta": f" word{n}"} for n in range(DELTAS)),
        {"type": "response.completed", "response": done},
    ]
    return [sse(event, named=True) for event in events]


def cost(fmt: Format, chunks: list[bytes], events: int, encoding: str = "") -> float:
    """Median microseconds per event over 21 runs, the cost of the loop itself taken off."""
    times = []
    for _ in range(21):
        tap = UsageTap(fmt, "text/event-stream", encoding)
        feed = tap.feed
        began = time.perf_counter()
        for chunk in chunks:
            feed(chunk)
        tap.finish()
        took = time.perf_counter() - began
        began = time.perf_counter()
        for chunk in chunks:
            len(chunk)
        times.append((took - (time.perf_counter() - began)) / events * 1e6)
        assert tap.reading.usage is not None
        assert tap.reading.usage.tokens.output == DELTAS
    return statistics.median(times)


def slices(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def main() -> None:
    print(
        f"{'format':20} {'event a chunk':>14} {'half events':>12} {'16 KB chunks':>13} {'gzip 16 KB':>11}  (us/event)"
    )
    for fmt, events in (
        (Format.ANTHROPIC, messages()),
        (Format.OPENAI_CHAT, chat()),
        (Format.OPENAI_RESPONSES, responses()),
    ):
        whole = b"".join(events)
        half = slices(whole, len(whole) // len(events) // 2)
        row = (
            cost(fmt, events, len(events)),
            cost(fmt, half, len(events)),
            cost(fmt, slices(whole, 16384), len(events)),
            cost(fmt, slices(gzip.compress(whole), 16384), len(events), "gzip"),
        )
        print(f"{fmt:20} {row[0]:14.2f} {row[1]:12.2f} {row[2]:13.2f} {row[3]:11.2f}")
        began = time.perf_counter()
        tap = UsageTap(fmt, "application/json")
        body = json.dumps({"type": "message", "text": "x" * (8 << 20), "usage": {"input_tokens": 1}}).encode()
        tap.feed(body)
        tap.finish()
        print(f"{'':20} whole JSON body of 8 MB: {(time.perf_counter() - began) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
