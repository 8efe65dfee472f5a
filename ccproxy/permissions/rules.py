r"""Rules that allow or deny a tool call, in Claude Code's syntax: `Bash(git *)`, `Read(~/notes/*)`,
`WebFetch(domain:example.com)`, `mcp__files__*`.

A rule is a tool's name, with `*` for any characters (`\*` for a star), and optionally a pattern for the argument
that matters. Rules are a convenience for well-meant calls, not a jail: a shell command can do the same thing in many
spellings. So an allow rule with a wildcard takes no command that joins several, and a deny rule looks at each command
of the line.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

RuleDecision = Literal["allow", "deny", "ask"]

# Where a tool's own argument is found. https://code.claude.com/docs/en/permissions
_ARGUMENTS = {
    "Bash": ("command",),
    "BashOutput": ("bash_id",),
    "Read": ("file_path",),
    "Edit": ("file_path",),
    "MultiEdit": ("file_path",),
    "Write": ("file_path",),
    "NotebookEdit": ("notebook_path",),
    "Glob": ("path", "pattern"),
    "Grep": ("path", "pattern"),
    "WebFetch": ("url",),
    "WebSearch": ("query",),
    "Agent": ("subagent_type",),
    "Task": ("subagent_type",),
    "Skill": ("skill", "command"),
}
_PATH_TOOLS = frozenset({"Read", "Edit", "MultiEdit", "Write", "NotebookEdit", "Glob", "Grep"})
_JOINTS = re.compile(r"&&|\|\||[;&|\n]|\$\(|`|[<>]\(|[(){}]")
_JOINED = re.compile(r"[;&|\n`<>]|\$\(")


@dataclass(frozen=True)
class Rule:
    """One entry of `[permissions] rules`."""

    tool: str
    decision: RuleDecision

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Rule:
        """A rule as the configuration says it.

        Raises:
            ValueError: saying what is wrong with the entry.

        """
        tool, decision = entry.get("tool"), entry.get("decision")
        if not isinstance(tool, str) or not re.fullmatch(r"[^()]+(\(.*\))?", tool, re.DOTALL):
            raise ValueError(f'tool = {tool!r}: expected a tool\'s name, or a name with a pattern like "Bash(git *)"')
        if decision not in ("allow", "deny", "ask"):
            raise ValueError(f'decision = {decision!r}: expected "allow", "deny" or "ask"')
        return cls(tool, decision)

    def matches(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        name, pattern = self._parts
        if not name.fullmatch(tool):
            return False
        if pattern is None or pattern == "*":
            return True
        value = argument_of(tool, arguments)
        if value is None:
            return False
        if tool == "Bash":
            return self._matches_command(pattern, value)
        if tool == "WebFetch" and pattern.startswith("domain:"):
            host, wanted = urlsplit(value).hostname or "", pattern.removeprefix("domain:").lower()
            return _glob(wanted).fullmatch(host) is not None
        if tool in _PATH_TOOLS:
            return _path_glob(pattern).fullmatch(posixpath.normpath(value)) is not None
        return _glob(pattern).fullmatch(value) is not None

    def _matches_command(self, pattern: str, command: str) -> bool:
        command = command.strip()
        if command == pattern.replace(r"\*", "*") and "*" not in pattern.replace(r"\*", ""):
            return True
        glob = _command_glob(pattern)
        if self.decision == "deny":
            return any(glob.fullmatch(part.strip()) for part in _JOINTS.split(command))
        return not _JOINED.search(command) and glob.fullmatch(command) is not None

    @cached_property
    def _parts(self) -> tuple[re.Pattern[str], str | None]:
        name, bracket, rest = self.tool.partition("(")
        return _glob(name.strip()), rest[:-1].strip() if bracket else None


def argument_of(tool: str, arguments: Mapping[str, Any]) -> str | None:
    """The argument that rules for `tool` look at."""
    for name in _ARGUMENTS.get(tool, ()):
        if isinstance(arguments.get(name), str):
            value: str = arguments[name]
            return value
    return None


def suggest_rule(tool: str, arguments: Mapping[str, Any]) -> str:
    """The narrowest rule that covers this call: what "always" means if nothing else is said."""
    value = argument_of(tool, arguments)
    if value is None:
        return tool
    if tool == "WebFetch":
        return f"WebFetch(domain:{urlsplit(value).hostname or ''})"
    if tool in _PATH_TOOLS:
        return f"{tool}({'/' if value.startswith('/') else ''}{_literal(posixpath.normpath(value))})"
    return f"{tool}({_literal(value.strip())})"


def save_rule(path: Path, rule: Rule) -> None:
    """Put a rule first in `[permissions] rules` of a configuration file, where it wins over older ones; comments and order stay.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is no TOML, or its `rules` is no list.

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
        raise ValueError(f"{path}: permissions.rules is no list")  # noqa: TRY004 - the file's fault, not a caller's
    entry.update({"tool": rule.tool, "decision": rule.decision})
    rules.insert(0, entry)
    written = tomlkit.dumps(document)
    if tomlkit.parse(written).unwrap()["permissions"]["rules"][0] != {"tool": rule.tool, "decision": rule.decision}:
        # tomlkit edits a copy of a list whose tables have others between them
        raise ValueError(f"{path}: permissions.rules stands in several places, so nothing can be added to it")
    return written.encode()


def shorten(arguments: Mapping[str, Any], limit: int = 2000) -> str:
    """The arguments as JSON, cut to `limit` characters."""
    text = json.dumps(arguments, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _literal(text: str) -> str:
    return text.replace("*", r"\*")


def _glob(pattern: str) -> re.Pattern[str]:
    parts = (part.replace(r"\*", "*") for part in re.split(r"(?<!\\)\*", pattern))
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def _command_glob(pattern: str) -> re.Pattern[str]:
    """`git *` is `git` with or without arguments; `git:*` is Claude Code's older spelling of it."""
    pattern = re.sub(r":\*$", " *", pattern)
    if pattern.endswith(" *"):
        return re.compile(f"{_glob(pattern[:-2]).pattern}(?:\\s.*)?", re.DOTALL)
    return _glob(pattern)


def _path_glob(pattern: str) -> re.Pattern[str]:
    """`//etc/x` and `/etc/x` are absolute, `~/x` is in the home folder, anything else may stand below any folder."""
    if pattern.startswith("~/"):
        pattern = posixpath.join(Path.home().as_posix(), pattern[2:])
    elif pattern.startswith("//"):
        pattern = pattern[1:]
    elif not pattern.startswith("/"):
        return re.compile(f"(?:.*/)?{_glob(pattern.removeprefix('./')).pattern}", re.DOTALL)
    return _glob(pattern)
