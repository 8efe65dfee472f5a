"""Heads of HTTP/1 messages: start line and header fields, read strictly. No I/O.

RFC 9112 lets a recipient repair much of what is malformed: line ends without CR, folded lines, blanks before a colon, two equal lengths. Each repair is
a chance for the next parser to read another message than this one did. So everything that h11 and llhttp do not read alike is malformed here
(`tests/property/test_http1_readers.py` compares the three), and what is forwarded is written from the values.

Error messages never quote the bytes: a key may be among them.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final, Literal

from mitmproxy import http

from ccproxy import mitmproxy_patches
from ccproxy.providers.header_fields import Field

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's start line and headers. Real ones have 2 to 8 KB."""
MAX_RESPONSE_HEAD: Final = 256 * 1024
"""Bytes of a response's start line and headers, interim responses included. Upstreams are trusted a little more than clients, but not with the memory."""
MAX_FIELDS: Final = 256
"""Header fields of a message. Clients send 10 to 40 and vendors up to 60; each one costs a little in every step after this."""
MAX_BLANK: Final = 16
"""Bytes of empty lines before a request (https://www.rfc-editor.org/rfc/rfc9112#section-2.2-6)."""

Framing = int | Literal["chunked", "until close"]
"""How the end of a body is found: its size in bytes, or how it is marked."""


IS_TLS: Final = "this is TLS, but the port is plain HTTP. The base URL must begin with http://"


class Malformed(Exception):
    """A message, or its beginning, is not valid HTTP/1. The text goes on a sentence: "The request is not valid HTTP/1.1: …"."""


class TooLarge(Malformed):
    """A head is over a limit."""


class QuickHeaders(http.Headers):
    """The same fields, looked up in a third of the time that mitmproxy takes: some fifteen times an exchange."""

    @classmethod
    def of(cls, fields: tuple[Field, ...]) -> QuickHeaders:
        """Made of fields that are bytes, which is not checked again."""
        made = cls.__new__(cls)
        made.fields = fields
        return made

    def get_all(self, name: str | bytes) -> list[str]:
        wanted = (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()
        return [value.decode("utf-8", "surrogateescape") for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str | bytes, default: Any = None) -> Any:
        values = self.get_all(name)
        return ", ".join(values) if values else default

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str | bytes) and bool(self.get_all(name))


_QUICK: Final = mitmproxy_patches.enabled()

_END = re.compile(rb"\n\r?\n")
_TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""Everything that a head may consist of, but for its line ends: https://www.rfc-editor.org/rfc/rfc9110#section-5.5-2."""
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Methods are case-sensitive, and all that are registered are in upper case; mitmproxy and some servers take `get` for GET.
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Z-]{1,32}) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_URL = re.compile(rb"(https?)://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/[^#]*)?", re.IGNORECASE)
_FRAMING_NAMES: Final = frozenset({b"content-length", b"transfer-encoding"})
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")

_CONNECT: Final = (
    "ccproxy is a reverse proxy: point the client's base URL at it instead of setting HTTP_PROXY or HTTPS_PROXY"
)


class HeadBuffer:
    """Bytes of which heads are taken. Work is linear in the bytes, however few come at a time."""

    limit: int

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0
        """No head ends before this position."""
        self._line_checked = False

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        self._data += data

    def take(self) -> bytes | None:
        """Take the next head out, without its empty line. None if its end has not come.

        Raises:
            Malformed: what has come is not the beginning of a head.
            TooLarge: it is over the limit.

        """
        data = self._data
        end = _END.search(data, self._searched)
        if end is None:
            self._check_beginning()
            self._searched = max(0, len(data) - 2)
            if len(data) > self.limit:
                raise TooLarge(f"its headers are larger than {self.limit // 1024} KB")
            return None
        if end.end() > self.limit:
            raise TooLarge(f"its headers are larger than {self.limit // 1024} KB")
        if not data.endswith(b"\r\n\r\n", 0, end.end()):
            raise Malformed("a line does not end with CRLF")
        head = bytes(data[: end.end() - 4])
        del data[: end.end()]
        self._searched, self._line_checked = 0, False
        return head

    def first_line(self) -> bytes:
        """The first line, as far as it has come."""
        end = self._data.find(b"\r\n", 0, self.limit)
        return bytes(self._data[: self.limit if end < 0 else end])

    def take_rest(self) -> bytes:
        """Take everything that is left."""
        data = bytes(self._data)
        self.clear()
        return data

    def clear(self) -> None:
        self._data.clear()
        self._searched, self._line_checked = 0, False

    def _check_beginning(self) -> None:
        """Refuse at once what can never become a head: a sender of another protocol may not send an empty line for a long time."""
        if self._line_checked:
            return
        self.check_first_bytes(self._data)
        end = self._data.find(b"\n", self._searched)
        if end >= 0:
            self._line_checked = True
            self.check_first_line(bytes(self._data[:end]).removesuffix(b"\r"))

    def check_first_bytes(self, data: bytearray) -> None:
        raise NotImplementedError

    def check_first_line(self, line: bytes) -> None:
        raise NotImplementedError


