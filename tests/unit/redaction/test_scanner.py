"""The scanner behind redaction: the same result however a stream is cut, in linear time, with bounded memory."""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from ccproxy.redaction import CARRY_OVER, REDACTED, RedactedStream, Redaction
from ccproxy.redaction.rules import ANY_NEEDLE, LONGEST_NEEDLE, LONGEST_UNDECIDED, NEEDLE_BYTES, NEEDLES

KNOWN = "known-value-" + "of-no-shape"
RULES = Redaction([KNOWN, KNOWN + "-and-longer", "aaab"])

FRAGMENTS = [
    *("sk-", "sk-ant-", "ant-", "eyJ", "eyJhbGciOiJ9", ".", "..", "ghp_", "github_pat_", "AIza", "AKIA", "xoxb-", "xox"),
    *("Bearer ", "bearer", " ", "   ", "\n", "\r\n", "\t", "://", "user:", "pa@ss", "@", "/", ":", "?", "&", "&amp;", "\\u0026"),
    *("key=", "?key=", "access_token", "api-key", "password", "x-functions-key", "token", "code=", "key", "="),
    *('"', "'", "\\", '\\"', '\\\\\\"', "\\n", "\\\\n", ",", "{", "}", "%", "%20", "%2F", "é", "\x00", "\xff"),
    *("a", "aa", "aaaaaaaa", "0", "9f", "QUJD", "A" * 20, "z9" * 15, KNOWN, KNOWN[:9], "aaab", "x" * 70),
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


def fed(stream: RedactedStream, chunks: Iterable[bytes], *, truncated: bool = False) -> bytes:
    return b"".join([*map(stream.feed, chunks), stream.close(truncated=truncated)])


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    cuts = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in itertools.pairwise(cuts)]


@settings(max_examples=200, deadline=None)
@given(HOSTILE, st.lists(st.integers(0, 2000), max_size=8))
@example("eyJhbGciOiJ9.eyJ.x", [3, 5, 12, 13, 14, 15])
@example('{"api_key"' + " " * 300 + ':"x"}', [8, 20])
@example('"password\\' + "\\" * 20 + '"', [12])
def test_the_result_does_not_depend_on_the_chunks(text: str, places: list[int]) -> None:
    body = text.encode()
    whole = RULES.data(body)
    assert fed(RULES.stream(), cut(body, places)) == whole
    assert fed(RULES.stream(), cut(body, range(len(body)))) == whole
    assert RULES.text(text) == whole.decode()


@settings(max_examples=100, deadline=None)
@given(HOSTILE, st.lists(st.integers(0, 2000), max_size=8))
def test_a_cut_body_shows_the_beginning_of_what_a_whole_one_shows(text: str, places: list[int]) -> None:
    """Whatever may have followed: nothing is shown that would have been redacted then."""
    body = text.encode()
    shown = fed(RULES.stream(), cut(body, places), truncated=True)
    assert RULES.data(body).startswith(shown) or shown.endswith(REDACTED.encode())


@pytest.mark.parametrize("size", [100, 5_000, LONGEST_UNDECIDED - 10, LONGEST_UNDECIDED + 10, 200_000])
@pytest.mark.parametrize(
    "shape",
    [
        "eyJ{}.payload",
        "Bearer {}",
        'x "password": "{}" y',
        'x \\"password\\": \\"{}\\" y',
        "/cb?code={}&state=1",
        "sk-{} z",
    ],
)
def test_long_secrets_in_chunks_of_any_size(shape: str, size: int) -> None:
    generator = random.Random(size)
    secret = "".join(generator.choices("abcdefgh01234567", k=size))
    body = shape.format(secret).encode()
    whole = RULES.data(body)
    too_long = shape.startswith("eyJ") and size > LONGEST_UNDECIDED  # no JWT has such a header
    assert (secret.encode() in whole) == too_long
    for chunk in (1, 7, 100, 65536):
        if chunk == 1 and size > 20_000:
            continue
        assert fed(RULES.stream(), (body[at : at + chunk] for at in range(0, len(body), chunk))) == whole


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("secret", ['with "quotes" in it', "back\\slash\\", '"', "\\", '\\"', "line\nline", "a'b", ""])
def test_values_with_quotes_and_backslashes_at_any_depth(secret: str, depth: int) -> None:
    value: Any = {"before": 1, "password": secret, "after": "seen"}
    expected: Any = {"before": 1, "password": REDACTED, "after": "seen"}
    for _ in range(depth):
        value, expected = {"text": json.dumps(value)}, {"text": json.dumps(expected)}
    body = json.dumps(value).encode()
    assert RULES.data(body) == json.dumps(expected).encode()
    assert fed(RULES.stream(), cut(body, range(len(body)))) == json.dumps(expected).encode()


@pytest.mark.parametrize(
    "name",
    [
        *("x-goog-api-key", "Ocp-Apim-Subscription-Key", "x-functions-key", "X-Auth-Token", "Set-Cookie", "api-key"),
        *("proxy-authorization", "subscription_key", "x-ccproxy-token", "private-token"),
    ],
)
def test_members_named_like_other_vendors_header_fields(name: str) -> None:
    assert RULES.text(json.dumps({name: "opaque"})) == json.dumps({name: REDACTED})
    assert RULES.header(name, "opaque") == REDACTED


