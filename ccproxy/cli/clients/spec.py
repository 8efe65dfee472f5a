"""A client as a value."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ccproxy.cli.clients.connection import Connection, Dialect

Arguments = Callable[[Connection, Sequence[str]], list[str]]
"""Makes the client's command-line arguments from those of the user."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable of the client. A `value` of None removes it."""

    name: str
    value: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Setting:
    """An environment variable before its value is known.

    `template` may contain `{base}`, `{v1}`, `{origin}`, `{key}`, `{token}`, `{model}` and `{window}`. If one of those has no value, the variable is
    left unchanged. A template of None removes the variable. A function computes a value that no template can express.
    """

    name: str
    template: str | Callable[[Connection], str | None] | None
    why: str
    only_if: Callable[[Connection], bool] = field(default=lambda _: True)
    yields: bool = False
    """True if the user's own value takes precedence."""
    joined_by: str = ""
    """The separator between the user's value and ours; empty replaces the user's value."""

    def variable(self, connection: Connection, environ: Mapping[str, str]) -> Variable | None:
        """Return the variable, or None if it is to be left unchanged."""
        if not self.only_if(connection) or (self.yields and environ.get(self.name)):
            return None
        if self.template is None:
            return Variable(self.name, None, self.why)
        value = self.template(connection) if callable(self.template) else _filled(self.template, connection)
        if value is None:
            return None
        current = environ.get(self.name, "") if self.joined_by else ""
        if current:
            parts = current.split(self.joined_by)
            value = self.joined_by.join([*parts, *(part for part in value.split(self.joined_by) if part not in parts)])
        return Variable(self.name, value, self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A program, or a library in a program, that uses an LLM."""

    name: str
    title: str
    program: str
    settings: Mapping[Dialect, tuple[Setting, ...]]
    """Its environment variables in each dialect that it supports."""
    via: str
    """The default provider."""
    own_family: str = ""
    """The family of the models that it requests by default; empty if it needs `--model`."""
    carries_token: bool = True
    """True if it can send `x-ccproxy-token` in addition to its own key."""
    reads_header_file: bool = False
    """True if it can read a header from a file, which keeps ccproxy's token out of the arguments that all users can read."""
    arguments: Arguments = field(default=lambda _, arguments: list(arguments))
    notes: tuple[str, ...] = ()
    """Additional comments for `ccproxy env`."""

    @property
    def dialects(self) -> frozenset[Dialect]:
        return frozenset(self.settings)

    def variables(self, connection: Connection, environ: Mapping[str, str]) -> Iterator[Variable]:
        """Yield the variables that point this client at ccproxy. `environ` is its environment without them."""
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
    Setting(name, _hosts, "Requests to this machine must not go through a corporate proxy", joined_by=",")
    for name in ("NO_PROXY", "no_proxy")
)
"""Both spellings, because programs read one or the other."""
