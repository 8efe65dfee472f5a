"""Whatever a run writes, at its most talkative, holds no secret; and the same in a stock mitmdump."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import httpx
from mitmproxy import io

from tests.fakes.client import connected, request
from tests.fakes.ports import free_port
from tests.fakes.proxy import ANTHROPIC_KEY, program, serving
from tests.fakes.upstream import Upstream
from tests.traffic.conftest import FIELDS, STREAM, anthropic, chat, messages
from tests.traffic.secrets import TOKEN, found, found_below


def env(upstream: Upstream) -> dict[str, str]:
    return {
        "SERVER__AUTH_TOKEN": TOKEN,
        "PROVIDERS__CLAUDE_API__BASE_URL": upstream.url,
        "PROVIDERS__CLAUDE_API__API_KEY": ANTHROPIC_KEY,
        "PROVIDERS__CLAUDE_SDK__ENABLED": "false",
        "RAW_LOG__ENABLED": "true",
    }


async def ask_all(port: int, upstream: Upstream) -> None:
    upstream.script = anthropic
    asked = [
        ("/api/v1/messages", messages()),
        ("/api/v1/messages", messages(stream=True)),
        ("/api/v1/chat/completions", chat(stream=True)),
        ("/mock/v1/chat/completions", chat(stream=True)),
        ("/nowhere", messages()),
    ]
    for path, body in asked:
        async with connected(port, "127.0.0.1") as client:
            assert (await client.ask(request(path, body, *FIELDS))).status in {200, 404}


def kinds(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


async def test_serve(tmp_path: Path, upstream: Upstream) -> None:
    arguments = ("--log-level", "debug", "--record", "all.har", "--web", "--web-port", str(free_port()))
    async with serving(tmp_path, *arguments, env=env(upstream)) as proxy:
        await ask_all(proxy.port, upstream)
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = await client.get(f"http://127.0.0.1:{proxy.port}/metrics", headers={"x-ccproxy-token": TOKEN})
            assert not found(ready.content)
        proxy.signal(signal.SIGTERM)
        assert await proxy.ends() == 0
    assert "raw HTTP log is ON" in proxy.output
    assert not found(proxy.output)
    assert not found_below(tmp_path)
    assert {".http", ".har"} <= kinds(tmp_path)
    assert any(kind.startswith((".db", ".sqlite")) for kind in kinds(tmp_path)), kinds(tmp_path)
    entries = json.loads((tmp_path / "all.har").read_text())["log"]["entries"]
    assert len(entries) == 8  # the two translated ones have two legs, and /metrics is one too


async def test_stock_mitmdump(tmp_path: Path, upstream: Upstream) -> None:
    script = Path(sys.modules["ccproxy"].__file__ or "").with_name("script.py")
    port = free_port()
    command = (sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()")
    arguments = ("-s", str(script), "-w", "all.flow", "--set", "flow_detail=4", "--set", "termlog_verbosity=debug")
    more = {**env(upstream), "SERVER__PORT": str(port), "PYTHONUNBUFFERED": "1"}
    async with program(tmp_path, *arguments, command=command, env=more) as proxy:
        await proxy.says(rf"listening at .*127.0.0.1:{port}")
        await ask_all(port, upstream)
        proxy.signal(signal.SIGTERM)
        await proxy.ends()
    assert not found(proxy.output)
    assert not found_below(tmp_path)
    with (tmp_path / "all.flow").open("rb") as opened:
        flows = list(io.FlowReader(opened).stream())
    assert len(flows) == 7
    assert any(flow.response.content == STREAM for flow in flows)  # type: ignore[attr-defined]
