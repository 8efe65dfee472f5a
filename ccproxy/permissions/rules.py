r"""Rules that allow or deny a tool call, in Claude Code's syntax: `Bash(git *)`, `Read(~/notes/*)`, `WebFetch(domain:example.com)`, `mcp__files__*`.

A rule is a tool's name, with `*` for any characters (`\*` for a star), and optionally a pattern for the argument that matters. Rules are a convenience for
well-meant calls, not a sandbox: a shell command can do the same thing in many spellings. Where a call cannot be read for certain, a rule that allows does not
apply and a rule that denies or asks does. What "certain" means is in `commands`, `paths` and `urls`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ccproxy.permissions.commands import CommandPattern
from ccproxy.permissions.globs import Glob, has_star, literal
from ccproxy.permissions.paths import SEARCHES, UNKNOWN, CallContext, PathPattern, absolute_path, targets
from ccproxy.permissions.urls import Doubtful, UrlPattern, read_url

RuleDecision = Literal["allow", "deny", "ask"]

LONGEST_RULE: Final = 4000
"""Characters of the longest rule."""

# https://code.claude.com/docs/en/permissions
_COMMANDS: Final = frozenset({"Bash", "Monitor", "PowerShell"})
_PATHS: Final = frozenset({"Read", "Edit", "MultiEdit", "Write", "NotebookEdit", "NotebookRead"}) | SEARCHES
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "BashOutput": ("bash_id",),
    "WebSearch": ("query",),
    "Agent": ("subagent_type",),
    "Task": ("subagent_type",),
    "Skill": ("skill", "command"),
}
"""Where the argument of other tools is found."""
_WITH_PATTERN: Final = _COMMANDS | _PATHS | {"WebFetch"} | _ARGUMENTS.keys()
_ALSO_MEANS: Final[Mapping[str, frozenset[str]]] = {
    "Bash": frozenset({"Monitor", "PowerShell"}),
    "Edit": frozenset({"MultiEdit", "Write", "NotebookEdit"}),
    "Read": frozenset({"NotebookRead", *SEARCHES}),
    "Agent": frozenset({"Task"}),
    "Task": frozenset({"Agent"}),
}
"""Other tools that do the same: a rule that denies or asks covers them too, as in Claude Code."""


@dataclass(frozen=True)
class Rule:
    """One entry of `[permissions] rules`.

    Raises ValueError, saying what is wrong with it. Reads the file system: a path is resolved when its rule is made.
    """

    tool: str
    decision: RuleDecision
    _name: str = field(init=False, repr=False, compare=False)
    _names: Glob = field(init=False, repr=False, compare=False)
    _pattern: _Pattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name, pattern = _parse(self.tool)
        for attribute, value in (("_name", name), ("_names", Glob(name)), ("_pattern", pattern)):
            object.__setattr__(self, attribute, value)

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Rule:
        """A rule as the configuration states it.

        Raises:
            ValueError: saying what is wrong with the entry.

        """
        tool, decision = entry.get("tool"), entry.get("decision")
        if not isinstance(tool, str):
            expected = 'expected a tool\'s name, or a name with a pattern such as "Bash(git *)"'
            raise ValueError(f"tool = {tool!r}: {expected}")  # noqa: TRY004 - the entry's fault, not a caller's
        if decision not in ("allow", "deny", "ask"):
            raise ValueError(f'decision = {decision!r}: expected "allow", "deny" or "ask"')
        return cls(tool, decision)

    def matches(self, tool: str, arguments: Mapping[str, Any], context: CallContext = UNKNOWN) -> bool:
        """Return whether the rule decides about this call. Reads the file system if the rule is about paths."""
        careful = self.decision != "allow"
        if not self._names.matches(tool) and not (careful and tool in _ALSO_MEANS.get(self._name, ())):
            return False
        match self._pattern:
            case None:
                return True
            case CommandPattern() as command:
                line = arguments.get("command")
                if not isinstance(line, str):
                    return careful and line is not None
                return command.may_cover(line) if careful else command.covers(line)
            case UrlPattern() as pattern:
                url = arguments.get("url")
                if not isinstance(url, str):
                    return careful and url is not None
                return pattern.may_cover(url) if careful else pattern.covers(url)
            case PathPattern() as path:
                named, search = targets(tool, arguments, context), tool in SEARCHES
                if careful:
                    return any(path.may_cover(target, search=search, below=self._name in SEARCHES) for target in named)
                return bool(named) and all(path.covers(target, search=search) for target in named)
            case Glob() as glob:
                value = _argument(tool, arguments)
                return glob.matches(value) if isinstance(value, str) else careful and value is not None

    @property
    def reads_files(self) -> bool:
        """Whether `matches` reads the file system."""
        return isinstance(self._pattern, PathPattern)


_Pattern = CommandPattern | UrlPattern | PathPattern | Glob | None


def _parse(rule: str) -> tuple[str, _Pattern]:
    """The tool's name and the compiled pattern; None for a rule about every call of the tool.

    Raises:
        ValueError: saying what is wrong with the rule.

    """
    shown = f"tool = {rule[:200]!r}"
    if len(rule) > LONGEST_RULE:
        raise ValueError(f"{shown}…: expected at most {LONGEST_RULE} characters")
    if not rule.isascii() and rule != rule.encode("utf-8", "replace").decode():
        raise ValueError(f"{shown}: expected valid Unicode, without halves of surrogate pairs")
    name, bracket, rest = rule.partition("(")
    name = name.strip()
    if not re.fullmatch(r"[\w.*\\ -]+", name, re.ASCII):
        raise ValueError(f"{shown}: expected a tool's name before the parenthesis, such as Bash, mcp__files__* or *")
    if not bracket:
        return name, None
    if not rest.rstrip().endswith(")"):
        raise ValueError(f'{shown}: expected a closing parenthesis at the end, such as "Bash(git *)"')
    pattern = rest.rstrip()[:-1].strip()
    if not pattern:
        raise ValueError(f'{shown}: expected a pattern between the parentheses; write "{name}" to cover all calls')
    if pattern == "*":
        return name, None
    if name not in _WITH_PATTERN:
        raise ValueError(
            f"{shown}: expected no pattern: ccproxy knows the arguments of these tools only: {', '.join(sorted(_WITH_PATTERN))}"
        )
    # A literal command may be anything a shell takes, such as the branches of `case`.
    if not _is_balanced(pattern) and not (name in _COMMANDS and not has_star(pattern)):
        raise ValueError(f"{shown}: expected as many closing as opening parentheses")
    try:
        return name, _compile(name, pattern)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None


def _compile(name: str, pattern: str) -> _Pattern:
    if name in _COMMANDS:
        return CommandPattern(pattern)
    if name in _PATHS:
        return PathPattern(pattern)
    return UrlPattern.parse(pattern) if name == "WebFetch" else Glob(pattern)


def _is_balanced(text: str) -> bool:
    depth = 0
    for sign in re.findall(r"[()]", text):
        depth += 1 if sign == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def _argument(tool: str, arguments: Mapping[str, Any]) -> object:
    names = _ARGUMENTS.get(tool, ())
    return next((arguments[name] for name in names if arguments.get(name) is not None), None)


def suggest_rule(tool: str, arguments: Mapping[str, Any], context: CallContext = UNKNOWN) -> str:
    """The narrowest rule that covers this call: what "always" means if nothing else is said. Empty if no rule covers it alone."""
    if tool in _COMMANDS:
        value = arguments.get("command")
    elif tool in _PATHS:
        value = arguments.get(
            "path" if tool in SEARCHES else "notebook_path" if tool.startswith("Notebook") else "file_path"
        )
        value = context.cwd if value is None and tool in SEARCHES else value
        value = absolute_path(value, context) if isinstance(value, str) else None
    elif tool == "WebFetch":
        try:
            value = f"domain:{read_url(str(arguments.get('url'))).host}"
        except Doubtful:
            value = None
    elif tool in _ARGUMENTS:
        value = _argument(tool, arguments)
        if value is None:
            return tool
    else:
        return tool
    if not isinstance(value, str) or not value.strip():
        return ""
    text = literal(value.strip())
    rule = f"{tool}({'/' if tool in _PATHS else ''}{text})"
    return rule if len(rule) <= LONGEST_RULE else ""


def save_rule(path: Path, rule: Rule) -> None:
    """Insert a rule at the front of `[permissions] rules` of a configuration file, where it wins over older ones. Comments and order stay.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is not valid TOML, or its `rules` is not a list.

    """
    # A person decides once in a while: until then none of this is needed.
    from ccproxy.settings.files import read_file, replace_file

    replace_file(path, with_rule(path, read_file(path) if path.exists() else b"", rule))


def with_rule(path: Path, content: bytes, rule: Rule) -> bytes:
    """The content of the configuration file `path` with one more rule; see `save_rule`.

    Raises:
        ValueError: the content is not valid TOML, or its `rules` is not a list.

    """
    import tomlkit
    from tomlkit.items import AoT, Array

    try:
        document = tomlkit.parse(content.decode())
    except RecursionError:
        raise ValueError(f"{path}: tables are nested too deeply") from None
    section = document.get("permissions")
    if section is None:
        section = tomlkit.table()
        document["permissions"] = section
    rules = section.get("rules")
    if rules is None:
        rules = tomlkit.array()
        rules.multiline(multiline=True)
        section["rules"] = rules
    entry: Any
    if isinstance(rules, AoT):
        entry = tomlkit.table()
    elif isinstance(rules, Array):
        entry = tomlkit.inline_table()
    else:
        raise ValueError(f"{path}: permissions.rules is not a list")  # noqa: TRY004 - the file's fault, not a caller's
    entry.update({"tool": rule.tool, "decision": rule.decision})
    rules.insert(0, entry)
    written = tomlkit.dumps(document)
    if tomlkit.parse(written).unwrap()["permissions"]["rules"][0] != {"tool": rule.tool, "decision": rule.decision}:
        # tomlkit edits a copy of a list whose tables have others between them
        raise ValueError(f"{path}: permissions.rules is defined in several places, so nothing can be added to it")
    return written.encode()
