"""The questions that Claude Code asks about a call are answered whatever happens here: it goes on when a hook fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk")

from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

from ccproxy.permissions.broker import Decided, PermissionBroker
from ccproxy.permissions.paths import CallContext
from ccproxy.permissions.rules import Rule
from ccproxy.providers.claude_sdk import tool_permissions as module
from ccproxy.providers.claude_sdk.tool_permissions import ToolPermissions


def call(tool: str, cwd: str | None = None, **arguments: Any) -> dict[str, Any]:
    return {"tool_name": tool, "tool_input": arguments, **({"cwd": cwd} if cwd else {})}


def made(broker: PermissionBroker, *client_tools: str) -> ToolPermissions:
    return ToolPermissions(broker, client_tools, "s", CallContext("/work", "/home/me"))


async def is_denied(permissions: ToolPermissions, asked: dict[str, Any], identifier: str = "t") -> bool:
    answer = await permissions.before_tool(asked, identifier, None)
    return bool(answer) and answer["hookSpecificOutput"]["permissionDecision"] == "deny"


class Broken(Rule):
    """A rule that cannot be applied."""

    def matches(self, *_: Any) -> bool:
        raise RuntimeError("a defect")


async def test_a_rule_that_breaks_denies() -> None:
    audit: list[Decided] = []
    broker = PermissionBroker("allow", [Broken("Bash", "deny")], audit=audit.append)
    assert await is_denied(made(broker), call("Bash", command="ls"))
    assert [decided.allowed for decided in audit] == [False]


async def test_a_file_system_that_hangs_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JUDGED_WITHIN", 0.05)
    broker = PermissionBroker("allow")

    async def hangs(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(broker, "judge", hangs)
    assert await is_denied(made(broker), call("Bash", command="ls"))


async def test_an_audit_that_breaks_allows_nothing() -> None:
    def broken(_decided: Decided) -> None:
        raise RuntimeError("a defect")

    broker = PermissionBroker("allow", [Rule("Bash", "deny")], audit=broken)
    assert await is_denied(made(broker), call("Bash", command="ls"))


async def test_input_that_is_not_an_object_is_denied() -> None:
    for rule in ("Bash(rm *)", "*"):
        asked = {"tool_name": "Bash", "tool_input": ["rm x"]}
        assert await is_denied(made(PermissionBroker("allow", [Rule(rule, "deny")])), asked)


async def test_only_the_client_s_own_tools_pass() -> None:
    permissions = made(PermissionBroker("deny"), "look_up")
    assert not await is_denied(permissions, call("look_up"))
    assert await is_denied(permissions, call("look_up_2"))
    context = ToolPermissionContext(tool_use_id="t")
    assert isinstance(await permissions.can_use_tool("look_up", {}, context), PermissionResultAllow)
    assert isinstance(await permissions.can_use_tool("Look_up", {}, context), PermissionResultDeny)


async def test_each_call_has_its_folder(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    rules = [Rule(f"Read({tmp_path}/open/*)", "allow"), Rule("*", "deny")]
    permissions = made(PermissionBroker("deny", rules))
    for identifier, folder in (("a", tmp_path / "open"), ("b", tmp_path)):
        denied = await is_denied(permissions, call("Read", str(folder), file_path="x"), identifier)
        assert denied is (identifier == "b")
    for identifier, kind in (("a", PermissionResultAllow), ("b", PermissionResultDeny), ("c", PermissionResultDeny)):
        context = ToolPermissionContext(tool_use_id=identifier)
        assert isinstance(await permissions.can_use_tool("Read", {"file_path": "x"}, context), kind)
