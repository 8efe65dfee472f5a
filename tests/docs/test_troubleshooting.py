"""Each wrong turn ends in a message that the page of troubleshooting has."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from typer.testing import CliRunner

from ccproxy.cli.app import build
from ccproxy.providers.claude_sdk.failures import LOG_IN
from tests.conftest import Serve
from tests.docs.blocks import ROOT, as_pattern
from tests.fakes.ports import free_port
from tests.fakes.proxy import Proxy, running

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "user-guide" / "troubleshooting.md"
BODY = {"model": "mock-claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def messages() -> list[str]:
    """What the first column quotes."""
    rows = re.findall(r"^\| (?!symptom|---)(.+?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 20
    return [found.strip() for row in rows for _, found in re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", row)]


def is_on_the_page(message: str, port: int = 8000) -> bool:
    message = message.replace(f"127.0.0.1 port {port}", "127.0.0.1 port 8000")
    quoted = [each.replace(" …", "…").replace("… ", "…") for each in messages() if len(each) > 12]
    return any(as_pattern(each).search(message) for each in quoted)


def test_an_unknown_message_is_not_on_the_page() -> None:
    assert not is_on_the_page("there is no such thing")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/chat/completions", {}),  # an OpenAI base URL without /v1
        ("/mock/responses", {}),
        ("/api/v1/v1/messages", {}),  # an Anthropic one with it
        ("/v1/messages", {}),  # none of a provider
        ("/api/v1/messages", {}),  # no login
        ("/api/codex/v1/responses", {}),
        ("/api/codex/v1/messages", {"x-api-key": "sk-ant-" + "other"}),  # another vendor's key
        ("/mock/v1/messages", {"host": "evil.test"}),
        ("/mock/v1/messages", {"origin": "http://evil.test"}),
        ("/usage", {}),
    ],
)
async def test_a_wrong_request(tmp_path: Path, path: str, fields: dict[str, str]) -> None:
    async with running(tmp_path) as proxy, proxy.http() as client:
        answer = await (client.get(path) if path == "/usage" else client.post(path, json=BODY, headers=fields))
    assert answer.status_code >= 400
    assert is_on_the_page(answer.json()["error"]["message"]), answer.text


async def test_a_wrong_token_a_broken_body_and_an_upstream_that_is_down(serve: Serve) -> None:
    proxy: Proxy = await serve(
        server={"auth_token": "t"}, providers={"claude_api": {"base_url": "http://127.0.0.1:1", "api_key": "k"}}
    )
    async with proxy.http() as client:
        for path, content, token, status in (
            ("/mock/v1/messages", b"{}", "wrong", 401),
            ("/mock/v1/messages", b"{'model': 1}", "t", 400),
            ("/api/v1/messages", b"{}", "t", 502),
        ):
            answer = await client.post(path, content=content, headers={"x-ccproxy-token": token})
            assert answer.status_code == status
            assert is_on_the_page(answer.json()["error"]["message"]), answer.text


async def test_a_forward_proxy_and_tls(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    answer = await proxy.ask(b"CONNECT api.anthropic.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert is_on_the_page(answer.json["error"]["message"])
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"\x16\x03\x01\x00\x05hello")
    await reader.read()
    writer.close()
    assert any(is_on_the_page(record.getMessage()) for record in caplog.records if "TLS" in record.getMessage())


async def test_no_proxy_on_that_port() -> None:
    port = free_port()
    claude: Any = anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{port}/api", api_key="unused", max_retries=0)
    gpt: Any = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/api/v1", api_key="unused", max_retries=0)
    for client, asked in ((claude, claude.messages.create(**BODY)), (gpt, gpt.responses.create(model="m", input="hi"))):
        with pytest.raises((anthropic.APIConnectionError, openai.APIConnectionError)) as caught:
            await asked
        assert is_on_the_page(f"{type(caught.value).__name__}: {caught.value}")
        await client.close()


def test_a_port_of_another_program(run: CliRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run.invoke(build(["serve"]), ["serve", "--port", str(port)])
    assert done.exit_code == 1
    assert is_on_the_page(done.output, port), done.output


def test_claude_code_without_a_login() -> None:
    assert is_on_the_page(LOG_IN)
