"""What an exchange costs ccproxy, compared to a mitmproxy that does nothing but forward: processor time, start, memory.

python benchmarks/gateway.py [--rounds 12] [--only chat]

Processor time says the same on a busy machine as on an idle one, nearly; requests per second do not. The two proxies take turns, each item's smallest
round counts. Translated items are compared with a bare mitmproxy that carries a native request of that size. Linux: it reads /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ten_thousand import CODEX_MESSAGES, GPT, MODEL, NATIVE, STREAM, Upstream, chunked, messages_events, sse

EVENTS = 2000
BARE = """
import asyncio, sys
from mitmproxy import http, master, options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig

class Forward:
    def request(self, flow):
        flow.request.scheme, flow.request.host, flow.request.port = "http", "127.0.0.1", int(sys.argv[2])
    def responseheaders(self, flow):
        flow.response.stream = flow.response.headers.get("content-type", "").startswith("text/event-stream")

async def main():
    made = master.Master(options.Options())
    made.addons.add(core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig(), Forward())
    made.options.update(mode=["reverse:http://127.0.0.1:9@" + sys.argv[1]], listen_host="127.0.0.1", connection_strategy="lazy")
    await made.run()

asyncio.run(main())
"""


class Talkative(Upstream):
    """Streams `EVENTS` events at once where it is asked to."""

    head, *_, stop, delta, last = messages_events()
    LONG = STREAM + chunked(*(sse(event) for event in [head, *messages_events()[1:3] * (EVENTS // 2), stop, delta, last])) + b"0\r\n\r\n"  # fmt: skip

    def answer(self, head: bytes, body: bytes) -> None:
        if b"[[many]]" in body:
            self.transport.write(self.LONG)
        else:
            super().answer(head, body)


@dataclass(frozen=True)
class Item:
    """Work that both proxies are given."""

    name: str
    count: int
    request: bytes
    bare: bytes = b""
    """What the bare mitmproxy is given instead: it cannot translate."""
    new_connections: bool = False


def conversation(count: int) -> list[dict[str, object]]:
    """Messages of a coding session: text, a tool's call, its result, text."""
    said: list[dict[str, object]] = []
    for number in range(count // 4 + 1):
        call = {"type": "tool_use", "id": f"toolu_{number:06x}", "name": "Read", "input": {"path": f"src/{number}.py"}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "value = index.path(request)\n" * 60}
        said += [
            {"role": "user", "content": [{"type": "text", "text": "and this one? " * 20}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Let me look. " * 10}, call]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": [{"type": "text", "text": "It reads the path. " * 20}]},
        ]
    return said[:count]


def asked(path: str, **body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-api-key: dummy\r\n"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def items() -> list[Item]:
    small = [{"role": "user", "content": "x" * 600}]
    native = asked(NATIVE, model=MODEL, max_tokens=100, messages=small)
    long = conversation(217)
    history = asked(NATIVE, model=MODEL, max_tokens=100, messages=long)
    many = [{"role": "user", "content": "[[many]]"}]
    streamed = asked(NATIVE, model=MODEL, max_tokens=100, messages=many, stream=True)
    chat = "/api/v1/chat/completions"
    return [
        Item("1 KB, whole", 200, native),
        Item("200 KB, whole", 80, asked(NATIVE, model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "x" * 200_000}])),
        Item("2 MB, whole", 20, asked(NATIVE, model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "x" * 2_000_000}])),
        Item("a stream on a new connection", 80, asked(NATIVE, model=MODEL, max_tokens=9, messages=small, stream=True), new_connections=True),
        Item(f"a stream of {EVENTS:,} events at once", 4, streamed),
        Item("Chat → Messages, 1 KB", 200, asked(chat, model=MODEL, messages=small), native),
        Item("Responses → Messages, 1 KB", 200, asked("/api/v1/responses", model=MODEL, input="x" * 600), native),
        Item("Messages → Codex, 1 KB", 100, asked(CODEX_MESSAGES, model=GPT, max_tokens=100, messages=small), native),
        Item("Messages → Codex, 217 messages", 40, asked(CODEX_MESSAGES, model=GPT, max_tokens=100, messages=long), history),
        Item("Chat → Messages, a stream", 4, asked(chat, model=MODEL, messages=many, stream=True), streamed),
    ]  # fmt: skip