class RequestHeads(HeadBuffer):
    """Heads of requests."""

    limit = MAX_HEAD

    def __init__(self) -> None:
        super().__init__()
        self._blank = 0

    def take(self) -> bytes | None:
        while self._data.startswith(b"\r\n"):
            del self._data[:2]
            self._searched = 0
            self._blank += 2
            if self._blank > MAX_BLANK:
                raise Malformed("it begins with empty lines")
        head = super().take()
        if head is not None:
            self._blank = 0
        return head

    def check_first_bytes(self, data: bytearray) -> None:
        if data.startswith(b"\x16\x03"):
            raise Malformed(IS_TLS)
        if data and not 0x20 < data[0] < 0x7F and data != b"\r":
            raise Malformed("its request line is malformed")

    def check_first_line(self, line: bytes) -> None:
        _request_line(line)


class ResponseHeads(HeadBuffer):
    """Heads of responses."""

    limit = MAX_RESPONSE_HEAD

    def check_first_bytes(self, data: bytearray) -> None:
        if not b"HTTP/1.".startswith(bytes(data[:7])):
            raise Malformed("its status line is malformed")

    def check_first_line(self, line: bytes) -> None:
        _status_line(line)


def read_request(head: bytes) -> tuple[http.Request, Framing]:
    """Read the head of a request, without its empty line.

    Raises:
        Malformed, TooLarge: see the module.

    """
    lines = _lines(head)
    method, target, version = _request_line(lines[0])
    scheme, authority, path = _target(method, target)
    fields = _fields(lines)
    hosts = sum(len(name) == 4 and name.lower() == b"host" for name, _ in fields)
    if hosts != 1 and (hosts or version == b"HTTP/1.1"):  # https://www.rfc-editor.org/rfc/rfc9112#section-3.2-6
        raise Malformed("it needs exactly one Host header")
    framing = _framing(fields, version)
    request = http.Request(
        host="",  # mitmproxy puts the configured one here
        port=0,
        method=method,
        scheme=scheme,
        authority=authority,
        path=path,
        http_version=version,
        headers=_headers(fields),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
    return request, 0 if framing is None else framing


def read_response(head: bytes, method: bytes) -> tuple[http.Response, Framing]:
    """Read the head of a response, without its empty line, to a request of this method.

    Raises:
        Malformed, TooLarge: see the module.

    """
    lines = _lines(head)
    version, status, reason = _status_line(lines[0])
    fields = _fields(lines)
    framing = _framing(fields, version)
    response = http.Response(
        http_version=version,
        status_code=status,
        reason=reason,
        headers=_headers(fields),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
    if has_no_body(method, status):
        return response, 0
    return response, "until close" if framing is None else framing


def has_no_body(method: bytes, status: int) -> bool:
    """Return whether a response ends with its head, whatever its headers say (https://www.rfc-editor.org/rfc/rfc9112#section-6.3)."""
    return method == b"HEAD" or status in {204, 304} or status < 200


def closes(version: bytes, headers: http.Headers) -> bool:
    """Return whether a message says that its connection ends after it. HTTP/1.0 is never kept: few still speak it, and its rules are ambiguous."""
    if version == b"HTTP/1.0":
        return True
    values = headers.get_all("connection")
    return any(option.strip().lower() == "close" for value in values for option in value.split(","))


def frame_response(response: http.Response, request: http.Request) -> None:
    """Set the header fields that say where a response ends, as this client understands them.

    A response without a length is sent in chunks: if its connection is cut, its client can tell.
    """
    headers, is_old = response.headers, request.data.http_version == b"HTTP/1.0"
    if is_old:
        headers["connection"] = "close"
    coding = headers.get("transfer-encoding")
    if has_no_body(request.data.method, response.status_code):
        headers.pop("transfer-encoding", None)
        if (
            response.status_code == 204 or response.status_code < 200
        ):  # https://www.rfc-editor.org/rfc/rfc9110#section-8.6-8
            headers.pop("content-length", None)
    elif is_old:  # it does not know chunks: https://www.rfc-editor.org/rfc/rfc9112#section-6.1-16
        headers.pop("transfer-encoding", None)
    elif coding is not None:
        headers.pop("content-length", None)
        if coding != "chunked":
            headers["transfer-encoding"] = "chunked"
    elif "content-length" not in headers:
        headers["transfer-encoding"] = "chunked"


def target_in(head: bytes) -> str:
    """Return the target of a request that may be malformed, to choose the format of its error; empty if there is none."""
    words = head.partition(b"\r\n")[0].split(b" ", 2)
    return words[1].decode("latin-1") if len(words) > 1 else ""


def _headers(fields: tuple[Field, ...]) -> http.Headers:
    return QuickHeaders.of(fields) if _QUICK else http.Headers(fields)


def _lines(head: bytes) -> list[bytes]:
    lines = head.split(b"\r\n")
    if head.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
        raise Malformed("its headers contain control characters, or line ends other than CRLF")
    if len(lines) - 1 > MAX_FIELDS:
        raise TooLarge(f"it has more than {MAX_FIELDS} header fields")
    return lines


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Malformed("its request line is malformed")
    method, target, version = match.groups()
    if version not in {b"1.1", b"1.0"}:
        raise Malformed("ccproxy supports HTTP/1.1 only; HTTP/2 needs TLS")
    return method, target, b"HTTP/" + version


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes]:
    """Scheme, authority and path; the first two are empty unless the target is a URL."""
    if method == b"CONNECT":
        raise Malformed(_CONNECT)
    if b"#" in target:
        raise Malformed("its target has a fragment")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return b"", b"", target
    match = _URL.fullmatch(target)
    if match is None or int((match[3] or b":0")[1:]) > 65535:
        raise Malformed("its target is neither a path nor a URL")
    return match[1].lower(), match[2] + (match[3] or b""), match[4] or b"/"


def _status_line(line: bytes) -> tuple[bytes, int, bytes]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Malformed("its status line is malformed")
    return b"HTTP/1." + match[1], int(match[2]), match[3] or b""


def _fields(lines: list[bytes]) -> tuple[Field, ...]:
    """The header fields; the first line is another."""
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not name or not colon or name.translate(None, _TOKEN):
            raise Malformed("a header line is folded, or has no valid name")
        if b"\t" in value and name.lower() in _FRAMING_NAMES:  # llhttp takes no tab around these; elsewhere all agree
            raise Malformed("a header that frames its body contains a tab")
        fields.append((name, value.strip(b" \t")))
    return tuple(fields)


def _framing(fields: tuple[Field, ...], version: bytes) -> Framing | None:
    """How the body ends; None if no header says it."""
    lengths = [value for name, value in fields if len(name) == 14 and name.lower() == b"content-length"]
    codings = [value for name, value in fields if len(name) == 17 and name.lower() == b"transfer-encoding"]
    if codings:
        if lengths:
            raise Malformed("it has both Content-Length and Transfer-Encoding")
        if version == b"HTTP/1.0":
            raise Malformed("it is HTTP/1.0 with Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise Malformed("its Transfer-Encoding is not chunked")
        return "chunked"
    if not lengths:
        return None
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise Malformed("its Content-Length is not a number")
    return int(lengths[0])


def check_trailer(line: bytes) -> None:
    """Check a line of the trailer section, without its CRLF. Its value is of no interest.

    Raises:
        Malformed: it is not a header line, or frames the message.

    """
    if line.translate(None, _TEXT):
        raise Malformed("its trailers contain control characters")
    ((name, _),) = _fields([b"", line])
    if name.lower() in _FRAMING_NAMES:
        raise Malformed("its trailers frame the message")
