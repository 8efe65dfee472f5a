"""What a client is, as a value."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ccproxy.cli.clients.connection import Connection, Dialect

Arguments = Callable[[Connection, Sequence[str]], list[str]]
"""The client's command-line arguments, from those that the user gave."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable for the child. `value` None takes it away."""

    name: str
    value: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Setting:
    """How a variable gets its value.

    `template` has `{base}`, `{v1}`, `{origin}`, `{key}`, `{token}`, `{model}`, `{window}`; where one of those has no value, the variable is left alone.
    None takes the variable away. A function is for what a template cannot say.
    """

    name: str
    template: str | Callable[[Connection], str | None] | None
    why: str
    only_if: Callable[[Connection], bool] = field(default=lambda _: True)
    yields: bool = False
    """Whether a value that the user has set stays."""
    joined_by: str = ""
    """What stands between the value that is there already and ours; empty replaces it."""

    def variable(self, connection: Connection, environ: Mapping[str, str]) -> Variable | None:
        """The variable, or None where it is to be left alone."""
        if not self.only_if(connection) or (self.yields and environ.get(self.name)):
            return None
        if self.template is None:
            return Variable(self.name, None, self.why)
        value = self.template(connection) if callable(self.template) else _filled(self.template, connection)
        if value is None:
            return None
        before = environ.get(self.name, "") if self.joined_by else ""
        if before:
            parts = before.split(self.joined_by)
            value = self.joined_by.join([*parts, *(part for part in value.split(self.joined_by) if part not in parts)])
        return Variable(self.name, value, self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program, or a library in a program, that speaks to an LLM."""

    name: str
    title: str
    program: str
    settings: Mapping[Dialect, tuple[Setting, ...]]
    """What it is told in each dialect that it speaks."""
    via: str
    """The provider that it gets unless another is named."""
    own_family: str = ""
    """Whose models it asks for by itself; empty: it has to be told one."""
    carries_token: bool = True
    """Whether it can send `x-ccproxy-token` beside its own key."""
    reads_header_file: bool = False
    """Whether it reads a header from a file, and so needs no token among its arguments, which everybody on the machine can read."""
    arguments: Arguments = field(default=lambda _, given: list(given))
    notes: tuple[str, ...] = ()
    """For `ccproxy env`: what no variable can say."""

    @property
    def dialects(self) -> frozenset[Dialect]:
        return frozenset(self.settings)

    def variables(self, connection: Connection, environ: Mapping[str, str]) -> Iterator[Variable]:
        """The variables that point this client at ccproxy; `environ` is what the child would get without them."""
        for setting in (*self.settings[connection.dialect], *NO_PROXY):
            if variable := setting.variable(connection, environ):
                yield variable


def _filled(template: str, connection: Connection) -> str | None:
    names = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    values = {name: getattr(connection, name) for name in names}
    return None if None in values.values() else template.format(**values)


def _hosts(connection: Connection) -> str:
    host = connection.origin.partition("://")[2].rpartition(":")[0].strip("[]")
    return ",".join(dict.fromkeys(("127.0.0.1", "localhost", host)))


NO_PROXY = tuple(
    Setting(name, _hosts, "requests to this machine never go through a company's proxy", joined_by=",")
    for name in ("NO_PROXY", "no_proxy")
)
"""Some programs read one spelling, some the other."""
