"""Every way to fail: what the client gets, and how often the upstream was asked."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import ExchangeError
from ccproxy.providers.claude_sdk.provider import ClaudeSdkProvider
from tests.e2e.claude_sdk.conftest import Make, request, words
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text


async def failure(
    provider: ClaudeSdkProvider, prompt: str = "go", **fields: Any
) -> tuple[ExchangeError, list[dict[str, Any]]]:
    stream = provider.stream(request(prompt, **fields))
    events: list[dict[str, Any]] = []
    try:
        while True:
            events.append(await anext(stream))
    except ExchangeError as error:
        return error, events
    finally:
        await stream.aclose()


REFUSALS: list[tuple[Answer, int, str, str | None]] = [
    (Answer(status=400, message="bad thing"), 400, "invalid_request_error", "bad thing"),
    (
        Answer(status=400, message="prompt is too long: 200001 tokens > 200000 maximum"),
        400,
        "invalid_request_error",
        "prompt is too long",
    ),
    (
        Answer(status=400, message="Your credit balance is too low to access the Anthropic API."),
        402,
        "billing_error",
        "Credit balance is too low",
    ),
    (Answer(status=401, message="invalid x-api-key"), 401, "authentication_error", None),
    (Answer(status=402, message="pay"), 402, "billing_error", "pay"),
    (Answer(status=403, message="not yours"), 403, "permission_error", "not yours"),
    (Answer(status=404, message="model: x"), 404, "not_found_error", None),
    (Answer(status=413, message="big"), 413, "request_too_large", None),
    (Answer(status=429, message="slow down"), 429, "rate_limit_error", "slow down"),
    (Answer(status=500, message="oops"), 500, "api_error", "oops"),
    (Answer(status=503, message="later"), 503, "overloaded_error", "later"),
    (Answer(status=529, message="busy"), 529, "overloaded_error", "busy"),
]


async def test_the_upstream_refuses(make: Make, upstream: MessagesUpstream) -> None:
    upstream.otherwise = lambda body: REFUSALS[int(body["messages"][0]["content"][0]["text"])][0]
    provider = make()
    found = await asyncio.gather(*(failure(provider, prompt=str(number)) for number in range(len(REFUSALS))))
    for number, (error, events) in enumerate(found):
        answer, status, kind, message = REFUSALS[number]
        assert (error.status, error.kind, events) == (status, kind, [])
        assert message in (None, error.message)
        calls = [call for call in upstream.calls if call.body["messages"][0]["content"][0]["text"] == str(number)]
        # After a 404 Claude Code itself asks once more, for a whole answer.
        assert len(calls) == (2 if answer.status == 404 else 1)


@pytest.mark.parametrize(("then", "status"), [("error", 529), ("cut", 502)])
async def test_the_stream_breaks(make: Make, upstream: MessagesUpstream, then: str, status: int) -> None:
    upstream.answers.append(Answer([text("one two three")], then=then))
    error, events = await failure(make())
    assert error.status == status
    assert words(events) == "one t"
    assert events[-1]["type"] != "message_stop"
    assert "message_delta" not in [event["type"] for event in events]
    assert len(upstream.calls) == 1


async def test_nobody_listens_upstream(make: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error, _ = await failure(make(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert (error.status, error.kind) == (502, "api_error")


async def test_the_working_folder_is_not_there(make: Make, tmp_path: Path) -> None:
    error, _ = await failure(make(cwd=str(tmp_path / "gone")))
    assert error.status == 500
    assert "providers.claude_sdk.cwd" in error.message


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_the_program_crashes(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crash = program(tmp_path / "crash", "echo the reason is sk-ant-api03-abc >&2; exit 7")
    error, _ = await failure(make(cli_path=crash))
    assert error.status == 502
    assert "exit code 7" in error.message
    assert "the reason" not in error.message
    assert "the reason is [redacted]" in caplog.text
    assert "sk-ant-api03" not in caplog.text


async def test_the_program_is_too_old(make: Make, tmp_path: Path) -> None:
    reply = (
        'read line; id=$(printf "%s" "$line" | sed "s/.*request_id\\": \\"\\([^\\"]*\\).*/\\1/"); '
        'printf \'{"type":"control_response","response":{"subtype":"success","request_id":"%s",'
        '"response":{"claude_code_version":"2.1.197"}}}\\n\' "$id"; cat >/dev/null'
    )
    error, _ = await failure(make(cli_path=program(tmp_path / "old", reply)))
    assert error.status == 503
    assert "2.1.197" in error.message
    assert "claude update" in error.message


async def test_flags_that_root_may_not_use(make: Make) -> None:
    if os.getuid() != 0:
        pytest.skip("only root is refused")
    error, _ = await failure(make(mode="agent", permission_mode="bypassPermissions"))
    assert error.status == 502
    assert "root" in error.message
