"""Mixed traffic for minutes: does memory stay, are descriptors given back, does any request wait?

python benchmarks/soak.py [--minutes 20] [--warm-up 2] [--web] [--raw-log] [--clients 8]

The kinds of `ten_thousand.py` (whole, streamed, translated, folded, failing, left by the client), requests of 1 MB, and requests that are not HTTP or not
JSON, eight at a time. Another client asks for /health/live all the time: its slowest response is the longest time that the event loop was blocked.
Exit code 1 if, from the end of the warm-up on, the memory grew by more than 10 %, descriptors or threads are left over, or a request took more than 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import sys
import time
from pathlib import Path

from ten_thousand import KINDS, MODEL, Client, Proxy, serving, upstream_process

MOST_GROWTH = 1.10
MOST_SECONDS = 5.0


def large(path: str) -> bytes:
    """A request of 1 MB, with an image in it."""
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" + "A" * 2**20},
    }
    content = [{"type": "text", "text": "look"}, image]
    if "chat" in path:
        content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo" + "A" * 2**20}}]
    body = json.dumps({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": content}]}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


BROKEN = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    b"POST /api/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /api/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 100_000,
)


class Soak:
    """One run."""

    def __init__(self, proxy: Proxy, end: float) -> None:
        self.proxy = proxy
        self.end = end
        self.requests = 0
        self.slowest = 0.0
        self.blocked = 0.0
        self.failed: list[str] = []

    async def work(self) -> None:
        client = Client(self.proxy.port)
        large_ones = itertools.cycle([large("/api/v1/messages"), large("/api/v1/chat/completions")])
        while time.monotonic() < self.end:
            number, began = self.requests, time.monotonic()
            self.requests += 1
            if number % 97 == 0:
                await self.break_off(BROKEN[number // 97 % len(BROKEN)])
                continue
            if number % 41 == 0:
                status, expected = await client.ask(next(large_ones)), 200
            else:
                kind = KINDS[number % len(KINDS)]
                status, expected = await client.ask(kind.request(), leaves=kind.leaves), kind.status
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status != expected:
                self.failed.append(f"{status} instead of {expected}")
        client.close()

    async def break_off(self, data: bytes) -> None:
        """Send what is not a request, or half of one, and leave."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write(data)
        await writer.drain()
        writer.close()

    async def probe(self) -> None:
        """How long does a request wait that needs nothing?"""
        client = Client(self.proxy.port)
        while time.monotonic() < self.end:
            began = time.monotonic()
            await client.ask(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            self.blocked = max(self.blocked, time.monotonic() - began)
            await asyncio.sleep(0.01)
        client.close()


def numbers(proxy: Proxy) -> tuple[float, int, int]:
    """Memory in MB, open descriptors, threads."""
    process = Path(f"/proc/{proxy.process.pid}")
    return proxy.resident, len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def settled(proxy: Proxy) -> tuple[float, int, int]:
    """The numbers once nothing is under way: mitmproxy closes connections a moment later."""
    await asyncio.sleep(3)
    return numbers(proxy)


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--warm-up", type=float, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--web", action="store_true")
    parser.add_argument("--raw-log", action="store_true")
    options = parser.parse_args()
    extra = {"SERVER__WEB": "true", "SERVER__WEB_PORT": str(free_port())} if options.web else {}
    extra |= {"RAW_LOG__ENABLED": "true"} if options.raw_log else {}
    print(
        f"Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}, web {options.web}, raw log {options.raw_log}"
    )
    with upstream_process() as upstream, serving(upstream, ledger=True, env=extra) as proxy:
        before: tuple[float, int, int] = (0.0, 0, 0)
        result = 0
        for name, minutes in (("warm-up", options.warm_up), ("soak", options.minutes)):
            soak = Soak(proxy, time.monotonic() + 60 * minutes)
            await asyncio.gather(soak.probe(), *(soak.work() for _ in range(options.clients)))
            after = await settled(proxy)
            print(
                f"{name}: {soak.requests} requests in {minutes:g} min, slowest {soak.slowest:.2f} s, loop blocked {soak.blocked * 1000:.0f} ms at most; "
                f"{after[0]:.1f} MB, {after[1]} descriptors, {after[2]} threads; wrong: {soak.failed[:3]}"
            )
            if name == "soak":
                leaks = after[1] > before[1] + 2 or after[2] > before[2] + 2
                wrong = bool(soak.failed) or soak.slowest > MOST_SECONDS or after[0] > before[0] * MOST_GROWTH or leaks
                print(f"memory {before[0]:.1f} -> {after[0]:.1f} MB ({after[0] / before[0]:.3f} x)")
                result = int(wrong)
            before = after
        code = proxy.stop()
    return result or code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
