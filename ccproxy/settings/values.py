"""Types of settings: what a text may be, and how it is cleaned."""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

_MAX_URL: Final = 2048
_MAX_HOST: Final = 253  # RFC 1035, section 2.3.4
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_INVISIBLE: Final = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
"""Characters without width that are copied along with a key."""
_AROUND: Final = _INVISIBLE + "".join(map(chr, range(33))) + "\x7f\u0085\u00a0\u2028\u2029\u3000"


def cleaned(text: str) -> str:
    """Text without the blanks, line breaks and invisible characters that copying leaves around it."""
    return text.strip(_AROUND)


def clean_key(text: str, *, ascii_only: bool = True) -> str:
    """A key or token, `cleaned`. Vendors' keys are ASCII; ccproxy's own token may have letters of any script.

    Raises:
        ValueError: one of them is inside, where it would break the header that the key is sent in. The value is not in
            the message.

    """
    text = cleaned(text)
    for character in text:
        if "!" <= character <= "~" or (not ascii_only and character.isalnum()):
            continue
        raise ValueError(f"contains {_name_of(character)}: copy it again, without line breaks and invisible characters")
    return text


def _name_of(character: str) -> str:
    if character in "\r\n\u0085\u2028\u2029":
        return "a line break"
    if character.isspace():
        return "a blank"
    if character in _INVISIBLE or unicodedata.category(character) in {"Cc", "Cf"}:
        return "an invisible character"
    return "a character that is not ASCII"


def _key(value: SecretStr) -> SecretStr:
    return SecretStr(clean_key(value.get_secret_value()))


def _token(value: SecretStr) -> SecretStr:
    return SecretStr(clean_key(value.get_secret_value(), ascii_only=False))


def sequence(value: object) -> object:
    """A list may be written as JSON or as comma-separated words, which is what an environment variable can hold."""
    if isinstance(value, str):
        text = value.strip()
        return _json(text) if text.startswith("[") else [word.strip() for word in text.split(",") if word.strip()]
    return value


def mapping(value: object) -> object:
    """A table may be written as a JSON object, which is what an environment variable can hold."""
    if isinstance(value, str):
        return _json(value) if value.strip() else {}
    return value


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:  # its own message may end up next to a secret: it quotes nothing
        raise ValueError(f"is not valid JSON: {error}") from None


def _lower_case(value: object) -> object:
    """`INFO` is `info`."""
    return value.strip().lower() if isinstance(value, str) else value


def _http_url(value: str) -> str:
    """An absolute http(s) URL without user name, query or fragment, its host as it is looked up, without a final slash."""
    parts = _split(value.strip())
    if "?" in value or "#" in value:
        raise ValueError("must have no query or fragment")
    if re.search(r"//|/\.{1,2}(/|$)", parts.path.rstrip("/")):
        raise ValueError("must have no empty, `.` or `..` parts in its path")
    return parts.geturl().rstrip("/")


def _optional_http_url(value: str) -> str:
    return _http_url(value) if value.strip() else ""


def _oauth_url(value: str) -> str:
    """An absolute http(s) URL without user name or fragment, or an empty text."""
    if not value.strip():
        return ""
    if "#" in value:
        raise ValueError("must have no fragment")
    return _split(value.strip()).geturl()


def _redirect_url(value: str) -> str:
    """As `_oauth_url`; port 0 stands for any free one."""
    if "#" in value:
        raise ValueError("must have no fragment")
    return _split(value.strip(), any_port=True).geturl() if value.strip() else ""


def _split(url: str, *, any_port: bool = False) -> SplitResult:
    """The parts of a URL that can be connected to.

    Raises:
        ValueError: it cannot be, whatever the network.

    """
    if len(url) > _MAX_URL:
        raise ValueError(f"must not be longer than {_MAX_URL} characters")
    if not re.fullmatch(r"[!-\[\]-~]*", url):  # urlsplit drops line breaks without a word; others take \ for /
        raise ValueError(
            "must be ASCII without blanks and backslashes; a host name in other letters is written as xn--…"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be an absolute http:// or https:// URL with a port from 1 to 65535, if any") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute http:// or https:// URL")
    if "@" in parts.netloc:
        raise ValueError("must have no user name")
    if (port == 0 and not any_port) or parts.netloc.endswith(":"):
        raise ValueError("must have a port from 1 to 65535, or none")
    host = _host(parts.hostname)
    return parts._replace(netloc=host if port is None else f"{host}:{port}")


def _host(name: str) -> str:
    """A host as it stands in a URL: an address, or a name of at most 253 characters in labels of at most 63 (RFC 1123,
    and `_` as container networks use it). Resolvers raise errors of their own for other names, at the first request.
    """
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name)}]"  # AddressValueError is a ValueError and says what is wrong
    labels = name.removesuffix(".").split(".")
    if len(name) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"has a host name that cannot be looked up: {name[:100]!r}")
    if labels[-1].isdigit():
        return str(ipaddress.IPv4Address(name))  # what ends in a number is an address, as for browsers
    return name


def _prefix(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) or "/." in value:
        raise ValueError("must be a path such as /name, of letters, digits, '-' and '_'")
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(sequence)]
Statuses = Annotated[tuple[Annotated[int, Field(ge=400, le=599)], ...], BeforeValidator(sequence)]
Table = Annotated[dict[str, str], BeforeValidator(mapping)]
AnyTable = Annotated[dict[str, Any], BeforeValidator(mapping)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
OptionalHttpUrl = Annotated[str, AfterValidator(_optional_http_url)]
OAuthUrl = Annotated[str, AfterValidator(_oauth_url)]
RedirectUrl = Annotated[str, AfterValidator(_redirect_url)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Key = Annotated[SecretStr, AfterValidator(_key)]
Token = Annotated[SecretStr, AfterValidator(_token)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower_case)]
Auth = Literal["auto", "oauth", "api_key", "passthrough"]
