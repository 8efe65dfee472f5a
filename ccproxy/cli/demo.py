"""`ccproxy demo`."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from ccproxy.cli.console import fail

if TYPE_CHECKING:
    import httpx

QUESTION = "What is a reverse proxy?"
MODEL = "mock-claude"
PRICE = {"input": 3, "output": 15}
"""What the pretend model is said to cost, in USD per million tokens, so that there is a cost to show."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the demo and how its answer is read."""

    name: str
    path: str
    body: dict[str, Any]


FORMATS = (
    Asked(
        "Anthropic Messages",
        "/mock/v1/messages",
        {"max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]},
    ),
    Asked(
        "OpenAI Chat Completions", "/mock/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}
    ),
    Asked("OpenAI Responses", "/mock/v1/responses", {"input": QUESTION}),
)


def demo() -> None:
    """Start the proxy with the mock provider on a free port, ask it, print what came back, and stop.

    Example: ccproxy demo
    """
    from ccproxy.errors import CcproxyError

    try:
        rows = asyncio.run(_run())
    except CcproxyError as error:
        fail(str(error))
    _print(rows)


async def _run() -> list[tuple[str, ...]]:
    import httpx

    from ccproxy.server.proxy_server import ProxyServer
    from ccproxy.settings import load

    with tempfile.TemporaryDirectory(prefix="ccproxy-demo-") as folder:
        quiet = {
            "server": {"port": 0, "host": "127.0.0.1"},
            "ledger": {"enabled": False},
            "pricing": {"overrides": {MODEL: PRICE}},
        }
        host = ProxyServer(load(quiet, environ={}, folder=_path(folder)).settings)
        running = asyncio.get_running_loop().create_task(host.run())
        started = asyncio.get_running_loop().create_task(host.started.wait())
        await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        typer.echo(f"ccproxy runs on http://127.0.0.1:{host.port} with the mock provider at /mock\n")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{host.port}", trust_env=False) as client:
            rows = [await _ask(client, asked, stream) for asked in FORMATS for stream in (False, True)]
        host.stop()
        await running
    return rows


async def _ask(client: httpx.AsyncClient, asked: Asked, stream: bool) -> tuple[str, ...]:
    body = {"model": MODEL, **asked.body, **({"stream": True} if stream else {})}
    if stream and "completions" in asked.path:
        body["stream_options"] = {"include_usage": True}
    answer = await client.post(asked.path, json=body)
    if answer.status_code != 200:
        fail(f"{asked.name}: {answer.status_code} {answer.text}")
    objects = list(_events(answer.text)) if stream else [answer.json()]
    tokens_in, tokens_out = _tokens(objects)
    cost = answer.headers.get("x-ccproxy-cost-usd", "-")
    how = f"{len(objects)} events" if stream else "whole"
    return asked.name, how, _said(objects, stream), tokens_in, tokens_out, cost


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("data: {"):
            yield json.loads(line[6:])


def _said(objects: list[dict[str, Any]], stream: bool) -> str:
    """The text of an answer in any of the formats."""
    if stream:
        return "".join(_delta(event) for event in objects)
    body = objects[0]
    if "choices" in body:
        return str(body["choices"][0]["message"]["content"])
    parts = (
        body["content"] if "content" in body else [part for item in body["output"] for part in item.get("content", [])]
    )
    return "".join(part.get("text", "") for part in parts)


def _delta(event: dict[str, Any]) -> str:
    if "choices" in event:
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    if event.get("type") == "response.output_text.delta":
        return str(event["delta"])
    return str(event["delta"].get("text", "")) if event.get("type") == "content_block_delta" else ""


def _tokens(objects: list[dict[str, Any]]) -> tuple[str, str]:
    usages = [found for body in objects if (found := body.get("usage") or (body.get("response") or {}).get("usage"))]
    last = usages[-1] if usages else {}
    return str(last.get("input_tokens", last.get("prompt_tokens", "-"))), str(
        last.get("output_tokens", last.get("completion_tokens", "-"))
    )


def _print(rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"asked: {QUESTION}   (priced as if a million tokens cost ${PRICE['input']} in and ${PRICE['output']} out)",
        title_justify="left",
    )
    for heading in ("client format", "answer", "what came back", "tokens in", "out", "USD"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if os.isatty(1) else 120).print(table)


def _path(folder: str) -> Any:
    from pathlib import Path

    return Path(folder)
