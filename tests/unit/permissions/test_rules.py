from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, strategies as st

from ccproxy.permissions.rules import Rule, RuleDecision, save_rule, shorten, suggest_rule


def matches(rule: str, tool: str, decision: RuleDecision = "allow", **arguments: Any) -> bool:
    return Rule.parse({"tool": rule, "decision": decision}).matches(tool, arguments)


@pytest.mark.parametrize(
    ("rule", "command", "expected"),
    [
        ("Bash", "anything; at all", True),
        ("Bash(*)", "anything; at all", True),
        ("*", "anything", True),
        ("Bash(git *)", "git status", True),
        ("Bash(git *)", "git", True),
        ("Bash(git:*)", "git log --oneline", True),
        ("Bash(git *)", "gitk", False),
        ("Bash(git *)", "git status; rm -rf /", False),
        ("Bash(git *)", "git log && curl x", False),
        ("Bash(git *)", "git log | sh", False),
        ("Bash(git *)", "git log $(rm x)", False),
        ("Bash(git *)", "git log `rm x`", False),
        ("Bash(git *)", "git log > /etc/passwd", False),
        ("Bash(git *)", "git log\nrm x", False),
        ("Bash(git *)", "git log & rm x", False),
        ("Bash(npm run test*)", "npm run test:unit", True),
        ("Bash(ls | wc -l)", "ls | wc -l", True),
        ("Bash(ls | wc -l)", "ls | wc -l; rm x", False),
        (r"Bash(rm \*.o)", "rm *.o", True),
        (r"Bash(rm \*.o)", "rm -rf / x.o", False),
        ("Read(*)", "cat x", False),
    ],
)
def test_allowing_commands(rule: str, command: str, expected: bool) -> None:
    assert matches(rule, "Bash", command=command) is expected


@pytest.mark.parametrize(
    ("rule", "command", "expected"),
    [
        ("Bash(rm *)", "rm -rf x", True),
        ("Bash(rm *)", "ls && rm -rf x", True),
        ("Bash(rm *)", "ls; (rm x)", True),
        ("Bash(rm *)", "echo `rm x`", True),
        ("Bash(rm *)", "echo $(rm x)", True),
        ("Bash(rm *)", "ls\nrm x", True),
        ("Bash(rm *)", "rmdir x", False),
        ("Bash(rm *)", "echo rm", False),
    ],
)
def test_denying_commands(rule: str, command: str, expected: bool) -> None:
    assert matches(rule, "Bash", "deny", command=command) is expected


@pytest.mark.parametrize(
    ("rule", "tool", "arguments", "expected"),
    [
        ("Read(src/*)", "Read", {"file_path": "/home/me/project/src/a.py"}, True),
        ("Read(src/*)", "Read", {"file_path": "/home/me/project/src/../secret"}, False),
        ("Read(//etc/*)", "Read", {"file_path": "/etc/hosts"}, True),
        ("Read(/etc/*)", "Read", {"file_path": "/srv/etc/hosts"}, False),
        ("Edit(*.md)", "Edit", {"file_path": "/x/README.md"}, True),
        ("Edit(*.md)", "Write", {"file_path": "/x/README.md"}, False),
        ("WebFetch(domain:example.com)", "WebFetch", {"url": "https://example.com/x"}, True),
        ("WebFetch(domain:example.com)", "WebFetch", {"url": "https://example.com.evil.org/x"}, False),
        ("WebFetch(domain:*.example.com)", "WebFetch", {"url": "https://a.example.com/x"}, True),
        ("WebFetch(https://example.com/*)", "WebFetch", {"url": "https://example.com/x"}, True),
        ("mcp__files__*", "mcp__files__read", {"any": 1}, True),
        ("mcp__files__*", "mcp__filesystem__read", {}, False),
        ("mcp__files__read(x)", "mcp__files__read", {"path": "x"}, False),
        ("Bash(git *)", "Bash", {"command": 7}, False),
    ],
)
def test_other_tools(rule: str, tool: str, arguments: dict[str, Any], expected: bool) -> None:
    assert matches(rule, tool, **arguments) is expected


