"""HTTP/1 messages that are nearly valid: put together from parts, good and bad, then edited at random."""

from __future__ import annotations

from hypothesis import strategies as st

METHODS = [b"POST", b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD", b"QUERY"]
ODD_METHODS = [b"get", b"Post", b"FOO", b"M-SEARCH", b"CONNECT", b"PRI", b"G(T", b"", b"P\0ST", b"\r\nGET", b"X" * 40]
TARGETS = [
    b"/api/v1/files",
    b"/api/v1/files?a=b&c=%20",
    b"http://localhost/api/v1/files",
    b"HTTP://LOCALHOST:8000/api/v1/files",
    b"/api/v1/files/'()*,;=@~",
]
ODD_TARGETS = [
    b"*",
    b"/api/v1/files#x",
    b"api/v1/files",
    b"http://localhost",
    b"http://evil.test/api/v1/files",
    b"http://localhost:99999/api/v1/files",
    b"ftp://localhost/api/v1/files",
    b"/api/v1/f iles",
    b"/api/v1/\xc3\xa4",
    b"/api/v1/files\x7f",
    b"/api/v1/files\t",
    b"localhost:80",
    b"",
    b"http://localhost@evil.test/api/v1/files",
    b"http://[::1]/api/v1/files",
    b"//api/v1/files",
    b"http://localhost?x",
    b"/health",
]
VERSIONS = [b"HTTP/1.1"]
ODD_VERSIONS = [
    b"HTTP/1.0",
    b"http/1.1",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1.10",
    b"HTTP/1",
    b"HTTP/1.1 ",
    b"",
    b"HTTQ/1.1",
    b"HTTP/1\x0b1",
]
FIELDS = [
    b"Accept: */*",
    b"X-A: b",
    b"X-Empty:",
    b"X-Tab:\tb\tc\t",
    b"X-High: \xc3\xa4\xff",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Trailer: X-T",
    b"Content-Type: text/plain",
    b"X-Colons: a:b:c",
    b"Expect: 100-continue",
    b"TE: trailers",
    b"Cookie: a=b; c=d",
    b"Accept-Encoding: gzip",
]
ODD_FIELDS = [
    b"X-A : b",
    b"X-A\t: b",
    b" X-A: b",
    b"\tfolded",
    b": nameless",
    b"no colon",
    b"X(A): b",
    b"X-\xc3\xa4: b",
    b"X-A: b\rX-B: c",
    b"X-A: b\0c",
    b"X-A: \x01",
    b"X-A: b\nX-B: c",
    b"X-A: b\x7f",
    b"X-A: b\x0bc",
    b"Connection: upgrade\r\nUpgrade: websocket",
    b"Upgrade: h2c",
    b"Host: evil.test",
    b'Connection: "',
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"HTTP2-Settings: AAMAAABkAAQ",
    b"Transfer-Encoding",
    b"Content-Length",
]
LENGTHS = [
    b"",
    b"0",
    b"00",
    b"+%d",
    b"-%d",
    b" %d ",
    b"\t%d",
    b"%d\t",
    b"%d,%d",
    b"0x%x",
    b"%d.0",
    b"%d_0",
    b"0%d",
    b"1%d",
    b"\xd9\xa4",
    b"9" * 25,
    b"%d\x0b",
    b"%de0",
]
CODINGS = [
    b"",
    b"Chunked",
    b"CHUNKED ",
    b" chunked",
    b"\tchunked",
    b"chunked\t",
    b"\x0bchunked",
    b"chunked\x0c",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"identity, chunked",
    b"xchunked",
    b'"chunked"',
    b"chunked;q=1",
    b", chunked",
    b"chunked,",
    b"chunk\xc3\xa9d",
    b"c hunked",
    b"gzip",
]
SIZES = [
    b"+%x",
    b"-%x",
    b"0x%x",
    b"%x ",
    b" %x",
    b"%x\t",
    b"%x_0",
    b"0%x",
    b"0000000000000000%x",
    b"fffffffffffffffff%x",
    b"%x;a=b",
    b"%x;a",
    b"%x;",
    b"%x; a=b",
    b"%x;a =b",
    b'%x;a="b c;\\"d"',
    b'%x;a="b',
    b"%x;a=b;c",
    b"%x;\xff",
    b"%x;a=b\rc",
    b"%x\n",
    b"%x\r",
    b"g%x",
    b"",
    b"%x;" + b"a" * 2000,
    b"%x\x0b",
    b"%xh",
]
TRAILERS = [
    b"X-T: v\r\n",
    b"X-T:\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"no colon\r\n",
    b" folded\r\n",
    b"X-T: v\n",
    b"X-T: \0\r\n",
    b"X-T: " + b"v" * 9000 + b"\r\n",
    b"Host: evil.test\r\n",
    b"GET / HTTP/1.1\r\n",
    b"\r",
    b"X-T : v\r\n",
]
DUST = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b";",
    b",",
    b"=",
    b'"',
    b"\\",
    b"0",
    b"1",
    b"a",
    b"+",
    b"-",
    b"_",
    b"#",
    b"/",
    b"HTTP/1.1",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"0\r\n\r\n",
    b"Host: localhost\r\n",
]


