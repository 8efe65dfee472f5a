"""Shell lines as the commands in them.

Reads what decides about words and commands: quotes, comments, separators, substitutions, redirections, here-documents. It expands nothing, and reports where a
shell would. https://www.gnu.org/software/bash/manual/bash.html#Shell-Syntax
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<continued>\\\n)
    |(?P<comment>\#)
    |(?P<redirection>\d*(?:<<<|<<-?|<>|>>|>\||[<>]&|&>>|&>)|\d*[<>](?!\())
    |(?P<joint>[$<>=]?\(|[;&|]+)
    |(?P<line>\n)
    |(?P<close>\))
    |(?P<tick>`)
    |(?P<blank>[ \t\r\v\f]+)
    |(?P<single>'[^']*'?)
    |(?P<ansi>\$'(?:[^'\\]|\\.)*'?)
    |(?P<double>\$?")
    |(?P<escaped>\\.)
    |(?P<expansion>[$*?\[])
    |(?P<plain>[^\\\#<>()$;&|`'"\s*?\[]+|.)""",
    re.VERBOSE | re.DOTALL,
)
_IN_DOUBLE_QUOTES = re.compile(
    r"""(?P<continued>\\\n)
    |(?P<joint>\$\()
    |(?P<tick>`)
    |(?P<double>")
    |(?P<escaped>\\.)
    |(?P<expansion>\$)
    |(?P<plain>[^\\$`"]+|.)""",
    re.VERBOSE | re.DOTALL,
)


class Word(NamedTuple):
    """One word of a command, without its quotes. `certain` unless the shell makes something else of it."""

    text: str
    certain: bool


def commands_of(line: str) -> list[list[Word]]:
    """The commands of a line, those in substitutions too. What follows a substitution counts as a command of its own. Takes linear time."""
    reader = _Reader(line)
    while reader.at < len(line):
        inside = bool(reader.open) and reader.open[-1] == '"'
        match = (_IN_DOUBLE_QUOTES if inside else _TOKEN).match(line, reader.at)
        if match is None or match.lastgroup is None:
            raise AssertionError("each pattern ends with: any character")
        reader.at = match.end()
        getattr(reader, match.lastgroup)(match[0])
    reader.end_command()
    return [words for words in reader.commands if words]


@dataclass(slots=True)
class _Reader:
    """Takes tokens, by a method for each kind, and makes commands of them."""

    text: str
    at: int = 0
    commands: list[list[Word]] = field(default_factory=lambda: [[]])
    parts: list[str] | None = None
    """The word that is being read; None between words."""
    certain: bool = True
    open: list[str] = field(default_factory=list)
    """Double quotes, parentheses and backticks that have not been closed."""
    ticks: int = 0
    operator: str = ""
    """The redirection whose file is the next word."""
    heredocs: list[str] = field(default_factory=list)
    """The last lines of here-documents that begin with the next line."""

    # --- tokens ---

    def continued(self, token: str) -> None:
        """A line break behind a backslash is not there."""

    def comment(self, token: str) -> None:
        if self.parts is not None:
            self.add(token)
            return
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def redirection(self, token: str) -> None:
        self.end_word()
        self.operator = token.lstrip("0123456789")

    def joint(self, token: str) -> None:
        self.end_command()
        if token.endswith("("):
            self.open.append("(")

    def line(self, _token: str) -> None:
        self.end_command()
        for last in self.heredocs:
            self.at = _behind(self.text, self.at, last)
        self.heredocs.clear()

    def close(self, _token: str) -> None:
        self.end_command()
        if self.open and self.open[-1] == "(":
            self.open.pop()

    def tick(self, token: str) -> None:
        self.end_command()
        if not self.ticks:
            self.ticks += 1
            self.open.append(token)
            return
        self.ticks -= 1
        while self.open.pop() != token:
            pass

    def blank(self, _token: str) -> None:
        self.end_word()

    def single(self, token: str) -> None:
        self.add(token[1:].removesuffix("'"))

    def ansi(self, token: str) -> None:
        self.add(token[2:].removesuffix("'"), certain="\\" not in token)

    def double(self, _token: str) -> None:
        self.add("")
        if self.open and self.open[-1] == '"':
            self.open.pop()
        else:
            self.open.append('"')

    def escaped(self, token: str) -> None:
        self.add(token[1:])

    def expansion(self, token: str) -> None:
        self.add(token, certain=False)

    def plain(self, token: str) -> None:
        self.add(token)

    # --- words and commands ---

    def add(self, text: str, *, certain: bool = True) -> None:
        if self.parts is None:
            self.parts = []
        self.parts.append(text)
        self.certain = self.certain and certain

    def end_word(self) -> None:
        if self.parts is None:
            return
        word = Word("".join(self.parts), self.certain)
        if self.operator in ("<<", "<<-"):
            self.heredocs.append(word.text)
        elif not self.operator:
            self.commands[-1].append(word)
        self.operator = ""
        self.parts = None
        self.certain = True

    def end_command(self) -> None:
        self.end_word()
        self.operator = ""
        if self.commands[-1]:
            self.commands.append([])


def _behind(text: str, at: int, last: str) -> int:
    """The position behind a here-document that begins at `at` and ends with the line `last`."""
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line, at = text[at:end], end + 1
        if line.lstrip("\t") == last:
            break
    return min(at, len(text))
