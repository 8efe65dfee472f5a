"""Heads of HTTP/1 messages: what is read, what is refused and why, and that the work is linear however the bytes come."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st
from mitmproxy import http

from ccproxy.addons.transport import http1_heads as heads
from ccproxy.addons.transport.http1_heads import Malformed, RequestHeads, ResponseHeads, TooLarge
from tests.fakes.scaling import assert_linear

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def request(data: bytes) -> tuple[http.Request, heads.Framing]:
    buffer = RequestHeads()
    buffer.add(data)
    head = buffer.take()
    assert head is not None, "not a whole head"
    return heads.read_request(head)


def response(data: bytes, method: bytes = b"GET") -> tuple[http.Response, heads.Framing]:
    buffer = ResponseHeads()
    buffer.add(data)
    head = buffer.take()
    assert head is not None, "not a whole head"
    return heads.read_response(head, method)


# ---- requests


def test_a_request() -> None:
    message, framing = request(
        b"POST /a?b HTTP/1.1\r\nHost:localhost\r\nX-A: \t b  c\t \r\nContent-Length: 12\r\n\r\nrest"
    )
    assert (message.data.method, message.data.path, message.data.http_version) == (b"POST", b"/a?b", b"HTTP/1.1")
    assert message.headers.fields == ((b"Host", b"localhost"), (b"X-A", b"b  c"), (b"Content-Length", b"12"))
    assert framing == 12


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        (b"", 0),
        (b"Content-Length: 0\r\n", 0),
        (b"content-LENGTH:7\r\n", 7),
        (b"Transfer-Encoding: Chunked\r\n", "chunked"),
        (b"Content-Length: 123456789012345678\r\n", 123456789012345678),
    ],
)
def test_where_a_request_ends(lines: bytes, framing: heads.Framing) -> None:
    assert request(GET + lines + b"\r\n")[1] == framing


def test_a_url_as_target() -> None:
    message, _ = request(b"GET HTTP://LocalHost:8000/a?b HTTP/1.1\r\nHost: x\r\n\r\n")
    data = message.data
    assert (data.scheme, data.authority, data.path) == (b"http", b"LocalHost:8000", b"/a?b")
    assert request(b"GET http://[::1] HTTP/1.1\r\nHost: x\r\n\r\n")[0].data.path == b"/"


MALFORMED = {
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", "request line"),
    "a method that is not a token": (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "request line"),
    "a long method": (b"G" * 33 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", "request line"),
    "two blanks": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "request line"),
    "a vertical tab": (b"GET\x0b/\x0cHTTP/1.1\r\nHost: x\r\n\r\n", "control characters"),
    "a blank behind": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "request line"),
    "a lower-case version": (b"GET / http/1.1\r\nHost: x\r\n\r\n", "request line"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "request line"),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", "HTTP/1.1 only"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 needs TLS"),
    "letters in the target": ("GET /ä HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "request line"),
    "a fragment": (b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", "fragment"),
    "an asterisk": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", "neither a path nor a URL"),
    "an authority": (b"GET localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n", "neither a path nor a URL"),
    "a user in the target": (b"GET http://a@localhost/ HTTP/1.1\r\nHost: x\r\n\r\n", "neither a path nor a URL"),
    "a port that is not one": (b"GET http://localhost:65536/ HTTP/1.1\r\nHost: x\r\n\r\n", "neither a path nor a URL"),
    "another scheme": (b"GET ftp://localhost/ HTTP/1.1\r\nHost: x\r\n\r\n", "neither a path nor a URL"),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTPS_PROXY"),
    "no Host": (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", "Host"),
    "two Hosts": (GET + b"Host: x\r\n\r\n", "Host"),
    "two Hosts in HTTP/1.0": (GET.replace(b"1.1", b"1.0") + b"Host: x\r\n\r\n", "Host"),
    "a blank before the colon": (GET + b"A : b\r\n\r\n", "no valid name"),
    "a folded line": (GET + b"A: b\r\n c\r\n\r\n", "folded"),
    "a folded first line": (b"GET / HTTP/1.1\r\n A: b\r\nHost: x\r\n\r\n", "folded"),
    "no colon": (GET + b"A\r\n\r\n", "no valid name"),
    "no name": (GET + b": b\r\n\r\n", "no valid name"),
    "a name of other letters": (GET + "Ä: b\r\n\r\n".encode(), "no valid name"),
    "a bare CR": (GET + b"A: b\rC: d\r\n\r\n", "control characters"),
    "a bare LF": (GET + b"A: b\nC: d\r\n\r\n", "control characters"),
    "a NUL": (GET + b"A: b\0\r\n\r\n", "control characters"),
    "a DEL": (GET + b"A: b\x7f\r\n\r\n", "control characters"),
    "CR CR LF": (GET + b"A: b\r\r\n\r\n", "control characters"),
    "LF LF": (b"GET / HTTP/1.1\nHost: x\n\n", "CRLF"),
    "LF CR LF": (b"GET / HTTP/1.1\r\nHost: x\n\r\n", "CRLF"),
    "length and chunks": (GET + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
    "two lengths": (GET + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
    "chunks in HTTP/1.0": (GET.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    "two codings": (GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "not chunked"),
    **{
        f"length {value!r}": (GET + b"Content-Length: " + value + b"\r\n\r\n", "Content-Length")
        for value in (
            b"",
            b"-1",
            b"+1",
            b"01",
            b"1_0",
            b"1 1",
            b"0x1",
            b"1,1",
            "\u00b2".encode(),
            "\u0664".encode(),
            b"1" * 19,
            b"1.0",
        )
    },
    **{
        f"coding {value!r}": (GET + b"Transfer-Encoding: " + value + b"\r\n\r\n", "not chunked")
        for value in (
            b"",
            b"gzip, chunked",
            b"chunked, chunked",
            b"identity",
            b"chunked;a",
            b'"chunked"',
            b"xchunked",
            "chun\u212aed".encode(),
        )
    },
    "a tab before the coding": (GET + b"Transfer-Encoding:\tchunked\r\n\r\n", "tab"),
    "a vertical tab before the coding": (GET + b"Transfer-Encoding:\x0bchunked\r\n\r\n", "control characters"),
}


@pytest.mark.parametrize(("data", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        request(data)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"GET / HTTP/0.9\r\n",
        b"GET /\r\n",
        b"\x00\x01",
        b" GET",
        b"\nGET",
        b"\x80\x2e\x01",
        b"hello\n",
        b"\r\x00",
        b"\x16\x03\x01",
    ],
)
def test_what_can_never_become_a_request_is_refused_before_its_end(data: bytes) -> None:
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        buffer = RequestHeads()
        with pytest.raises(Malformed):  # noqa: PT012 - any of the pieces may be the one
            for piece in pieces:
                buffer.add(piece)
                assert buffer.take() is None


def test_empty_lines_before_a_request() -> None:
    buffer = RequestHeads()
    for _ in range(3):
        buffer.add(b"\r\n" * (heads.MAX_BLANK // 2) + GET + b"\r\n")
        assert buffer.take() == GET.removesuffix(b"\r\n")
    buffer.add(b"\r\n" * (heads.MAX_BLANK // 2))
    assert buffer.take() is None
    buffer.add(b"\r\n")
    with pytest.raises(Malformed, match="empty lines"):
        buffer.take()


# ---- responses


def test_a_response() -> None:
    message, framing = response(b"HTTP/1.1 529 Very\tBusy \xff\r\nX-A: b\r\n\r\nrest")
    assert (message.status_code, message.data.reason, message.data.http_version) == (
        529,
        b"Very\tBusy \xff",
        b"HTTP/1.1",
    )
    assert framing == "until close"
    assert response(b"HTTP/1.0 200\r\n\r\n")[0].data.reason == b""


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 1000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 99 OK",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/2 200",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 +20 OK",
        "HTTP/1.1 \u00b200 OK".encode(),
        b"",
    ],
)
def test_a_malformed_status_line(line: bytes) -> None:
    with pytest.raises(Malformed, match="status line"):
        response(line + b"\r\nContent-Length: 2\r\n\r\n")


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x", b"\0", b"<html>", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 abc\r\n", b"HTTP/3"]
)
def test_what_can_never_become_a_response_is_refused_before_its_end(data: bytes) -> None:
    buffer = ResponseHeads()
    buffer.add(data)
    with pytest.raises(Malformed, match="status line"):
        buffer.take()


@pytest.mark.parametrize(
    ("method", "status", "lines", "framing"),
    [
        (b"GET", 200, b"Content-Length: 7\r\n", 7),
        (b"GET", 200, b"Transfer-Encoding: chunked\r\n", "chunked"),
        (b"GET", 200, b"", "until close"),
        (b"HEAD", 200, b"Content-Length: 7\r\n", 0),
        (b"HEAD", 200, b"Transfer-Encoding: chunked\r\n", 0),
        (b"GET", 304, b"Content-Length: 7\r\n", 0),
        (b"GET", 304, b"Transfer-Encoding: chunked\r\n", 0),
        (b"GET", 204, b"Content-Length: 7\r\n", 0),
        (b"GET", 204, b"", 0),
        (b"GET", 103, b"Content-Length: 7\r\n", 0),
        (b"GET", 205, b"Content-Length: 7\r\n", 7),
    ],
)
def test_where_a_response_ends(method: bytes, status: int, lines: bytes, framing: heads.Framing) -> None:
    assert response(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, lines), method)[1] == framing


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"A: b\r\n c\r\n",
        b"A: b\rc\r\n",
        b"A : b\r\n",
    ],
)
@pytest.mark.parametrize("status", [200, 204, 304, 103])
def test_a_response_that_can_be_read_in_two_ways(lines: bytes, status: int) -> None:
    with pytest.raises(Malformed):
        response(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, lines))


# ---- what goes out


def framed(status: int, *fields: tuple[str, str], method: str = "GET", version: str = "HTTP/1.1") -> dict[str, str]:
    answer = http.Response.make(status, b"", dict(fields))
    answer.headers = http.Headers([(name.encode(), value.encode()) for name, value in fields])
    asked = http.Request.make(method, "http://localhost/")
    asked.http_version = version
    heads.frame_response(answer, asked)
    return dict(answer.headers.items())


LENGTH, CHUNKS = ("content-length", "2"), ("transfer-encoding", "chunked")


@pytest.mark.parametrize(
    ("given_fields", "kind", "sent"),
    [
        ([LENGTH], {}, [LENGTH]),
        ([CHUNKS], {}, [CHUNKS]),
        ([], {}, [CHUNKS]),
        ([LENGTH, CHUNKS], {}, [CHUNKS]),
        ([("transfer-encoding", "gzip")], {}, [CHUNKS]),
        ([LENGTH], {"method": "HEAD"}, [LENGTH]),
        ([CHUNKS], {"method": "HEAD"}, []),
        ([LENGTH], {"version": "HTTP/1.0"}, [LENGTH, ("connection", "close")]),
        ([CHUNKS], {"version": "HTTP/1.0"}, [("connection", "close")]),
        ([], {"version": "HTTP/1.0"}, [("connection", "close")]),
    ],
)
def test_how_a_response_is_framed(
    given_fields: list[tuple[str, str]], kind: dict[str, str], sent: list[tuple[str, str]]
) -> None:
    assert framed(200, *given_fields, **kind) == dict(sent)


@pytest.mark.parametrize(("status", "sent"), [(204, {}), (304, dict([LENGTH])), (205, dict([LENGTH]))])
def test_the_length_of_a_response_without_a_body(status: int, sent: dict[str, str]) -> None:
    assert framed(status, LENGTH) == sent
    assert "transfer-encoding" not in framed(status, CHUNKS) or status == 205


@pytest.mark.parametrize(
    ("version", "value", "closes"),
    [
        (b"HTTP/1.1", None, False),
        (b"HTTP/1.1", "close", True),
        (b"HTTP/1.1", "Keep-Alive, CLOSE ", True),
        (b"HTTP/1.1", "closed", False),
        (b"HTTP/1.1", "keep-alive", False),
        (b"HTTP/1.0", None, True),
        (b"HTTP/1.0", "keep-alive", True),
    ],
)
def test_whether_the_connection_ends_with_a_message(version: bytes, value: str | None, closes: bool) -> None:
    headers = http.Headers() if value is None else http.Headers(connection=value)
    assert heads.closes(version, headers) is closes


# ---- limits


@pytest.mark.parametrize("kind", [RequestHeads, ResponseHeads])
@pytest.mark.parametrize("piece", [1, 1000, 65_535])
def test_a_head_of_just_the_limit_and_one_byte_more(kind: type[heads.HeadBuffer], piece: int) -> None:
    start = GET if kind is RequestHeads else OK
    whole = start + b"A: " + b"b" * (kind.limit - len(start) - 7) + b"\r\n\r\n"
    assert len(whole) == kind.limit
    for data, fits in ((whole, True), (whole.replace(b"A: ", b"A: b"), False), (whole[:-4] + b"b" * 5, False)):
        buffer = kind()

        def drip(buffer: heads.HeadBuffer = buffer, data: bytes = data) -> list[bytes]:
            taken = []
            for at in range(0, len(data), piece):
                buffer.add(data[at : at + piece])
                if head := buffer.take():
                    taken.append(head)
            return taken

        if fits:
            assert drip() == [whole[:-4]]
        else:
            with pytest.raises(TooLarge, match=f"{kind.limit // 1024} KB"):
                drip()


def test_the_number_of_fields() -> None:
    fields = b"A: b\r\n" * (heads.MAX_FIELDS - 1)
    assert len(request(GET + fields + b"\r\n")[0].headers.fields) == heads.MAX_FIELDS
    with pytest.raises(TooLarge, match=str(heads.MAX_FIELDS)):
        request(GET + fields + b"A: b\r\n\r\n")
    with pytest.raises(TooLarge, match=str(heads.MAX_FIELDS)):
        response(OK + b"A: b\r\n" * (heads.MAX_FIELDS + 1) + b"\r\n")


@pytest.mark.parametrize(
    "unit", [b"a", b"\r", b"a\r\n", b"a: b\r\n", b"a:" + b" " * 50 + b"b\r\n", b" ", b"\r\r\n", b"a\n"], ids=repr
)
@pytest.mark.parametrize("kind", [RequestHeads, ResponseHeads])
def test_a_head_that_drips_takes_linear_time(
    monkeypatch: pytest.MonkeyPatch, kind: type[heads.HeadBuffer], unit: bytes
) -> None:
    monkeypatch.setattr(kind, "limit", 2**30)
    start = GET if kind is RequestHeads else OK

    def drip(size: int) -> None:
        buffer = kind()
        buffer.add(start)
        data = unit * (size // len(unit))
        for at in range(len(data)):
            buffer.add(data[at : at + 1])
            assert buffer.take() is None

    assert_linear(drip)


@pytest.mark.parametrize(
    "unit", [b"a:b\r\n", b" ", b"\t", b"a", b",", b":", b"content-length:1\r\n", b"connection: close\r\n"], ids=repr
)
def test_a_head_that_is_read_takes_linear_time(monkeypatch: pytest.MonkeyPatch, unit: bytes) -> None:
    monkeypatch.setattr(heads, "MAX_FIELDS", 2**30)

    def read(size: int) -> None:
        for line in (GET + b"A: ", GET, b"GET /"):
            try:
                heads.read_request((line + unit * (size // len(unit))).removesuffix(b"\r\n"))
            except Malformed:
                continue

    assert_linear(read)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (heads.read_request, lambda head: heads.read_response(head, b"GET")):
        with contextlib.suppress(Malformed):
            assert isinstance(read(data)[0], http.Message)
    assert isinstance(heads.target_in(data), str)
