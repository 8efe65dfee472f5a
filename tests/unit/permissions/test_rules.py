from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, strategies as st

from ccproxy.permissions.paths import CallContext
from ccproxy.permissions.rules import LONGEST_RULE, Rule, RuleDecision, save_rule, suggest_rule


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
        ("Bash(git *)", "Bash", {"command": 7}, False),
    ],
)
def test_other_tools(rule: str, tool: str, arguments: dict[str, Any], expected: bool) -> None:
    assert matches(rule, tool, **arguments) is expected


def test_the_home_folder() -> None:
    assert matches("Read(~/notes/*)", "Read", file_path=str(Path.home() / "notes/a"))
    assert not matches("Read(~/notes/*)", "Read", file_path="/elsewhere/notes/a")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"tool": 5, "decision": "allow"}, "a tool's name"),
        ({}, "a tool's name"),
        ({"tool": "Bash", "decision": "yes"}, '"allow", "deny" or "ask"'),
        ({"tool": "", "decision": "deny"}, "a tool's name before the parenthesis"),
        ({"tool": " (x)", "decision": "deny"}, "a tool's name before the parenthesis"),
        ({"tool": "Bash)", "decision": "deny"}, "a tool's name before the parenthesis"),
        ({"tool": "Bash\n", "decision": "deny"}, None),
        ({"tool": "B\0sh", "decision": "deny"}, "a tool's name before the parenthesis"),
        ({"tool": "Bash(", "decision": "allow"}, "a closing parenthesis"),
        ({"tool": "Bash(git *", "decision": "allow"}, "a closing parenthesis"),
        ({"tool": "Bash(git *) ", "decision": "allow"}, None),
        ({"tool": "Bash(git *) x", "decision": "allow"}, "a closing parenthesis"),
        ({"tool": "Bash(git *))", "decision": "deny"}, "as many closing as opening"),
        ({"tool": "Read((x)", "decision": "deny"}, "as many closing as opening"),
        ({"tool": "Bash()", "decision": "allow"}, "a pattern between the parentheses"),
        ({"tool": "Bash( )", "decision": "allow"}, "a pattern between the parentheses"),
        ({"tool": "mcp__files__read(x)", "decision": "deny"}, "no pattern"),
        ({"tool": "*(git *)", "decision": "deny"}, "no pattern"),
        ({"tool": "Bsh(rm *)", "decision": "deny"}, "no pattern"),
        ({"tool": "WebFetch(domain:)", "decision": "deny"}, "host '' is not valid"),
        ({"tool": "WebFetch(domain:a b)", "decision": "deny"}, "is not valid"),
        ({"tool": "WebFetch(domain:example.com:80)", "decision": "deny"}, "without a port"),
        ({"tool": "WebFetch(domain:https://example.com)", "decision": "deny"}, "is not valid"),
        ({"tool": "WebFetch(domain:bücher.example)", "decision": "deny"}, "xn--"),
        ({"tool": "WebFetch(domain:127.1)", "decision": "deny"}, "usual form"),
        ({"tool": "WebFetch(host:example.com)", "decision": "deny"}, "domain:HOST"),
        ({"tool": "WebFetch(https://example.com*)", "decision": "allow"}, "a URL with a path"),
        ({"tool": "Read(~root/x)", "decision": "deny"}, "~/"),
        ({"tool": "Read(/x\0y)", "decision": "deny"}, "zero byte"),
        ({"tool": f"Bash({'x' * LONGEST_RULE})", "decision": "deny"}, "at most"),
    ],
)
def test_malformed_rules_do_not_load(entry: dict[str, Any], expected: str | None) -> None:
    if expected is None:
        Rule.parse(entry)
        return
    with pytest.raises(ValueError, match=r"^(tool|decision) = ") as caught:
        Rule.parse(entry)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("rule", "tool", "arguments"),
    [
        ("Edit(/x/*)", "Write", {"file_path": "/x/a"}),
        ("Edit(/x/*)", "NotebookEdit", {"notebook_path": "/x/a"}),
        ("Read(/x/*)", "Grep", {"path": "/x", "pattern": "a"}),
        ("Read", "Glob", {"pattern": "*"}),
        ("Bash(rm *)", "Monitor", {"command": "rm x"}),
        ("Task", "Agent", {"subagent_type": "x"}),
    ],
)
def test_what_denies_a_tool_denies_those_that_do_the_same(rule: str, tool: str, arguments: dict[str, Any]) -> None:
    assert matches(rule, tool, "deny", **arguments)
    assert matches(rule, tool, "ask", **arguments)
    assert not matches(rule, tool, "allow", **arguments)


@pytest.mark.parametrize(
    ("rule", "tool", "arguments"),
    [
        ("Bash(git *)", "Bash", {"command": ["rm", "x"]}),
        ("Read(/x/*)", "Read", {"file_path": {"a": 1}}),
        ("WebFetch(domain:example.com)", "WebFetch", {"url": 5}),
        ("Agent(x)", "Agent", {"subagent_type": []}),
    ],
)
def test_an_argument_of_an_unknown_kind_is_denied_and_not_allowed(
    rule: str, tool: str, arguments: dict[str, Any]
) -> None:
    assert not matches(rule, tool, "allow", **arguments)
    assert matches(rule, tool, "deny", **arguments)


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
        ("Grep", {"path": "/src", "pattern": "a"}, "Grep(//src)"),
        ("WebFetch", {"url": "http://[::FFFF:7f00:1]/"}, "WebFetch(domain:127.0.0.1)"),
        ("Agent", {}, "Agent"),
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
    with pytest.raises(ValueError, match="not a list"):
        save_rule(file, Rule("Bash", "allow"))
    assert file.read_text() == "[permissions]\nrules = 5\n"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("WebFetch", {"url": "http://evil\\@allowed/"}),
        ("WebFetch", {}),
        ("Read", {"file_path": "notes/x"}),
        ("Bash", {"command": "x" * LONGEST_RULE}),
        ("Bash", {"command": 5}),
    ],
)
def test_calls_that_no_rule_covers_alone(tool: str, arguments: dict[str, Any]) -> None:
    assert suggest_rule(tool, arguments) == ""


def test_a_relative_path_is_suggested_with_its_folder() -> None:
    context = CallContext("/work", "/home/me")
    assert suggest_rule("Write", {"file_path": "../x y"}, context) == "Write(//x y)"
    assert suggest_rule("Read", {"file_path": "~/a*"}, context) == r"Read(//home/me/a\*)"
    assert suggest_rule("Grep", {"pattern": "x"}, context) == "Grep(//work)"
