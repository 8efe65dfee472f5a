"""A proxy in a process of its own that prints what its event loop imports while it serves the first requests of each kind.

    python -m tests.fakes.loop_imports UPSTREAM_PORT

What is imported in a thread does not hold up other clients, so it is not printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

from ccproxy import mitmproxy_patches

mitmproxy_patches.load_addons_on_demand()

from ccproxy.server.proxy_server import ProxyServer  # noqa: E402 - as `ccproxy serve` does it
from ccproxy.settings import Settings  # noqa: E402

MESSAGES = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
REQUESTS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("/api/v1/messages", MESSAGES),
    ("/api/v1/messages", {**MESSAGES, "stream": True}),
    ("/api/v1/chat/completions", {**MESSAGES, "stream": True}),
    ("/api/v1/responses", {"model": "m", "input": "hello"}),
    ("/api/codex/responses", {"model": "m", "input": "hello"}),
    ("/api/codex/v1/messages", MESSAGES),
    ("/mock/v1/messages", MESSAGES),
    ("/mock/v1/chat/completions", {**MESSAGES, "stream": True}),
    ("/claude/v1/messages", MESSAGES),
    ("/api/v1/models", None),
    ("/health", None),
    ("/metrics", None),
    ("/usage", None),
    ("/permissions", None),
    ("/no/such/path", None),
)


class Recorder:
    """A finder that finds nothing, and notes what the main thread looks for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._main = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        del path, target
        if threading.get_ident() == self._main:
            self.names.append(name)


async def send(port: int, path: str, body: dict[str, Any] | None) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    content = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await reader.read()
    writer.close()


async def main() -> None:
    upstream = f"http://127.0.0.1:{sys.argv[1]}"
    provider = {"base_url": upstream, "api_key": "dummy"}
    sections: dict[str, Any] = {"server": {"port": 0}, "providers": {"claude_api": provider, "codex": provider}}
    host = ProxyServer(Settings(**sections))
    running = asyncio.get_running_loop().create_task(host.run())
    await host.started.wait()
    recorder = Recorder()
    sys.meta_path.insert(0, recorder)  # type: ignore[arg-type]
    for path, body in REQUESTS:
        await send(host.port, path, body)
    sys.meta_path.remove(recorder)  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(recorder.names) + "\n")
    host.stop()
    await running


if __name__ == "__main__":
    asyncio.run(main())
