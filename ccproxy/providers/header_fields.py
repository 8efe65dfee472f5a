"""Header fields and query parameters that go upstream, and header fields that come back. Pure.

Three kinds of what a client sends stay here: credentials (only the chosen one is added, on the wire), hop-by-hop fields, and what
describes the client's network or web page. Everything else passes with its order and spelling.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final
from urllib.parse import unquote_plus

from ccproxy.providers.client_credentials import TOKEN_HEADERS
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.secret_names import SECRET_QUERY_NAMES, is_secret_header, is_secret_query

Field = tuple[bytes, bytes]

ACCOUNT_HEADERS: Final = frozenset({b"chatgpt-account-id", b"x-openai-fedramp"})
"""They go with a ChatGPT token and name its account, so they pass to a provider of such tokens only. Where ccproxy adds a credential of its
own, `auth.wire` replaces them."""

# https://www.rfc-editor.org/rfc/rfc9110#name-connection; transfer-encoding stays: mitmproxy writes the body by it
HOP_BY_HOP: Final = frozenset({
    b"connection", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings", b"expect",
    b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
})  # fmt: skip

CLIENT_SIDE: Final = frozenset({
    b"origin", b"referer", b"sec-gpc", b"dnt", b"forwarded", b"x-forwarded", b"via", b"cdn-loop",
    b"cf-connecting-ipv6", b"cf-pseudo-ipv4", b"cf-ipcountry", b"cf-ray", b"cf-visitor", b"cf-worker", b"cf-ew-via",
    b"x-envoy-external-address",
})  # fmt: skip
"""Describe the client's network or web page. A vendor answers 401 to any Origin, and addresses on this side do not concern it.

Cloudflare's are listed one by one: `cf-aig-*` are parameters of its AI gateway, which may be the upstream."""
_STAYING_PREFIXES: Final = (b"sec-fetch-", b"sec-ch-", b"x-forwarded-", b"x-ccproxy-")
_ADDRESSES: Final = (
    *(
        b"client-ip",
        b"connecting-ip",
        b"real-ip",
        b"remote-ip",
        b"originating-ip",
        b"user-ip",
        b"clientip",
        b"socketip",
    ),
    *(b"forwarded-for", b"remote-addr"),
)
"""Endings of the names in which proxies and CDNs pass the client's address on: `X-Real-IP`, `True-Client-IP`, `CF-Connecting-IP`."""

MAX_VALUE: Final = 4096
"""Bytes of the longest header value that ccproxy makes."""
_NUMBER = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,20})?(?:[eE]-[0-9]{1,2})?", re.ASCII)
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e]")

_OWN_PREFIX: Final = b"x-ccproxy-"
_FRAMING: Final = frozenset({b"close", b"transfer-encoding", b"host"})


class Kind(IntEnum):
    """What becomes of a header field of a request."""

    PASSES = 0
    STAYS = 1
    """It is meant for ccproxy or for this hop, or describes the client's network or page."""
    KEY = 2
    """A credential of any vendor: it is taken off the flow, so one that a flow has comes from a script."""
    LOCAL_KEY = 3
    """A credential for a forward proxy: taken off the flow, and never sent."""
    ACCOUNT = 4
    """See `ACCOUNT_HEADERS`."""


_PASSES, _STAYS, _KEY, _LOCAL_KEY, _ACCOUNT = (
    Kind  # looking them up on the class, for each field, takes longer than the rest
)
_MEMO: Final[dict[bytes, tuple[bytes, Kind]]] = {}
_MEMO_ENTRIES: Final = 1024
_MEMO_NAME: Final = 64
"""Bytes of the longest name that is memoised. Clients repeat a few dozen names, and none can fill the memory with long ones."""


def kind_of(name: bytes) -> tuple[bytes, Kind]:
    """Return a header's name in lower case and what becomes of the field."""
    if entry := _MEMO.get(name):
        return entry
    lower = name.lower()
    kind = _kind_of(lower.replace(b"_", b"-"))  # servers of the CGI tradition do not tell `X_Real_IP` from `X-Real-IP`
    if len(name) <= _MEMO_NAME and len(_MEMO) < _MEMO_ENTRIES:
        _MEMO[name] = lower, kind
    return lower, kind


def _kind_of(name: bytes) -> Kind:
    if name in ACCOUNT_HEADERS:
        return Kind.ACCOUNT
    if name == b"proxy-authorization":
        return Kind.LOCAL_KEY
    if (
        name == b"host"
        or name in HOP_BY_HOP
        or name in CLIENT_SIDE
        or name.startswith(_STAYING_PREFIXES)
        or name.endswith(_ADDRESSES)
    ):
        return Kind.STAYS
    return Kind.KEY if is_secret_header(name) else Kind.PASSES