def mostly(good: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """A good one, eleven times in twelve: a message has a dozen parts, and one that is odd in two of them is refused for either."""
    return st.integers(0, 11).flatmap(lambda number: st.sampled_from(good if number else odd))


def rarely(value: st.SearchStrategy[bytes], otherwise: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, 11).flatmap(lambda number: st.just(otherwise) if number else value)


def filled(pattern: bytes, number: int) -> bytes:
    """A pattern with a number, wherever it wants one."""
    return pattern.replace(b"%d", b"%d" % number).replace(b"%x", b"%x" % number)


ENDS = rarely(st.sampled_from([b"\n", b"\r", b"\r\r\n", b" \r\n", b"\r\n "]), b"\r\n")
CHUNK_ENDS = rarely(st.sampled_from([b"", b"\n", b"xx", b"\r", b"\r\n\r\n"]), b"\r\n")
LAST_ENDS = rarely(st.sampled_from([b"", b"\n", b"\r"]), b"\r\n")
CHUNK_SIZES = rarely(st.sampled_from(SIZES), b"%x")
TRAILER_LINES = rarely(st.sampled_from(TRAILERS), b"")
LENGTH_VALUES = rarely(st.sampled_from(LENGTHS), b"%d")
CODING_VALUES = rarely(st.sampled_from(CODINGS), b"chunked")
FIELD_LINES = st.lists(mostly(FIELDS, ODD_FIELDS), max_size=3)
HOSTS = rarely(st.sampled_from([b"Host:", b"X-B: c", b"host: [::1]"]), b"Host: localhost")
BODIES = st.sampled_from(
    [b"", b"{}", b"hello, world", b"0\r\n\r\n", b"GET /api/v1/files HTTP/1.1\r\nHost: localhost\r\n\r\n"]
) | st.binary(max_size=12)
SMALL = st.integers(1, 9)
KINDS = st.integers(0, 9)
FLAGS = st.booleans()


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks; now and then the size, the line end or the trailers of one are odd."""
    pieces = []
    while body:
        piece, body = body[: (size := draw(SMALL))], body[size:]
        pieces.append(filled(draw(CHUNK_SIZES), len(piece)) + b"\r\n" + piece + draw(CHUNK_ENDS))
    return b"".join(pieces) + filled(draw(CHUNK_SIZES), 0) + b"\r\n" + draw(TRAILER_LINES) + draw(LAST_ENDS)


@st.composite
def framed(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Header lines that frame a body, and that body."""
    body, kind = draw(BODIES), draw(KINDS)
    if kind < 4:
        return [b"Content-Length: " + filled(draw(LENGTH_VALUES), len(body))], body
    if kind < 8:
        return [b"Transfer-Encoding: " + draw(CODING_VALUES)], draw(chunked(body))
    if kind == 8:
        return [], body if draw(FLAGS) else b""
    length = b"Content-Length: %d" % len(body)
    lines = draw(st.permutations([length, b"Transfer-Encoding: chunked", length, b"Transfer-Encoding: identity"]))
    return lines[: draw(st.integers(1, 3))], draw(chunked(body)) if draw(FLAGS) else body


METHOD_WORDS = mostly(METHODS, ODD_METHODS)
TARGET_WORDS = mostly(TARGETS, ODD_TARGETS)
VERSION_WORDS = mostly(VERSIONS, ODD_VERSIONS)


@st.composite
def request(draw: st.DrawFn) -> bytes:
    framing, body = draw(framed())
    lines = draw(st.permutations([draw(HOSTS), *framing, *draw(FIELD_LINES)]))
    line = b" ".join((draw(METHOD_WORDS), draw(TARGET_WORDS), draw(VERSION_WORDS)))
    return line + draw(ENDS) + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


STATUSES = [
    b"200 OK",
    b"201 Created",
    b"400 Bad",
    b"529 Busy",
    b"999 Odd",
    b"200",
    b"200 ",
    b"204 No Content",
    b"304 Not Modified",
    b"205 Reset",
    b"200 a\tb\xff",
]
ODD_STATUSES = [
    b"099 OK",
    b"99 OK",
    b"1000 OK",
    b"2oo OK",
    b"+20 OK",
    b"20_ OK",
    b"101 Switching",
    b"200  OK",
    b" 200 OK",
    b"200\tOK",
    b"",
    b"200 \0",
    b"\xb2\xb2\xb2 OK",
]
INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    b"HTTP/1.1 102 P\r\nContent-Length: 3\r\n\r\n",
    b"\r\n",
]
STATUS_WORDS = mostly(STATUSES, ODD_STATUSES)
BEFORE = rarely(st.sampled_from(INTERIM), b"")


@st.composite
def response(draw: st.DrawFn) -> bytes:
    framing, body = draw(framed())
    lines = draw(st.permutations([*framing, *draw(FIELD_LINES)]))
    line = draw(VERSION_WORDS) + b" " + draw(STATUS_WORDS)
    return draw(BEFORE) + line + draw(ENDS) + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


EDITS = st.sampled_from([0, 0, 0, 1, 1, 2])
ADDED = st.sampled_from(DUST) | st.binary(max_size=1)
REMOVED = st.integers(0, 2)


@st.composite
def edited(draw: st.DrawFn, messages: st.SearchStrategy[list[bytes]]) -> bytes:
    """Messages one behind the other, with a few bytes added, removed or replaced."""
    data = b"".join(draw(messages))
    for _ in range(draw(EDITS)):
        at, removed = draw(st.integers(0, len(data))), draw(REMOVED)
        data = data[:at] + draw(ADDED) + data[at + removed :]
    return data


requests = edited(st.lists(request(), min_size=1, max_size=3))
responses = edited(st.lists(response(), min_size=1, max_size=1))
