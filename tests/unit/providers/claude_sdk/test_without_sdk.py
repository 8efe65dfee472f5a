"""The extra `claude` may be missing, and its imports are slow: nothing of it is loaded before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]

SCRIPT = """
import asyncio, sys
from ccproxy.errors import Unavailable
from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider
from ccproxy.providers.local import LocalRequest

heavy = {"claude_agent_sdk", "mcp", "anyio", "httpx", "pydantic"} & sys.modules.keys()
assert not heavy, heavy
sys.modules["claude_agent_sdk"] = None

async def main():
    provider = ClaudeSdkProvider(ClaudeSdkConfig())
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    try:
        await anext(provider.stream(LocalRequest(body)))
    except Unavailable as error:
        print(error)
    print(provider.status()["processes"])
    await provider.aclose()

asyncio.run(main())
"""


def test_without_the_sdk_the_answer_names_the_command() -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "pip install 'ccproxy-api[claude]'" in ran.stdout
    assert "'live': 0" in ran.stdout
