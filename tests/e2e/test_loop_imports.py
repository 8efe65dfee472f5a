"""An import takes up to 0.1 s, in which no client is served: none happens on the event loop once the proxy listens."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.fakes.proxy import environment
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire


async def test_no_request_makes_the_event_loop_import_anything(tmp_path: Path, upstream: Upstream) -> None:
    async def script(wire: Wire, received: Received) -> None:
        await wire.answer(200, b'{"data":[]}' if received.method == "GET" else b'{"type":"message","content":[]}')

    upstream.script = script
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.loop_imports", str(upstream.port)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment(tmp_path)},
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1]) == []