def public_fields(
    fields: Iterable[Field], credential_headers: frozenset[bytes] = frozenset()
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """Split a client's header fields into those that a flow may keep and those that may carry the client's credential or ccproxy's token.

    The latter are `TOKEN_HEADERS` and `credential_headers`. Other vendors' keys and cookies are in neither: cookies for 127.0.0.1 belong to
    whatever else runs there.
    """
    public: list[Field] = []
    private: list[Field] = []
    for field in fields:
        name, kind = kind_of(field[0])
        if name in credential_headers or name in TOKEN_HEADERS:
            private.append(field)
        elif kind is not _KEY and kind is not _LOCAL_KEY:
            public.append(field)
    return tuple(public), tuple(private)


def request_fields(fields: Iterable[Field], upstream: Upstream, provider: Provider) -> tuple[Field, ...]:
    """Return the header fields for the wire: those of a flow that are meant for the upstream, and its own Host.

    Order and spelling of what the client sent are kept. `fields` have been through `public_fields`, so a credential among them is a script's.
    """
    fields = tuple(fields)
    named = _named_by_connection(fields)
    out: list[Field] = [(b"Host", upstream.host_header.encode())]
    seen = set()
    for field in fields:
        name, kind = kind_of(field[0])
        if kind is _STAYS or kind is _LOCAL_KEY or (kind is _ACCOUNT and not provider.has_accounts) or name in named:
            continue
        seen.add(name)
        out.append(field)
    out += [(n.encode(), v.encode()) for n, v in provider.default_headers if n.encode() not in seen]
    return tuple(out)


def strangers_fields(now: Iterable[Field], host: str) -> tuple[Field, ...]:
    """Return the header fields for a host that is not the provider's: nothing is added to what the flow shows."""
    passed = (field for field in now if kind_of(field[0])[1] is _PASSES)
    return ((b"Host", host.encode()), *passed)


def response_fields(fields: Iterable[Field], flow_id: str, *, from_upstream: bool) -> tuple[Field, ...]:
    """Return the header fields for the client: the end-to-end ones, and the flow's id.

    `x-ccproxy-*` is for ccproxy to say: with `from_upstream` such fields are removed.
    """
    fields = tuple(fields)
    names = [name.lower() for name, _ in fields]
    dropped = HOP_BY_HOP | _named_by_connection(fields) if b"connection" in names else HOP_BY_HOP
    out = [
        field
        for field, name in zip(fields, names, strict=True)
        if name not in dropped and not (from_upstream and name.startswith(_OWN_PREFIX))
    ]
    out.append((b"x-ccproxy-flow", safe_value(flow_id)))
    return tuple(out)


def _named_by_connection(fields: Iterable[Field]) -> frozenset[bytes]:
    """Header names that a Connection header declares to be for this hop only; never those that frame or describe the message."""
    values = [value for name, value in fields if name.lower() == b"connection"]
    if not values or values == [b"keep-alive"]:
        return frozenset()
    named = {word.strip().lower() for value in values for word in value.split(b",")}
    return frozenset(name for name in named if name not in _FRAMING and not name.startswith(b"content-"))


def public_target(target: str) -> str:
    """Return a request target (path and query) without the parameters that carry a key; every other byte stays.

    A parameter goes together with the separator after it, or the one before it if it is the last. `;` separates parameters too: some servers
    read it so.
    """
    path, mark, query = target.partition("?")
    if not mark or not _may_name_secret(query):
        return target
    pieces = _SEPARATOR.split(query)  # parameters at even positions, separators between them
    passed: list[str] = []
    for index in range(0, len(pieces), 2):
        if not _is_secret_parameter(pieces[index]):
            passed += pieces[index : index + 2]
    if len(pieces) % 2 and passed and _is_secret_parameter(pieces[-1]):
        passed.pop()  # the separator before a last parameter that is gone
    return f"{path}?{''.join(passed)}" if passed else path


_SEPARATOR = re.compile(r"([&;])")
_ROOTS: Final = tuple(
    name for name in SECRET_QUERY_NAMES if not any(other in name for other in SECRET_QUERY_NAMES - {name})
)
"""Every secret name contains one of these."""
_MAX_NAME: Final = 3 * max(map(len, SECRET_QUERY_NAMES)) + 16
"""Characters of the longest name, each percent-encoded, with a little room for `[0]` and blanks."""


def _may_name_secret(query: str) -> bool:
    lower = query.lower()
    return "%" in query or any(root in lower for root in _ROOTS)


def _is_secret_parameter(parameter: str) -> bool:
    name, _, _ = parameter.partition("=")
    if not name or len(name) > _MAX_NAME:
        return False
    return is_secret_query(unquote_plus(name).partition("[")[0])


def safe_value(text: str, limit: int = MAX_VALUE) -> bytes:
    """Return `text` as the value of a header that ccproxy itself makes: printable ASCII, at most `limit` bytes, no line breaks.

    What a client, an upstream or a script wrote may be part of such a value (a JSON path, a model, an error message): everything that is
    not printable ASCII is escaped as in a Python string, so that no value can end its line.
    """
    if not (text.isascii() and text.isprintable()):
        text = _NOT_PRINTABLE.sub(_escaped, text[:limit])
    return text.encode("ascii")[:limit].strip()


def number_in(value: str) -> float | None:
    """Return the number that a header value consists of; None if it is anything else.

    That is ASCII digits, at most 13 before a decimal point. `int`, `float` and `str.isdigit` accept more: `²`, `1_0`, digits of other
    scripts, `inf`, blanks and numbers of any size.
    """
    return float(value) if _NUMBER.fullmatch(value) else None


def is_port(text: str) -> bool:
    """Return whether this is a port number as a Host header has it: up to five ASCII digits."""
    return len(text) <= 5 and text.isascii() and text.isdigit()


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def mapped_model(models: Mapping[str, str], model: str) -> str:
    """The upstream's name for a model: an exact entry of the map, else the first glob that matches, else the name itself."""
    if not models:
        return model
    if exact := models.get(model):
        return exact
    return next((target for glob, target in models.items() if fnmatch.fnmatchcase(model, glob)), model)
