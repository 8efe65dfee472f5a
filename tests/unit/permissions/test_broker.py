from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ccproxy.errors import BadRequest, Conflict, RouteNotFound
from ccproxy.permissions.audit import Audit
from ccproxy.permissions.broker import MOST_PENDING, MOST_PENDING_BYTES, Decided, Mode, PermissionBroker, Verdict
from ccproxy.permissions.rules import Rule


async def pending(broker: PermissionBroker) -> dict[str, Any]:
    """The one request that waits, once it does."""
    async for change in broker.changes():
        if change["type"] == "asked":
            return change
        if change.get("pending"):
            (asked,) = change["pending"]
            return dict(asked)
    raise AssertionError


@pytest.mark.parametrize(
    ("mode", "command", "allowed", "by"),
    [
        ("deny", "git push", False, "rule"),
        ("deny", "git status", True, "rule"),
        ("deny", "ls", False, "mode"),
        ("allow", "git push", False, "rule"),
        ("allow", "ls", True, "mode"),
    ],
)
async def test_the_first_rule_decides_then_the_mode(mode: Mode, command: str, allowed: bool, by: str) -> None:
    seen: list[Decided] = []
    rules = [Rule("Bash(git push*)", "deny"), Rule("Bash(git *)", "allow")]
    broker = PermissionBroker(mode, rules, audit=seen.append)
    verdict = await broker.ask("Bash", {"command": command}, session_id="s", tool_use_id="t")
    assert (verdict.allowed, verdict.by) == (allowed, by)
    (decided,) = seen
    assert (decided.allowed, decided.by, decided.session_id, decided.tool_use_id) == (allowed, by, "s", "t")
    assert decided.arguments == f'{{"command": "{command}"}}'
    assert decided.as_json()["tool"] == "Bash"


async def test_a_rule_may_say_ask() -> None:
    broker = PermissionBroker("allow", [Rule("Bash", "ask")], timeout=0)
    assert (await broker.ask("Bash", {"command": "x"})).by == "timeout"
    assert (await broker.ask("Read", {})).by == "mode"


async def test_a_person_allows_with_changed_input() -> None:
    broker = PermissionBroker()
    asking = asyncio.create_task(broker.ask("Bash", {"command": "x"}, description="Runs x"))
    asked = await pending(broker)
    assert asked["description"] == "Runs x"
    assert asked["rule"] == "Bash(x)"
    assert asked["expires_at"] - asked["asked_at"] == 300
    answer = await broker.decide(asked["id"], {"decision": "allow", "updated_input": {"command": "y"}})
    assert answer == {"id": asked["id"], "decision": "allow"}
    assert await asking == Verdict(allowed=True, by="person", updated_input={"command": "y"})
    with pytest.raises(Conflict):
        await broker.decide(asked["id"], {"decision": "deny"})
    with pytest.raises(RouteNotFound):
        await broker.decide("nobody", {"decision": "deny"})


async def test_a_person_denies_and_says_why() -> None:
    broker = PermissionBroker()
    asking = asyncio.create_task(broker.ask("Bash", {"command": "x"}))
    await broker.decide((await pending(broker))["id"], {"decision": "deny", "message": "Use y."})
    assert await asking == Verdict(allowed=False, by="person", message="Use y.")


async def test_nobody_answers() -> None:
    verdict = await PermissionBroker(timeout=0.01).ask("Bash", {"command": "x"})
    assert (verdict.allowed, verdict.by) == (False, "timeout")
    assert "0.01 s" in verdict.message


