"""`ccproxy demo`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ccproxy.cli.console import fail

if TYPE_CHECKING:
    import httpx
    from rich.console import Console

QUESTION = "What is a reverse proxy?"
MODEL = "mock-claude"
PRICE = {"input": 3, "output": 15}
"""An invented price of the mock model, in USD per million tokens, so that there is a cost to show."""


@dataclass(frozen=True, slots=True)
class Example:
    """One request of the demo."""

    name: str
    path: str
    body: dict[str, Any]


EXAMPLES = (
    Example(
        "Anthropic Messages",
        "/mock/v1/messages",
        {"max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]},
    ),
    Example(
        "OpenAI Chat Completions", "/mock/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}
    ),
    Example("OpenAI Responses", "/mock/v1/responses", {"input": QUESTION}),
)


def demo() -> None:
    """Start the proxy with the mock provider and try it.

    The proxy listens on a free port and receives a request in each format. The responses, their tokens and their cost are printed, and the proxy stops.

    Example: ccproxy demo
    """
    from rich.console import Console

    from ccproxy.errors import CcproxyError

    try:
        rows = asyncio.run(requested_rows(typer.echo))
    except CcproxyError as error:
        fail(str(error))
    print_rows(rows, Console(width=None if os.isatty(1) else 120))


async def requested_rows(report: Callable[[str], None]) -> list[tuple[str, ...]]:
    """Run a proxy, send it the examples and return a row of the table for each."""
    import httpx

    from ccproxy.server.proxy_server import ProxyServer
    from ccproxy.settings import load

    with tempfile.TemporaryDirectory(prefix="ccproxy-demo-") as folder:
        overrides = {
            "server": {"port": 0, "host": "127.0.0.1"},
            "ledger": {"enabled": False},
            "pricing": {"overrides": {MODEL: PRICE}},
        }
        server = ProxyServer(load(overrides, environ={}, folder=Path(folder)).settings)
        running = asyncio.get_running_loop().create_task(server.run())
        started = asyncio.get_running_loop().create_task(server.started.wait())
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        report(f"ccproxy runs on http://127.0.0.1:{server.port} with the mock provider at /mock\n")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            rows = [await _row(client, example, stream) for example in EXAMPLES for stream in (False, True)]
        server.stop()
        await running
    return rows


async def _row(client: httpx.AsyncClient, example: Example, stream: bool) -> tuple[str, ...]:
    """Send one request and return its row of the table."""
    from ccproxy.translate.fold import events, fold_any, text_of
    from ccproxy.translate.formats import Format
    from ccproxy.translate.usage import read_usage

    body = {"model": MODEL, **example.body, **({"stream": True} if stream else {})}
    if stream and "completions" in example.path:
        body["stream_options"] = {"include_usage": True}
    response = await client.post(example.path, json=body)
    if response.status_code != 200:
        fail(f"{example.name}: {response.status_code} {response.text}")
    tokens_in, tokens_out = "-", "-"
    folded = fold_any(response.content)
    fmt, whole = folded or (Format.ANTHROPIC, {})
    usage = read_usage(fmt, whole.get("usage"))
    if usage is not None:
        tokens_in, tokens_out = str(usage.tokens.prompt), str(usage.tokens.output)
    cost = response.headers.get("x-ccproxy-cost-usd", "-")
    kind = f"{sum(1 for _ in events(response.content))} events" if stream else "whole"
    return example.name, kind, text_of(whole), tokens_in, tokens_out, cost


def print_rows(rows: list[tuple[str, ...]], console: Console) -> None:
    """Print the table."""
    from rich.table import Table

    table = Table(
        title=f"Question: {QUESTION}   (priced at ${PRICE['input']} per million input and ${PRICE['output']} per million output tokens)",
        title_justify="left",
    )
    for heading in ("client format", "response", "answer", "tokens in", "out", "USD"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
