"""Agent mode: Claude Code's own tools, their permissions, and tools of the client beside them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.permissions.broker import Decided, PermissionBroker
from ccproxy.permissions.rules import Rule
from tests.e2e.claude_sdk.conftest import PROMPTLY, Make, children, collect, request, until, words
from tests.fakes import mcp_server
from tests.fakes.messages_upstream import Answer, MessagesUpstream, text, tool_use

USAGE = {"input_tokens": 10, "output_tokens": 5}
PAUSE = 100_000 + os.getpid()
"""An argument by which a process is known among all of this machine."""


def bash(identifier: str, command: str) -> dict[str, Any]:
    return tool_use(identifier, "Bash", command=command, description="x")


def results(upstream: MessagesUpstream) -> dict[str, tuple[str, bool]]:
    """What the tools answered in the last call, by the call's id."""
    found = {}
    for message in upstream.calls[-1].body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_result":
                content = block["content"]
                said = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
                said = said.partition("<system-reminder>")[0].strip()
                found[block["tool_use_id"]] = (said, bool(block.get("is_error")))
    return found


class Audit(list[Decided]):
    def brief(self) -> list[tuple[str, bool, str]]:
        return [(decided.tool, decided.allowed, decided.by) for decided in self]


@pytest.fixture
def audit() -> Audit:
    return Audit()


async def test_a_loop_is_one_message(make: Make, upstream: MessagesUpstream, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "note.txt").write_text("the note's words")
    upstream.answers += [
        Answer([text("I look."), bash("t1", "cat note.txt"), bash("t2", "pwd")], usage=USAGE),
        Answer([text("There it is.")], usage=USAGE),
    ]
    provider = make(login=True, mode="agent", cwd=str(work), show_tools="hide")
    stream = provider.stream(request("what is in the note?", system="You are kind."))
    events = [event async for event in stream]
    assert results(upstream) == {"t1": ("the note's words", False), "t2": (str(work), False)}
    assert words(events) == "I look.There it is."
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [event["index"] for event in starts] == [0, 1]
    assert [event["type"] for event in events].count("message_start") == 1
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"]["input_tokens"] == 20
    assert events[-2]["usage"]["output_tokens"] == 10
    assert stream.cost_usd is not None
    first = upstream.calls[0].body
    assert "You are kind." in json.dumps(first["system"])
    assert {"Bash", "Read", "Edit"} <= {tool["name"] for tool in first["tools"]}
    assert len(upstream.calls) == 2


