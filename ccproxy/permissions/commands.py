"""Which shell commands a rule for `Bash` covers.

A shell says the same thing in many ways, so both kinds of rules err on their safe side. A rule that allows several commands covers only lines without anything
that could start a second one. A rule that denies or asks looks at each command of a line, in two readings, one that understands quotes and one that ignores
them, and applies as well where the command's name is not written out (`$X`, `{a,b}`, `/bin/r?`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ccproxy.permissions.globs import Glob, has_star
from ccproxy.permissions.shell import Word, commands_of

LONGEST = 100_000
"""Characters of the longest command that is read: beyond it, only a rule for exactly this command allows, and every rule with a pattern denies."""

# In quotes too: what is inside one shell's quotes may be another's script. Control characters and exotic line
# separators are in no honest command.
_MAY_JOIN = re.compile(r"[;&|\n\r`<>\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]|\$[(\[{]|=\(")
_INERT = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_ANY_JOINT = re.compile(r"&&|\|\||[;&|\n]|\$\(|`|[<>]\(|[(){}]")

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^]]*\])?\+?=", re.ASCII)
_KEYWORDS = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "function"})
_SHELLS = frozenset({"eval", "sh", "bash", "dash", "ksh", "zsh", "source", "."})
# Commands that run another one, which stands somewhere among their arguments.
_RUNNERS = (
    _SHELLS
    | frozenset({"builtin", "busybox", "chroot", "chrt", "command", "coproc", "doas", "env", "exec", "find", "flock"})
    | frozenset({"ionice", "nice", "nohup", "parallel", "pkexec", "script", "setsid", "ssh", "stdbuf", "strace", "su"})
    | frozenset({"sudo", "systemd-run", "taskset", "time", "timeout", "toybox", "trap", "unshare", "watch", "xargs"})
)


class CommandPattern:
    """The pattern of a `Bash` rule. `git *` is `git` with or without arguments; `git:*` is Claude Code's older spelling of it."""

    def __init__(self, pattern: str) -> None:
        self._exact = None if has_star(pattern) else pattern.replace(r"\*", "*")
        pattern = re.sub(r":\*$", " *", pattern)
        forms = [pattern]
        if pattern.endswith(" *"):
            forms.append(pattern[:-2])
        self._globs = [Glob(form) for form in forms]
        # Somewhere among the arguments of another command, with or without its folder.
        self._later = [Glob(f"*{before}{form}") for form in forms for before in (" ", "/")]

    def covers(self, command: str) -> bool:
        """Return whether the line is certainly one command that fits: for rules that allow."""
        command = command.strip(" \t\n")
        if command == self._exact:
            return True
        if self._exact is not None or len(command) > LONGEST or _MAY_JOIN.search(command):
            return False
        outside = _INERT.sub("", command)
        return "(" not in outside and ")" not in outside and self._matches(command.replace("\t", " "))

    def may_cover(self, command: str) -> bool:
        """Return whether one of the line's commands fits or may fit: for rules that deny or ask."""
        if len(command) > LONGEST or command.strip(" \t\n") == self._exact:
            return True
        understood, others = readings(command)
        return (
            any(_hides_its_name(words) or self._may_be(words) for words in understood)
            or any(self._may_be(words) for words in others)
            or any(self._matches(_spaced(part)) for part in _ANY_JOINT.split(command))
        )

    def _may_be(self, words: list[Word]) -> bool:
        first = words[0].text
        name = first.rpartition("/")[2]
        line = _spaced(" ".join(word.text for word in words))
        if self._matches(line) or self._matches(name + line[len(_spaced(first)) :]):
            return True
        return name in _RUNNERS and any(glob.matches(line) for glob in self._later)

    def _matches(self, command: str) -> bool:
        return any(glob.matches(command) for glob in self._globs)


def _hides_its_name(words: list[Word]) -> bool:
    """Whether the shell makes up the command's name, or the script that it runs."""
    first = words[0]
    if first.text in ("[", "[["):
        return False
    if not first.certain or "{" in first.text:
        return True
    name = first.text.rpartition("/")[2]
    if name == "eval":
        return not all(word.certain for word in words)
    script = next((word for word in words[1:] if not word.text.startswith("-")), None)
    return name in _SHELLS and script is not None and not script.certain


@lru_cache(maxsize=1)  # all rules look at one command after the other
def readings(line: str) -> tuple[list[list[Word]], list[list[Word]]]:
    """The commands of a line as a shell reads it, and those of its pieces, from the word that names the command on.

    The pieces are there because the first reading can be led astray: by another shell's quotes, or by an apostrophe in a comment.
    """
    pieces = (*line.split("\n"), *_ANY_JOINT.split(line))
    return _named(commands_of(line)), _named(words for piece in pieces for words in commands_of(piece))


def _named(commands: Iterable[list[Word]]) -> list[list[Word]]:
    named = []
    for words in commands:
        for at, word in enumerate(words):
            if word.text not in _KEYWORDS and not _ASSIGNMENT.match(word.text):
                named.append(words[at:])
                break
    return named


def _spaced(text: str) -> str:
    return " ".join(text.split())