async def test_always_makes_a_rule_for_those_who_wait_too() -> None:
    saved: list[Rule] = []
    broker = PermissionBroker(rules=[Rule("Bash", "ask")], remember=saved.append)
    changes = broker.changes()
    assert (await anext(changes))["type"] == "listing"
    asking = [asyncio.create_task(broker.ask("Bash", {"command": command})) for command in ("git a", "git b", "ls")]
    asked = [await anext(changes) for _ in asking]
    answer = await broker.decide(asked[0]["id"], {"decision": "allow", "remember": "Bash(git *)"})
    assert answer == {"id": asked[0]["id"], "decision": "allow", "rule": "Bash(git *)", "saved": True}
    assert [(verdict.allowed, verdict.by) for verdict in await asyncio.gather(*asking[:2])] == [
        (True, "person"),
        (True, "rule"),
    ]
    assert saved == [Rule("Bash(git *)", "allow")]
    assert not asking[2].done()
    assert [entry["input"]["command"] for entry in broker.listing()["pending"]] == ["ls"]
    assert broker.listing()["rules"][0] == {"tool": "Bash(git *)", "decision": "allow"}
    answer = await broker.decide(asked[2]["id"], {"decision": "deny", "remember": True})
    assert answer["rule"] == "Bash(ls)"
    assert (await broker.ask("Bash", {"command": "ls"})).by == "rule"


async def test_a_rule_that_cannot_be_saved_still_holds() -> None:
    def full(_rule: Rule) -> None:
        raise OSError("disk full")

    broker = PermissionBroker(remember=full)
    asking = asyncio.create_task(broker.ask("Bash", {"command": "ls"}))
    answer = await broker.decide((await pending(broker))["id"], {"decision": "allow", "remember": True})
    assert (answer["saved"], answer["reason"]) == (False, "disk full")
    assert (await asking).allowed
    assert (await broker.ask("Bash", {"command": "ls"})).allowed


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({}, "decision"),
        ({"decision": "yes"}, "decision"),
        ({"decision": "deny", "updated_input": {}}, "updated_input"),
        ({"decision": "allow", "updated_input": "x"}, "updated_input"),
        ({"decision": "allow", "message": 5}, "message"),
        ({"decision": "allow", "remember": 5}, "remember"),
        ({"decision": "allow", "remember": "Bash("}, "remember"),
        ({"decision": "allow", "remember": "Bash(\ud800)"}, "remember"),
        ({"decision": "allow", "updated_input": {"command": float("inf")}}, "updated_input"),
    ],
)
async def test_malformed_decisions_decide_nothing(body: Any, param: str | None) -> None:
    broker = PermissionBroker()
    asking = asyncio.create_task(broker.ask("Bash", {"command": "x"}))
    asked = await pending(broker)
    with pytest.raises(BadRequest) as caught:
        await broker.decide(asked["id"], body)
    assert caught.value.param == param
    assert not asking.done()
    broker.close()
    assert (await asking).by == "gone"


async def test_the_asker_leaves() -> None:
    seen: list[Decided] = []
    broker = PermissionBroker(audit=seen.append)
    asking = asyncio.create_task(broker.ask("Bash", {"command": "x"}))
    asked = await pending(broker)
    asking.cancel()
    await asyncio.wait({asking})
    assert broker.listing()["pending"] == []
    assert [decided.by for decided in seen] == ["gone"]
    with pytest.raises(Conflict):
        await broker.decide(asked["id"], {"decision": "allow"})


async def test_changes_come_in_order_and_end() -> None:
    broker = PermissionBroker("allow")
    changes = broker.changes()
    listing = await anext(changes)
    assert (listing["type"], listing["mode"], listing["pending"]) == ("listing", "allow", [])
    await broker.ask("Read", {"file_path": "/x"})
    assert (await anext(changes))["type"] == "decided"
    broker.close()
    assert [change async for change in changes] == []


async def test_a_reader_that_falls_behind_is_dropped() -> None:
    broker = PermissionBroker("allow")
    changes = broker.changes()
    await anext(changes)
    for _ in range(1500):
        await broker.ask("Read", {})
    read = [change async for change in changes]
    assert 900 < len(read) < 1001