async def test_tools_as_text(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers += [Answer([text("So:"), bash("t1", "echo 'a  b'; echo c")]), Answer([text("Done.")])]
    events = await collect(make(login=True, mode="agent"), request("go"))
    assert words(events) == "So:\n\n> **Bash** `echo 'a b'; echo c`\n\n> ↳ a b c\n\nDone."
    assert all(event["content_block"]["type"] == "text" for event in events if event["type"] == "content_block_start")


async def test_tools_as_blocks_and_back(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers += [
        Answer([text("So:"), bash("t1", "echo one"), bash("t2", "false")]),
        Answer([text("Done.")]),
        Answer([text("Yes.")]),
    ]
    provider = make(login=True, mode="agent", show_tools="blocks")
    events = await collect(provider, request("go"))
    content = [dict(event["content_block"]) for event in events if event["type"] == "content_block_start"]
    for event in events:
        if event["type"] == "content_block_delta":
            delta, block = event["delta"], content[event["index"]]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            else:
                block["input"] = json.loads(delta["partial_json"])
    assert [block["type"] for block in content] == [
        "text",
        "mcp_tool_use",
        "mcp_tool_use",
        "mcp_tool_result",
        "mcp_tool_result",
        "text",
    ]
    assert (content[1]["server_name"], content[1]["name"]) == ("claude-code", "Bash")
    assert content[1]["input"] == {"command": "echo one", "description": "x"}
    answered = {block["tool_use_id"]: block for block in content if block["type"] == "mcp_tool_result"}
    assert answered["t1"] == {
        "type": "mcp_tool_result",
        "tool_use_id": "t1",
        "is_error": False,
        "content": [{"type": "text", "text": "one"}],
    }
    assert answered["t2"]["is_error"] is True
    # Sent back as they are, they are calls and results again.
    await collect(provider, request("go", {"role": "assistant", "content": content}, "sure?"))
    roles = [message["role"] for message in upstream.calls[-1].body["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert results(upstream)["t1"] == ("one", False)
    assert results(upstream)["t2"][1] is True


async def test_an_mcp_server_of_the_configuration(make: Make, upstream: MessagesUpstream, audit: Audit) -> None:
    upstream.answers += [Answer([tool_use("t1", "mcp__numbers__double", n=21)]), Answer([text("It is 42.")])]
    server = {"type": "stdio", "command": sys.executable, "args": [mcp_server.__file__]}
    broker = PermissionBroker("ask", [Rule("mcp__numbers__*", "allow")], audit=audit.append)
    provider = make(login=True, mode="agent", mcp_servers={"numbers": server}, broker=broker, show_tools="hide")
    assert words(await collect(provider, request("double it"))) == "It is 42."
    assert results(upstream) == {"t1": ("42", False)}
    assert audit.brief() == [("mcp__numbers__double", True, "rule")]
    await until(lambda: children() == [])


async def test_permission_is_asked_for(make: Make, upstream: MessagesUpstream, audit: Audit, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    upstream.answers += [
        Answer([bash("t1", "touch one"), bash("t2", "touch two"), bash("t3", "touch three"), bash("t4", "touch four")]),
        Answer([text("ok")]),
    ]
    rules = [Rule("Bash(touch four)", "deny")]
    broker = PermissionBroker("ask", rules, timeout=1.0, audit=audit.append)
    provider = make(login=True, mode="agent", cwd=str(work), broker=broker)
    changes = broker.changes()
    assert (await anext(changes))["type"] == "listing"
    answer = asyncio.create_task(collect(provider, request("go", session="s")))
    asked: dict[str, dict[str, Any]] = {}
    async for change in changes:
        if change["type"] != "asked":
            continue
        command = change["input"]["command"]
        asked[command] = change
        if command == "touch one":
            await broker.decide(change["id"], {"decision": "deny", "message": "Not that one."})
        elif command == "touch two":
            changed = {**change["input"], "command": "touch changed"}
            await broker.decide(change["id"], {"decision": "allow", "updated_input": changed})
        else:
            break  # nobody answers the third
    await answer
    assert sorted(path.name for path in work.iterdir()) == ["changed"]
    assert results(upstream)["t1"] == ("Not that one.", True)
    assert results(upstream)["t2"][1] is False
    assert "no decision within" in results(upstream)["t3"][0]
    assert "rule Bash(touch four)" in results(upstream)["t4"][0]
    assert {change["session_id"] for change in asked.values()} == {"s"}
    assert sorted(audit.brief()) == [
        ("Bash", False, "person"),
        ("Bash", False, "rule"),
        ("Bash", False, "timeout"),
        ("Bash", True, "person"),
    ]
    assert [decided.changed_input for decided in audit if decided.allowed] == [True]
    assert broker.listing()["pending"] == []


async def test_deny_rules_hold_for_what_claude_code_allows_itself(
    make: Make, upstream: MessagesUpstream, audit: Audit
) -> None:
    upstream.answers += [Answer([bash("t1", "echo hello"), bash("t2", "pwd")]), Answer([text("ok")])]
    broker = PermissionBroker("ask", [Rule("Bash(echo *)", "deny")], audit=audit.append)
    await collect(make(login=True, mode="agent", broker=broker), request("go"))
    assert results(upstream)["t1"][0].endswith("Denied by the rule Bash(echo *) of ccproxy's user.")
    assert results(upstream)["t2"][1] is False
    assert audit.brief() == [("Bash", False, "rule")]


async def test_the_client_leaves_while_permission_is_asked_for(
    make: Make, upstream: MessagesUpstream, audit: Audit
) -> None:
    upstream.answers.append(Answer([text("May I?"), bash("t1", "touch x")]))
    broker = PermissionBroker("ask", audit=audit.append)
    stream = make(login=True, mode="agent", broker=broker).stream(request("go"))
    reading = asyncio.create_task(_read(stream))
    await until(lambda: broker.listing()["pending"] != [])
    reading.cancel()
    await until(lambda: children() == [])
    await until(lambda: broker.listing()["pending"] == [])
    assert audit.brief() == [("Bash", False, "gone")]
    assert len(upstream.calls) == 1


async def test_leaving_ends_what_a_tool_started(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers.append(Answer([text("Wait."), bash("t1", f"tail -s {PAUSE} -f /dev/null")]))
    provider = make(login=True, mode="agent", broker=PermissionBroker("allow"))
    stream = provider.stream(request("go"))
    reading = asyncio.create_task(_read(stream))
    await until(lambda: bool(_tails()))
    reading.cancel()
    assert await until(lambda: not _tails() and not children()) < PROMPTLY
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("name", ["look_up", "Bash", "a.tool-with a space", "n" * 70])
async def test_tools_of_the_client(make: Make, upstream: MessagesUpstream, name: str) -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "x-own": {"a": [1]}}
    tools: list[dict[str, Any]] = [
        {"name": name, "description": "d" * 5000, "input_schema": schema},
        {"name": "b", "input_schema": {"type": "object"}},
    ]
    upstream.answers += [
        Answer([text("Looking."), tool_use("t1", name, q=1), tool_use("t2", name, nothing=True)], usage=USAGE),
        Answer([text("Found.")]),
    ]
    provider = make(login=True, mode="agent")
    events = await collect(provider, request("go", tools=tools))
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"] == USAGE
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [(block.get("id"), block.get("name")) for block in starts[1:]] == [("t1", name), ("t2", name)]
    offered = {tool["name"]: tool for tool in upstream.calls[0].body["tools"]}
    assert [tool["name"] for tool in upstream.calls[0].body["tools"]].count(name) == 1
    assert offered[name]["input_schema"] == schema
    assert offered[name]["description"] == "d" * 5000
    assert "Read" in offered
    found = [{"type": "tool_result", "tool_use_id": f"t{number}", "content": f"r{number}"} for number in (1, 2)]
    asked = request(
        "go",
        {"role": "assistant", "content": [text("Looking."), *starts[1:]]},
        {"role": "user", "content": found},
        tools=tools,
    )
    assert words(await collect(provider, asked)) == "Found."
    assert results(upstream) == {"t1": ("r1", False), "t2": ("r2", False)}
    assert len(upstream.calls) == 2
    await until(lambda: children() == [])


async def test_a_conversation_goes_on_in_its_process(make: Make, upstream: MessagesUpstream) -> None:
    upstream.answers += [
        Answer([text("So:"), bash("t1", "echo one")]),
        Answer([text("Done.")]),
        Answer([text("Again.")]),
    ]
    provider = make(login=True, mode="agent")
    first = words(await collect(provider, request("go", session="s")))
    pids = children()
    assert words(await collect(provider, request("go", first, "again", session="s"))) == "Again."
    assert children() == pids
    assert results(upstream) == {"t1": ("one", False)}


async def test_what_an_agent_cannot_be_told(make: Make) -> None:
    provider = make(login=True, mode="agent")
    for fields, path in (
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format"),
    ):
        with pytest.raises(BadRequest) as caught:
            await collect(provider, request("go", **fields))
        assert caught.value.param == path


async def test_agents_get_their_parameters(make: Make, upstream: MessagesUpstream) -> None:
    stream = make(login=True, mode="agent").stream(
        request(
            "go",
            max_tokens=1234,
            temperature=0.5,
            thinking={"type": "disabled"},
            output_config={"effort": "low"},
            tool_choice={"type": "any"},
        )
    )
    assert [event async for event in stream]
    body = upstream.calls[0].body
    assert (body["max_tokens"], body["temperature"], body["thinking"]) == (1234, 0.5, {"type": "disabled"})
    assert body["output_config"] == {"effort": "low"}
    assert [path for path, _ in stream.losses] == ["tool_choice"]


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass


def _tails() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(f"tail\0-s\0{PAUSE}\0-f".encode()):
                found.append(path.parent.name)
        except OSError:
            continue
    return found