def test_the_home_folder() -> None:
    assert matches("Read(~/notes/*)", "Read", file_path=str(Path.home() / "notes/a"))
    assert not matches("Read(~/notes/*)", "Read", file_path="/elsewhere/notes/a")


@pytest.mark.parametrize(
    "entry",
    [{"tool": 5, "decision": "allow"}, {"tool": "Bash(", "decision": "allow"}, {"tool": "Bash", "decision": "yes"}, {}],
)
def test_malformed_rules_are_named(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Rule.parse(entry)


COMMANDS = st.text(st.sampled_from("abr m*-;&|()$`<>\\\n"), max_size=20)


@given(COMMANDS)
def test_the_suggested_rule_covers_its_call_and_no_longer_one(command: str) -> None:
    rule = suggest_rule("Bash", {"command": command})
    if command.strip():
        assert matches(rule, "Bash", command=command)
        assert not matches(rule, "Bash", command=command.strip() + "x")
        assert not matches(rule, "Bash", command="x" + command.strip())


@given(COMMANDS, COMMANDS)
def test_a_wildcard_allows_no_second_command(first: str, second: str) -> None:
    for joint in (";", "&&", "||", "|", "&", "\n"):
        assert not matches("Bash(a*)", "Bash", command=f"a{first}{joint}b{second}")


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [
        ("Write", {"file_path": "/tmp/../etc/x"}, "Write(//etc/x)"),
        ("WebFetch", {"url": "https://example.com/a?b"}, "WebFetch(domain:example.com)"),
        ("mcp__files__read", {"path": "x"}, "mcp__files__read"),
        ("Agent", {"subagent_type": "reviewer"}, "Agent(reviewer)"),
    ],
)
def test_suggested_rules(tool: str, arguments: dict[str, Any], rule: str) -> None:
    assert suggest_rule(tool, arguments) == rule
    assert matches(rule, tool, **arguments)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# mine\n[server]\nport = 1  # the port\n",
        '[permissions]\nmode = "deny"  # strict\n',
        '[permissions]\nrules = [\n  # git is fine\n  {tool = "Bash(git *)", decision = "allow"},\n]\n',
        '[[permissions.rules]]\ntool = "Read"\ndecision = "allow"  # harmless\n',
    ],
    ids=["empty", "other", "no rules", "array", "tables"],
)
def test_a_rule_is_written_and_all_else_stays(tmp_path: Path, before: str) -> None:
    file = tmp_path / "sub" / "config.toml"
    if before:
        file.parent.mkdir()
        file.write_text(before)
        file.chmod(0o600)
    save_rule(file, Rule('Bash(echo "a")', "allow"))
    after = file.read_text()
    assert tomlkit.parse(after)["permissions"]["rules"][0] == {"tool": 'Bash(echo "a")', "decision": "allow"}
    assert len(tomlkit.parse(after)["permissions"]["rules"]) == before.count("Bash(git") + before.count('"Read"') + 1
    for line in before.splitlines():
        assert line in after
    if before:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_list_in_pieces_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    rule = '[[permissions.rules]]\ntool = "Read"\ndecision = "allow"\n'
    file.write_text(f"{rule}[server]\nport = 1\n{rule}")
    with pytest.raises(ValueError, match="several places"):
        save_rule(file, Rule("Bash", "deny"))
    assert file.read_text() == f"{rule}[server]\nport = 1\n{rule}"


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[permissions]\nrules = 5\n")
    with pytest.raises(ValueError, match="no list"):
        save_rule(file, Rule("Bash", "allow"))
    assert file.read_text() == "[permissions]\nrules = 5\n"


def test_arguments_are_shortened() -> None:
    assert shorten({"a": "é"}) == '{"a": "é"}'
    assert len(shorten({"a": "x" * 5000})) == 2000