async def test_rules_about_files_are_read_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    readlink = os.readlink

    def watched(path: str) -> str:
        threads.add(threading.current_thread().name)
        return readlink(path)

    broker = PermissionBroker("allow", [Rule(f"Read({tmp_path}/*)", "deny"), Rule("Edit(/x/*)", "allow")])
    monkeypatch.setattr("os.readlink", watched)
    assert not (await broker.ask("Read", {"file_path": f"{tmp_path}/x"})).allowed
    assert (await broker.judge("Read", {"file_path": "/y"})) == Verdict(allowed=True, by="mode")
    assert threads
    assert threading.main_thread().name not in threads


async def test_decisions_are_written_in_a_thread_before_they_are_given() -> None:
    seen: list[str] = []
    broker = PermissionBroker("allow", audit=lambda decided: seen.append(threading.current_thread().name))
    assert (await broker.ask("Bash", {"command": "x"})).allowed
    (name,) = seen
    assert name != threading.main_thread().name


async def test_only_so_many_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = PermissionBroker()
    asking = [asyncio.create_task(broker.ask("Bash", {"command": str(number)})) for number in range(MOST_PENDING)]
    await asyncio.sleep(0)
    assert len(broker.listing()["pending"]) == MOST_PENDING
    verdict = await broker.ask("Bash", {"command": "one more"})
    assert (verdict.allowed, verdict.by) == (False, "limit")
    broker.close()
    assert {verdict.by for verdict in await asyncio.gather(*asking)} == {"gone"}
    assert (await broker.ask("Bash", {"command": "late"})).by == "gone"


async def test_only_so_many_bytes_wait() -> None:
    broker = PermissionBroker()
    asking = [asyncio.create_task(broker.ask("Write", {"content": "x" * (MOST_PENDING_BYTES // 4)})) for _ in range(5)]
    done, waiting = await asyncio.wait(asking, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().by for task in done] == ["limit"] * len(done)
    broker.close()
    await asyncio.wait(waiting)
    # What was decided makes room.
    again = PermissionBroker(timeout=0)
    for _ in range(5):
        assert (await again.ask("Write", {"content": "x" * (MOST_PENDING_BYTES // 4)})).by == "timeout"


async def test_an_always_that_cannot_be_a_rule_decides_nothing() -> None:
    broker = PermissionBroker()
    asking = asyncio.create_task(broker.ask("WebFetch", {"url": "http://evil\\@allowed/"}))
    asked = await pending(broker)
    assert asked["rule"] == ""
    with pytest.raises(BadRequest) as caught:
        await broker.decide(asked["id"], {"decision": "allow", "remember": True})
    assert caught.value.param == "remember"
    assert not asking.done()
    await broker.decide(asked["id"], {"decision": "allow"})
    assert (await asking).allowed


async def test_a_rule_made_twice_is_kept_once() -> None:
    broker = PermissionBroker(rules=[Rule("Bash(a)", "ask"), Rule("Bash", "ask")])
    for _ in range(3):
        asking = asyncio.create_task(broker.ask("Read", {"file_path": "/x"}))
        await broker.decide((await pending(broker))["id"], {"decision": "deny", "remember": "Bash(b)"})
        assert not (await asking).allowed
    assert broker.rules == [Rule("Bash(b)", "deny"), Rule("Bash(a)", "ask"), Rule("Bash", "ask")]


async def test_half_a_character_can_be_shown_and_recorded(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    broker = PermissionBroker(audit=lambda decided: audit.put(decided.as_json()))
    asking = asyncio.create_task(broker.ask("Bash", {"command": "a\ud800"}, session_id="s\ud800"))
    asked = await pending(broker)
    json.dumps(asked["input"], ensure_ascii=False).encode()
    await broker.decide(asked["id"], {"decision": "deny"})
    assert not (await asking).allowed
    assert json.loads((tmp_path / "audit.jsonl").read_bytes())["tool"] == "Bash"
