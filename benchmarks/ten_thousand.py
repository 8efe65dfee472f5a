"""Ten thousand exchanges through a real `ccproxy serve`: no row of the ledger lost, memory that stays, latency with and without a ledger.

python benchmarks/ten_thousand.py [--exchanges 10000] [--rounds 40]

The proxy runs on one core; the fake upstream, a process of its own on 127.0.0.1, and the client share another. Exit code 1 if a row is missing,
an outcome is not what was asked for, the memory grew by more than 5 MB, or the median latency by more than 10 %.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL = "claude-sonnet-4-5"
USAGE = {"input_tokens": 1000, "cache_read_input_tokens": 5000, "cache_creation_input_tokens": 100, "output_tokens": 1}
WORDS = 20
MOST_GROWTH = 5.0
MOST_LATENCY = 1.10


# ---- the upstream: answers built beforehand, chosen by a word in the request's body


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def whole(status: str, body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def messages_events() -> list[dict[str, object]]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [], "usage": USAGE}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}}
    return [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[delta] * WORDS,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**USAGE, "output_tokens": WORDS},
        },
        {"type": "message_stop"},
    ]


def responses_events() -> list[dict[str, object]]:
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "error": None, "usage": None}
    response |= {"status": "in_progress", "output": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    text = " word" * WORDS
    part = {"type": "output_text", "text": "", "annotations": []}
    full = {**part, "text": text}
    done = {**item, "status": "completed", "content": [full]}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    usage = {"input_tokens": 1000, "output_tokens": WORDS, "total_tokens": 1000 + WORDS}
    usage |= {"input_tokens_details": {"cached_tokens": 900}, "output_tokens_details": {"reasoning_tokens": 5}}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "part": part},
        *[{"type": "response.output_text.delta", **at, "delta": " word"}] * WORDS,
        {"type": "response.output_text.done", **at, "text": text},
        {"type": "response.content_part.done", **at, "part": full},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {
            "type": "response.completed",
            "response": {**response, "status": "completed", "output": [done], "usage": usage},
        },
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = whole(
    "200 OK",
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "content": [{"type": "text", "text": " word" * WORDS}],
        "usage": {**USAGE, "output_tokens": WORDS},
    },
)
MESSAGES = STREAM + chunked(*(sse(event) for event in messages_events())) + b"0\r\n\r\n"
BEGUN = STREAM + chunked(*(sse(event) for event in messages_events()[:5]))
RESPONSES = STREAM + chunked(*(sse(event) for event in responses_events())) + b"0\r\n\r\n"
OVERLOADED = whole("529 Overloaded", {"type": "error", "error": {"type": "overloaded_error", "message": "later"}})


class Upstream(asyncio.Protocol):
    """One connection to the fake upstream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + size:
                return
            body = self.buffer[end + 4 : end + 4 + size]
            self.buffer = self.buffer[end + 4 + size :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if b"[[hang]]" in body:
            self.transport.write(BEGUN)  # and nothing more: the client leaves
        elif b"[[cut]]" in body:
            self.transport.write(BEGUN)
            self.transport.close()
        elif b"[[overloaded]]" in body:
            self.transport.write(OVERLOADED)
        elif b"/responses" in head.partition(b"\r\n")[0]:
            self.transport.write(RESPONSES)
        elif b'"stream": true' in body or b'"stream":true' in body:
            self.transport.write(MESSAGES)
        else:
            self.transport.write(WHOLE)


async def be_the_upstream() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ---- the client


@dataclass(frozen=True)
class Kind:
    """A kind of exchange: what is asked, and how the ledger shall call its end."""

    name: str
    path: str
    outcome: str
    status: int
    stream: bool = False
    word: str = ""
    model: str = MODEL
    leaves: bool = False
    """The client closes in the middle of the answer."""
    raw: bytes = b""

    def request(self) -> bytes:
        text = f"tell me {self.word}"
        asked: dict[str, object] = {"model": self.model, "stream": self.stream}
        if self.path.endswith("/responses"):
            asked |= {"input": text}
        else:
            asked |= {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
        body = self.raw or json.dumps(asked).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nuser-agent: bench/1\r\n"
        )
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


NATIVE, CHAT, RESPONSE = "/api/v1/messages", "/api/v1/chat/completions", "/api/v1/responses"
CODEX_CHAT, CODEX_NATIVE, CODEX_MESSAGES = "/api/codex/v1/chat/completions", "/api/codex/responses", "/api/codex/v1/messages"  # fmt: skip
GPT = "gpt-5"
KINDS = (
    Kind("native, whole", NATIVE, "finished", 200),
    Kind("native, streamed", NATIVE, "finished", 200, stream=True),
    Kind("chat, whole", CHAT, "finished", 200),
    Kind("chat, streamed", CHAT, "finished", 200, stream=True),
    Kind("responses, whole", RESPONSE, "finished", 200),
    Kind("responses, streamed", RESPONSE, "finished", 200, stream=True),
    Kind("codex, native", CODEX_NATIVE, "finished", 200, stream=True, model=GPT),
    Kind("codex, messages, whole", CODEX_MESSAGES, "finished", 200, model=GPT),
    Kind("codex, chat, streamed", CODEX_CHAT, "finished", 200, stream=True, model=GPT),
    Kind("client leaves a native stream", NATIVE, "client_left", 200, stream=True, word="[[hang]]", leaves=True),
    Kind("client leaves a translated stream", CHAT, "client_left", 200, stream=True, word="[[hang]]", leaves=True),
    Kind("upstream cuts a native stream", NATIVE, "cut", 200, stream=True, word="[[cut]]"),
    Kind("upstream cuts a translated stream", CHAT, "cut", 200, stream=True, word="[[cut]]"),
    Kind("upstream cuts a whole answer", CODEX_MESSAGES, "error", 502, word="[[cut]]", model=GPT),
    Kind("an error, native", NATIVE, "finished", 529, word="[[overloaded]]"),
    Kind("an error, translated", CHAT, "finished", 503, stream=True, word="[[overloaded]]"),
    Kind("a body that is not valid JSON", NATIVE, "error", 400, raw=b"{"),
)


class Client:
    """One connection to the proxy, made again after it has closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, data: bytes, *, leaves: bool = False) -> int:
        """The status of the answer, once it is over."""
        if self.writer is None or self.reader is None or self.reader.at_eof():
            self.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(data)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        if leaves:
            await self.reader.readuntil(b"\n\n")
            self.close()
        elif (at := head.find(b"content-length:")) >= 0:
            await self.reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
        else:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                await self.reader.readexactly(size + 2)
            await self.reader.readexactly(2)
        if b"connection: close" in head:
            self.close()
        return status

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


# ---- the proxies


@dataclass
class Proxy:
    """A running `ccproxy serve`."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def resident(self) -> float:
        """MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def outcomes(self) -> Counter[tuple[str, int]]:
        database = sqlite3.connect(next(self.folder.rglob("ledger.sqlite3")))
        with contextlib.closing(database):
            return Counter({(o, s): n for o, s, n in database.execute("SELECT outcome, status, count(*) FROM exchanges GROUP BY 1, 2")})  # fmt: skip


@contextlib.contextmanager
def serving(upstream: int, *, ledger: bool, env: Mapping[str, str] | None = None) -> Iterator[Proxy]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {name: value for name, value in os.environ.items() if "__" not in name} | {
            "HOME": name,
            "XDG_DATA_HOME": f"{name}/data",
            "XDG_CONFIG_HOME": f"{name}/config",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PROVIDERS__CLAUDE_API__BASE_URL": f"http://127.0.0.1:{upstream}",
            "PROVIDERS__CLAUDE_API__API_KEY": "sk-ant-" + "dummy",
            "PROVIDERS__CODEX__BASE_URL": f"http://127.0.0.1:{upstream}/backend-api/codex",
            "PROVIDERS__CODEX__API_KEY": "dummy",
            "PROVIDERS__CLAUDE_SDK__ENABLED": "false",
            "LEDGER__ENABLED": str(ledger).lower(),
            **(env or {}),
        }
        command = [sys.executable, "-m", "ccproxy", "serve", "--port", "0", "--log-level", "error"]
        said = folder / "said"
        process = subprocess.Popen(command, cwd=name, env=environment, stdout=said.open("wb"), stderr=subprocess.STDOUT)
        try:
            if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
                os.sched_setaffinity(process.pid, {0})
            yield Proxy(process, _port(folder, process), folder)
        finally:
            process.kill()
            process.wait()


def _port(folder: Path, process: subprocess.Popen[bytes]) -> int:
    for _ in range(600):
        if process.poll() is not None:
            break
        for token in folder.rglob("token-*"):  # minted for the port
            port = int(token.name.rpartition("-")[2])
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return port
        time.sleep(0.05)
    raise SystemExit(f"the proxy did not start: {(folder / 'said').read_text()}")


@contextlib.contextmanager
def upstream_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, __file__, "--be-the-upstream"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


# ---- what is proven


async def count(upstream: int, exchanges: int) -> bool:
    """All kinds, eight at a time: is every one a row, and does the memory stay?"""
    with serving(upstream, ledger=True) as proxy:
        expected: Counter[tuple[str, int]] = Counter()
        resident: dict[int, float] = {}
        marks = (exchanges // 10, exchanges // 2, exchanges)
        number = 0

        async def work(until: int) -> None:
            nonlocal number
            client = Client(proxy.port)
            while number < until:
                kind = KINDS[number % len(KINDS)]
                number += 1
                status = await client.ask(kind.request(), leaves=kind.leaves)
                if status != kind.status:
                    raise SystemExit(f"{kind.name}: {status} instead of {kind.status}")
                expected[kind.outcome, kind.status] += 1
            client.close()

        began = time.perf_counter()
        for mark in marks:
            await asyncio.gather(*(work(mark) for _ in range(8)))
            resident[mark] = proxy.resident
        took = time.perf_counter() - began
        stopped = time.perf_counter()
        code = proxy.stop()
        stopped = time.perf_counter() - stopped
        rows = proxy.outcomes()
    growth = resident[marks[-1]] - resident[marks[0]]
    print(
        f"{exchanges} exchanges of {len(KINDS)} kinds in {took:.1f} s ({exchanges / took:.0f}/s), stopped in {stopped:.2f} s"
    )
    print(
        f"rows in the ledger: {rows.total()} of {expected.total()}, each with the outcome expected: {rows == expected}"
    )
    if rows != expected:
        print(f"  expected {dict(expected)}\n  found    {dict(rows)}")
    memory = ", ".join(f"{size:.1f} MB after {mark}" for mark, size in resident.items())
    print(f"memory (RSS): {memory}: {growth:+.1f} MB from exchange {marks[0]} on")
    return code == 0 and rows == expected and growth <= MOST_GROWTH


async def compare(upstream: int, rounds: int, batch: int = 100) -> bool:
    """Two proxies, one of them without a ledger, in turns: the median latency of each batch, and the median of their ratios."""
    fine = True
    with serving(upstream, ledger=True) as with_ledger, serving(upstream, ledger=False) as without:
        for kind in (KINDS[0], KINDS[1], KINDS[3]):
            clients = [Client(with_ledger.port), Client(without.port)]
            data = kind.request()
            for client in clients:
                await latency(client, data, 3 * batch)
            pairs = []
            for number in range(rounds):
                order = clients if number % 2 else clients[::-1]
                found = {id(client): await latency(client, data, batch) for client in order}
                pairs.append((found[id(clients[0])], found[id(clients[1])]))
            ratio = statistics.median(one / other for one, other in pairs)
            one, other = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(
                f"{kind.name:20} p50 {one:.3f} ms with ledger, {other:.3f} ms without; median of {rounds} ratios {ratio:.3f}"
            )
            fine = fine and ratio <= MOST_LATENCY
            for client in clients:
                client.close()
    return fine


async def latency(client: Client, data: bytes, times: int) -> float:
    """The median, in ms."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await client.ask(data)
        found.append(time.perf_counter() - began)
    return statistics.median(found) * 1000


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--exchanges", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--be-the-upstream", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    if given.be_the_upstream:
        await be_the_upstream()
    print(f"Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}")
    with upstream_process() as upstream:
        counted = await count(upstream, given.exchanges)
        compared = await compare(upstream, given.rounds) if given.rounds else True
    print("all of it holds" if counted and compared else "NOT all of it holds")
    return 0 if counted and compared else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