# ---- running and measuring


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def read_answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b" 200 " in head, head + rest
    if b"content-length:" in head.lower():
        left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(rest)
        while left > 0:
            left -= len(connection.recv(1 << 20))
        return
    while not rest.endswith(b"0\r\n\r\n"):
        rest = rest[-5:] + connection.recv(1 << 20)


@dataclass
class Proxy:
    """One of the two, running."""

    process: subprocess.Popen[bytes]
    port: int
    start: float
    """Seconds from its start to its first answer."""

    def seconds(self) -> float:
        """Processor time of all its threads so far."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory(self) -> float:
        """Resident MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20

    def work(self, item: Item, request: bytes) -> float:
        """Microseconds of processor time for each exchange."""
        before = self.seconds()
        connection = None
        for _ in range(item.count):
            if connection is None or item.new_connections:
                if connection is not None:
                    connection.close()
                connection = socket.create_connection(("127.0.0.1", self.port))
            connection.sendall(request)
            read_answer(connection)
        assert connection
        connection.close()
        return (self.seconds() - before) / item.count * 1e6


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[Proxy]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home, subprocess.Popen(
        command, env={**os.environ, "HOME": home, **environment}, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as asking:
                        asking.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                        asking.recv(1)
                        break
                except OSError:
                    assert process.poll() is None, "it did not start"
            yield Proxy(process, port, time.monotonic() - began)
        finally:
            process.terminate()


async def be_the_upstream() -> None:
    server = await asyncio.get_running_loop().create_server(Talkative, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    wanted = argparse.ArgumentParser()
    wanted.add_argument("--rounds", type=int, default=12)
    wanted.add_argument("--only", default="", help="items whose name holds this")
    wanted.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = wanted.parse_args()
    if options.upstream:
        asyncio.run(be_the_upstream())
        return
    command = [sys.executable, __file__, "--upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as upstream, contextlib.ExitStack() as stack:
        stack.callback(upstream.terminate)
        assert upstream.stdout
        at = int(upstream.stdout.readline())
        where = {f"PROVIDERS__{name}__BASE_URL": f"http://127.0.0.1:{at}" for name in ("CLAUDE_API", "CODEX")}
        keys = {f"PROVIDERS__{name}__API_KEY": "dummy" for name in ("CLAUDE_API", "CODEX")}
        ports = free_port(), free_port()
        bare = stack.enter_context(running([sys.executable, "-c", BARE, str(ports[0]), str(at)], ports[0], {}))
        ours = stack.enter_context(
            running([sys.executable, "-P", "-m", "ccproxy", "serve"], ports[1], {"SERVER__PORT": str(ports[1]), **where, **keys})
        )  # fmt: skip
        print(f"{'':38}{'bare':>10}{'ccproxy':>10}")
        print(f"{'start to the first answer, ms':38}{bare.start * 1000:>10.0f}{ours.start * 1000:>10.0f}")
        for item in items():
            if options.only.lower() not in item.name.lower():
                continue
            pairs = [
                (bare.work(item, item.bare or item.request), ours.work(item, item.request))
                for _ in range(options.rounds)
            ]
            first, second = (min(side) for side in zip(*pairs, strict=True))
            print(f"{item.name + ', µs':38}{first:>10.0f}{second:>10.0f}{second / first:>8.2f}×")
        print(f"{'memory after all that, MB':38}{bare.memory():>10.0f}{ours.memory():>10.0f}")


if __name__ == "__main__":
    main()
