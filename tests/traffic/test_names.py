"""Names that clients and upstreams choose: bounded, printable and encodable wherever they turn up."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer
from mitmproxy import http
from typer.testing import CliRunner

from ccproxy.cli import usage as command
from ccproxy.server.proxy_server import Extras
from ccproxy.settings.folders import data_dir
from ccproxy.translate.labels import MAX_LABEL
from tests.fakes.proxy import running
from tests.fakes.upstream import Received, Upstream, Wire
from tests.traffic.conftest import flows_in

NAMES = [
    "\ud800",
    "m" * 5_000_000,
    "\x1b[2J\x1b]0;title\x07",
    "=cmd|'/C calc'!A0",
    "a\nb\rc",
    "\u202eevil",
    "\x00",
    'a"b\\c',
]
ROUTES = ["/api/v1/messages", "/api/v1/chat/completions", "/mock/v1/messages", "/mock/v1/chat/completions"]


async def names_itself(wire: Wire, asked: Received) -> None:
    """An upstream that repeats the client's name for the model."""
    if asked.method == "GET":
        await wire.answer(404)
        return
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked.json["model"], "content": []}
    usage = {
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "stop_reason": asked.json["model"],
        "stop_sequence": None,
    }
    await wire.answer(200, json.dumps({**message, **usage}).encode())


async def test_names_of_any_kind(tmp_path: Path, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    upstream.script = names_itself
    file = tmp_path / "all.flow"
    statuses = set()
    async with running(tmp_path, upstream, Extras(record=file), ledger={"enabled": True}) as proxy:
        for name in NAMES:
            for path in ROUTES:
                body = {"model": name, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
                session = name.encode("ascii", "backslashreplace").decode()[:60].replace("\n", "").replace("\r", "")
                session = "".join(character for character in session if character.isprintable())
                fields = (("session-id", session), ("user-agent", session * 50), ("content-type", "application/json"))
                statuses.add((await proxy.post(path, json.dumps(body).encode(), *fields)).status)
            began = time.monotonic()
            metrics = await proxy.get("/metrics")
            assert metrics.status == 200
            assert time.monotonic() - began < 10  # 40 s in the first release
        assert len(metrics.body) < 200_000
        assert metrics.body.decode().replace("\n", "").isprintable()
        usage = await proxy.get("/usage?by=model&since=all", ("x-ccproxy-token", proxy.host.cli_token))
        assert usage.status == 200
        assert len(usage.body) < 200_000
    assert statuses <= {200, 400}, statuses
    with closing(sqlite3.connect(data_dir() / "ledger.sqlite3")) as connection:
        columns = "model_asked, model_answered, stop_reason, session, client, path"
        cells = [cell for row in connection.execute(f"SELECT {columns} FROM exchanges") for cell in row if cell]
    assert cells
    assert all(cell.isprintable() and len(cell) <= MAX_LABEL for cell in cells)
    lines = [record.message for record in caplog.records if record.name == "ccproxy.access"]
    assert len(lines) > len(NAMES) * len(ROUTES)
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    for flow in flows_in(file):
        assert isinstance(flow, http.HTTPFlow)
        assert flow.comment.isprintable()
        assert len(flow.comment) < 2000
        json.dumps(flow.metadata["ccproxy"]).encode()
    app = typer.Typer()
    app.command()(command.usage)
    for arguments in (["--csv"], ["--json"], []):
        printed = CliRunner().invoke(app, ["--since", "all", *arguments])
        assert printed.exit_code == 0, printed.output
        assert all(line.isprintable() for line in printed.stdout.splitlines())
        assert "\n=cmd" not in printed.stdout or not arguments or arguments == ["--json"]
