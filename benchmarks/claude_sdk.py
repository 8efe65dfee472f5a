"""How long `/claude` takes to its first text, against an upstream on loopback that answers at once.

    python -m benchmarks.claude_sdk [ROUNDS]

Compares the SDK's own `query()` with a request of its own (cold), one that finds a spare process (prewarmed) and the next turn of a session (warm),
one after the other in each round. Also prints what a process takes of memory (Linux).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider
from ccproxy.providers.local import LocalRequest
from tests.fakes.messages_upstream import MessagesUpstream

MODEL = "claude-sonnet-4-6"


async def sdk_query(url: str, home: str) -> float:
    """The first text of `claude_agent_sdk.query()`, set up as the plain mode is."""
    from claude_agent_sdk import ClaudeAgentOptions, StreamEvent, query

    options = ClaudeAgentOptions(
        tools=[],
        setting_sources=[],
        strict_mcp_config=True,
        permission_mode="dontAsk",
        model=MODEL,
        system_prompt="",
        include_partial_messages=True,
        thinking={"type": "disabled"},
        extra_args={"bare": None, "no-session-persistence": None},
        env={
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "sk-ant-dummy",
            "HOME": home,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
    )
    start = time.perf_counter()
    took = 0.0
    async for message in query(prompt="go", options=options):
        if not took and isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta":
            took = time.perf_counter() - start
    return took


async def first_text(provider: ClaudeSdkProvider, *turns: str, session: str | None = None) -> float:
    messages = [{"role": ("user", "assistant")[at % 2], "content": turn} for at, turn in enumerate(turns)]
    request = LocalRequest({"model": MODEL, "max_tokens": 100, "messages": messages}, session_id=session)
    start = time.perf_counter()
    took = 0.0
    async for event in provider.stream(request):
        if not took and event["type"] == "content_block_delta":
            took = time.perf_counter() - start
    return took


async def settled(provider: ClaudeSdkProvider, condition: Callable[[dict[str, object]], bool]) -> None:
    while not condition(provider.status()):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.3)


def memory(pid: int) -> float:
    """The process's share of memory in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def main(rounds: int) -> None:
    home = tempfile.mkdtemp()
    environment = {"PATH": os.environ["PATH"], "HOME": home}
    times: dict[str, list[float]] = {"sdk query()": [], "cold": [], "prewarmed": [], "warm session": []}
    async with MessagesUpstream() as upstream:

        def provider(**settings: int) -> ClaudeSdkProvider:
            config = ClaudeSdkConfig(api_key="sk-ant-dummy", base_url=upstream.url, **settings)
            return ClaudeSdkProvider(config, environment=environment, private=Path(home))

        cold, spare, session = provider(), provider(prewarm=1), provider()
        turns = ["go"]
        for warm_up in (cold, spare):
            await first_text(warm_up, "go")
        await first_text(session, *turns, session="s")

        async def next_turn() -> float:
            turns.extend(["ok", "go on"])
            return await first_text(session, *turns, session="s")

        async def with_spare() -> float:
            await settled(spare, lambda status: status["processes"]["spare"] == 1)  # type: ignore[index]
            return await first_text(spare, "go")

        ways: dict[str, Callable[[], Awaitable[float]]] = {
            "sdk query()": lambda: sdk_query(upstream.url, home),
            "cold": lambda: first_text(cold, "go"),
            "prewarmed": with_spare,
            "warm session": next_turn,
        }
        for _ in range(rounds):
            for name, way in ways.items():
                await settled(spare, lambda status: status["processes"]["spare"] == 1)  # type: ignore[index]
                times[name].append(await way())
        pid = session.status()["sessions"][0]["pid"]
        share = memory(pid) if sys.platform == "linux" else 0.0
        for each in (cold, spare, session):
            await each.aclose()
    for name, took in times.items():
        low, middle, high = min(took) * 1000, statistics.median(took) * 1000, max(took) * 1000
        print(f"{name:14} first text {low:6.1f} / {middle:6.1f} / {high:6.1f} ms (min / median / max of {rounds})")
    print(f"memory of a session's process after {len(turns) // 2 + 1} turns: {share:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 12))
