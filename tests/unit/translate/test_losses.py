"""JSON paths of losses, and the header that lists them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.addons.exchange import Exchange
from ccproxy.errors import BadRequest
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import HEADER_LIMIT, MAX_PATH, Losses, child, loss_header, printable
from ccproxy.translate.profiles import ResponsesProfile
from tests.fakes.scaling import assert_linear_work

Json = dict[str, Any]
A, C, R = Format

HOSTILE = [
    "a\r\nset-cookie: x=1",
    "a\nb",
    "a\rb",
    "a\x00b",
    "a\x7fb",
    "a\x1b[31mb",
    "a\u2028b",
    "ü" * 100,
    "\ud800",
    "x" * 10_000,
    "\r\n" * 5000,
    "a, b",
    "",
    '"\\',
]


def is_safe(header: str) -> bool:
    return header.isascii() and header.isprintable() and len(header) <= 4096


def test_paths() -> None:
    assert child("", "model") == "model"
    assert child("a[0]", "b") == "a[0].b"
    assert child("a", "b c") == 'a["b c"]'
    losses = Losses()
    losses.add("a", "one")
    losses.add("a", "two")
    assert [tuple(loss) for loss in losses] == [("a", "one")]


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_every_path_is_printable(path: str) -> None:
    losses = Losses()
    losses.add(path, "r")
    losses.note(f"{path}.b", "r")
    for loss in losses:
        assert loss.path.isascii()
        assert loss.path.isprintable()
        assert len(loss.path) <= MAX_PATH
    assert is_safe(losses.header())
    assert is_safe(loss_header([path] * 1000))
    assert printable(printable(path)) == printable(path)
    with pytest.raises(BadRequest) as refusal:
        Losses(strict=True).add(path, "r")
    assert refusal.value.message.isprintable()


@given(st.lists(st.text(max_size=80) | st.sampled_from(HOSTILE), max_size=200))
def test_the_header_is_one_printable_line_of_whole_paths(paths: list[str]) -> None:
    header = loss_header(paths)
    assert is_safe(header)
    assert not paths or len(header.split(", ")) <= len(paths) + 1
    shown = [printable(path) for path in paths]
    if header.endswith(", ...") or header == "...":
        whole = next(count for count in range(len(shown) + 1) if ", ".join([*shown[:count], "..."]) == header)
        assert len(", ".join(shown[: whole + 1])) > HEADER_LIMIT - 10 or not whole
    else:
        assert header == ", ".join(shown)


def keyed(client: Format, key: str) -> list[Json]:
    """Requests with a key of the client's own in every kind of place."""
    message: Json = {"role": "user", "content": "hi"}
    part = "input_text" if client is R else "text"
    deeper = {"role": "user", "content": [{"type": part, "text": "hi", key: 1}]}
    bodies: list[Json] = []
    for messages, more in (([message], {key: 1}), ([{**message, key: 1}], {}), ([deeper], {})):
        body: Json = {"model": "m", "input" if client is R else "messages": messages, **more}
        bodies.append({**body, "max_tokens": 5} if client is A else body)
    return bodies


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("client", Format)
def test_no_key_of_a_body_leaves_its_line_of_the_header(client: Format, key: str) -> None:
    codex = ResponsesProfile.of_model("gpt-5.5", codex=True)
    for upstream in Format:
        for body in keyed(client, key):
            exchange = translate_request(client, upstream, body, codex if upstream is R else None)
            assert is_safe(exchange.loss_header())
            assert all(loss.path.isprintable() for loss in exchange.losses)
            folder = exchange.folder()
            folder.feed(b"")
            _, headers, _ = folder.result()
            assert is_safe(headers.get("x-ccproxy-loss", ""))


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_paths_that_a_provider_in_this_process_reports_are_made_safe(path: str) -> None:
    exchange = Exchange()
    exchange.report_losses([path, "b", path])
    (value,) = [value for name, value in exchange.response_fields if name == b"x-ccproxy-loss"]
    assert is_safe(value.decode("ascii"))


def test_very_many_losses_are_linear() -> None:
    def prepare(n: int) -> Callable[[], object]:
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        body |= {f"unknown{i}": 1 for i in range(n)}

        def work() -> None:
            exchange = translate_request(A, C, body)
            assert len(exchange.losses) == n
            assert exchange.loss_header().endswith("...")
            folder = exchange.folder()
            folder.feed_whole({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})
            status, headers, out = folder.result()
            assert status == 200
            assert json.loads(out)
            assert is_safe(headers["x-ccproxy-loss"])

        return work

    assert_linear_work(prepare, 25_000)
