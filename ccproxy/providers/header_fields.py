"""What goes to an upstream: which header fields, whose credential. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Final

from ccproxy.providers.spec import Provider, Upstream

Field = tuple[bytes, bytes]

MAX_VALUE: Final = 4096
"""Bytes of the longest header value that ccproxy makes."""
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")

CLIENT_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
"""Where clients put a key: the older Anthropic SDKs use x-api-key, the newer ones and OpenAI's a bearer token."""

PRIVATE = CLIENT_CREDENTIALS | {b"x-ccproxy-token", b"proxy-authorization", b"cookie"}
"""Taken off every flow at once. Cookies for 127.0.0.1 belong to whatever else runs there, never to an upstream."""

# https://www.rfc-editor.org/rfc/rfc9110#name-connection; transfer-encoding stays: mitmproxy writes the body by it
HOP_BY_HOP = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings",
                        b"proxy-authenticate", b"expect"})  # fmt: skip


def public_fields(
    fields: Iterable[Field], credential_headers: frozenset[bytes] = frozenset()
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Split a client's header fields into those that a flow may keep and the private ones, those of `credential_headers` among them."""
    public: list[Field] = []
    private: list[Field] = []
    for field in fields:
        name = field[0].lower()
        (private if name in PRIVATE or name in credential_headers else public).append(field)
    return tuple(public), tuple(private)


def request_fields(fields: Iterable[Field], upstream: Upstream, provider: Provider) -> tuple[Field, ...]:
    """The header fields for the wire, without a credential: the client's without hop-by-hop ones, the upstream's own Host.

    Order and spelling of what the client sent are kept.
    """
    fields = tuple(fields)
    dropped = HOP_BY_HOP | _named_by_connection(fields)
    out: list[Field] = [(b"Host", upstream.host_header.encode())]
    seen = set()
    for field in fields:
        name = field[0].lower()
        if name == b"host" or name in dropped or name.startswith(b"x-ccproxy-"):
            continue
        seen.add(name)
        out.append(field)
    out += [(n.encode(), v.encode()) for n, v in provider.default_headers if n.encode() not in seen]
    return tuple(out)


def followed(wire: Iterable[Field], before: Iterable[Field], now: Iterable[Field]) -> tuple[Field, ...]:
    """`wire`, which was made when the flow's fields were `before`, with the changes that a script has made to them since."""

    def by_name(fields: Iterable[Field]) -> dict[bytes, list[bytes]]:
        values: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            values.setdefault(name.lower(), []).append(value)
        return values

    old, new = by_name(before), by_name(now)
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)} - HOP_BY_HOP - {b"host"}
    kept = tuple(field for field in wire if field[0].lower() not in changed)
    return (*kept, *(field for field in now if field[0].lower() in changed))


def strangers_fields(now: Iterable[Field], host: str) -> tuple[Field, ...]:
    """The header fields for a host that is not the provider's: nothing is added to what the flow shows."""
    kept = (field for field in now if field[0].lower() not in HOP_BY_HOP | PRIVATE | {b"host"})
    return ((b"Host", host.encode()), *kept)


def response_fields(fields: Iterable[Field], flow_id: str) -> tuple[Field, ...]:
    """The header fields for the client: the upstream's without hop-by-hop ones, and the flow's id."""
    fields = tuple(fields)
    dropped = HOP_BY_HOP | _named_by_connection(fields)
    out = [field for field in fields if field[0].lower() not in dropped]
    out.append((b"x-ccproxy-flow", flow_id.encode()))
    return tuple(out)


def _named_by_connection(fields: Iterable[Field]) -> frozenset[bytes]:
    """Header names that a Connection header declares to be for this hop only."""
    values = [value for name, value in fields if name.lower() == b"connection"]
    if not values or values == [b"keep-alive"]:
        return frozenset()
    named = {word.strip().lower() for value in values for word in value.split(b",")}
    return frozenset(named - {b"close", b"content-length", b"transfer-encoding", b"host"})


def key_of(field: Field) -> str:
    """The key in a credential field, without `Bearer`. Empty where it is not text."""
    value = field[1].decode("latin-1").strip()
    scheme, _, token = value.partition(" ")
    return token.strip() if field[0].lower() == b"authorization" and scheme.lower() == "bearer" else value


def seconds_of(value: str) -> float | None:
    """Return the seconds of a `retry-after` header; None where it is a date or not a number."""
    return float(value) if _SECONDS.fullmatch(value.strip()) else None


def safe_value(text: str, limit: int = MAX_VALUE) -> bytes:
    """Return `text` as the value of a header that ccproxy itself makes: printable ASCII, at most `limit` bytes, no line breaks.

    What a client, an upstream or a script wrote may be part of such a value (a JSON path, a model, an error message): everything that is
    not printable ASCII is escaped as in a Python string, so that no value can end its line.
    """
    if not (text.isascii() and text.isprintable()):
        text = _NOT_PRINTABLE.sub(_escaped, text[:limit])
    return text.encode("ascii")[:limit].strip()


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def mapped_model(models: Mapping[str, str], model: str) -> str:
    """The upstream's name for a model: an exact entry of the map, else the first glob that matches, else the name itself."""
    if not models:
        return model
    if exact := models.get(model):
        return exact
    return next((target for glob, target in models.items() if fnmatch.fnmatchcase(model, glob)), model)