@pytest.mark.parametrize(
    "url",
    [
        *("/v1?key={}", "/v1?a=1&Key={}&b=2", "/v1?api-key={}", "/v1?subscription-key={}", "/api/f?code={}", "/b?sv=1&sig={}"),
        *("/v1?x-amz-security-token={}", "/v1?a&amp;token={}", '"/v1?a=1\\u0026access_token={}"', "/v1?access%5Ftoken={}"),
        *("https://user:{}@host/path", "https://user:a@{}@host/"),
    ],
)  # fmt: skip
def test_urls(url: str) -> None:
    assert RULES.text(url.format("opaque")) == url.format(REDACTED).replace("a@[", "[")


def test_known_values_that_begin_alike_or_overlap_the_end() -> None:
    rules = Redaction(["abcd", "abcdefgh"])
    for text, expected in (
        ("xabcdx", "x[redacted]x"),
        ("abcdefgh", "[redacted]"),
        ("abcdefg", "[redacted]efg"),
        ("abc", "abc"),
    ):
        assert rules.text(text) == expected
        assert fed(rules.stream(), cut(text.encode(), range(9))) == expected.encode()
    assert fed(rules.stream(), [b"ab", b"cdef"], truncated=True) in {b"", b"[redacted]ef"}
    assert fed(rules.stream(), [b"x ab", b"c"], truncated=True) == b"x "


# ---- bounds

ALPHABETS = {
    **{part: part for part in ("eyJ", "eyJ.", "eyJaaaa.b ", ".", "sk-", " sk-aaaa", "xsk-", "%20sk-", "Bearer ", "bearer")},
    **{part: part for part in (" ", '"', "'", "\\", '\\"', "%41", "QUJD", "0f", "\n", "\r\n", "\\n", "=", "a=", "a_")},
    **{part: part for part in ("token", 'token"', '"id_token":', '"id_token":"x",', '\\"id_token\\":\\"x\\n', '"id_token" \\n')},
    **{part: part for part in ("?", "&", "?a=b&", "?key=x&", "&amp;", "\\u0026", "://", "://a:", "://a:b@ ", "a@", "://a:b")},
    **{part: part for part in ("ghp_", "xoxb-", "xox", "AKIA", "AIza", "key", '"a_a_a_a_key', KNOWN, KNOWN[:-1], "aaa")},
    "base64": base64.b64encode(random.Random(1).randbytes(30_000)).decode(),
    "hex": random.Random(1).randbytes(30_000).hex(),
}  # fmt: skip


def seconds(action: Callable[[], object]) -> float:
    times = []
    for _ in range(2):
        began = time.thread_time()
        action()
        times.append(time.thread_time() - began)
    return min(times)


PREFIXES = ("", '{"password": "', '{\\"password\\": \\"', "eyJhbGci")
"""The beginning of a secret whose end may never come."""


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_the_work_is_linear(alphabet: str) -> None:
    """Eight times the data may take three times as long as it should; it would be eight times as long if it were quadratic."""
    part = ALPHABETS[alphabet].encode()

    def body(prefix: str, size: int) -> bytes:
        return prefix.encode() + (part * (size // len(part) + 1))[:size]

    for prefix in PREFIXES:
        small, large = body(prefix, 1 << 13), body(prefix, 1 << 16)
        assert (
            seconds(lambda large=large: RULES.data(large)) < 24 * seconds(lambda small=small: RULES.data(small)) + 0.1
        )  # type: ignore[misc]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_single_bytes_are_linear_too(alphabet: str) -> None:
    part = ALPHABETS[alphabet].encode()

    def run(size: int) -> None:
        stream = RULES.stream()
        for at in range(size):
            stream.feed(part[at % len(part) : at % len(part) + 1])
        stream.close()

    times = [seconds(lambda size=size: run(size)) for size in (500, 4_000)]  # type: ignore[misc]
    assert times[1] < 24 * times[0] + 0.2


def test_what_is_held_back_is_bounded() -> None:
    for part in ALPHABETS.values():
        stream = RULES.stream()
        data = (part.encode() * (100_000 // len(part) + 1))[:100_000]
        for at in range(0, len(data), 1000):
            stream.feed(data[at : at + 1000])
            assert stream.held <= CARRY_OVER


def test_an_image_of_megabytes_takes_no_noticeable_time() -> None:
    image = base64.b64encode(random.Random(2).randbytes(1_200_000))
    body = b'{"messages":[{"role":"user","content":[{"type":"image","source":{"data":"' + image + b'"}}]}]}'
    assert RULES.data(body) == body
    assert seconds(lambda: RULES.data(body)) < 1  # some 10 ms; a minute in the first release


# ---- the lists


def test_a_quick_look_finds_every_needle() -> None:
    for _, _, group in NEEDLES:
        for needle in group:
            assert ANY_NEEDLE.search(needle.literal.lower()), needle.literal
            assert len(needle.literal) <= LONGEST_NEEDLE
            assert set(needle.literal) <= set(NEEDLE_BYTES)


def test_a_needle_s_bytes_are_there_where_it_is() -> None:
    for one, other, group in NEEDLES:
        for needle in group:
            if one in b"\"'":
                continue  # the quotes are around the names
            assert one in needle.literal or other in needle.literal
            if needle.any_case:
                assert one in needle.literal
                assert other in needle.literal.upper()
