"""Every leaf of a request is read, or reported, or refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ccproxy.errors import BadRequest
from ccproxy.translate.exchange import translate_request
from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile
from tests.examples.requests import RICH

Json = dict[str, Any]

ROUTES: list[tuple[Format, Format, Profile]] = [
    (client, upstream, profile)
    for client in Format
    for upstream, profile in (
        (Format.ANTHROPIC, AnthropicProfile.of_model("claude-opus-5")),
        (Format.ANTHROPIC, AnthropicProfile.of_model("claude-sonnet-4-5")),
        (Format.OPENAI_CHAT, ChatProfile()),
        (Format.OPENAI_RESPONSES, ResponsesProfile.of_model("gpt-5.5")),
        (Format.OPENAI_RESPONSES, ResponsesProfile.of_model("gpt-5.5", codex=True)),
    )
    if client is not upstream
]
routes = pytest.mark.parametrize(("client", "upstream", "profile"), ROUTES, ids=range(len(ROUTES)))

BOOKKEEPING = {"id", "status", "store", "tools[1].format.type"}
"""What a Responses server adds to its items says nothing to a model; nothing is ever stored; a grammar's type is its syntax."""


class Watched(dict[str, Any]):
    """A dict that knows which of its members were looked at. The outermost is walked through by the field tables, which is not reading."""

    def __init__(self, plain: Json, *, outermost: bool = False) -> None:
        super().__init__({key: watched(value) for key, value in plain.items()})
        self.seen: set[str] = set()
        self.outermost = outermost

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def items(self) -> Any:
        if not self.outermost:
            self.seen.update(self)
        return super().items()

    def values(self) -> Any:
        self.seen.update(self)
        return super().values()


def watched(value: Any) -> Any:
    if isinstance(value, dict):
        return Watched(value)
    return [watched(item) for item in value] if isinstance(value, list) else value


def unread(value: Any, path: str = "") -> list[str]:
    """The paths of members that were not read."""
    if isinstance(value, Watched):
        found = []
        for key, item in dict.items(value):
            where = f"{path}.{key}" if path else key
            found += unread(item, where) if key in value.seen else [where]
        return found
    if isinstance(value, list):
        return [where for i, item in enumerate(value) for where in unread(item, f"{path}[{i}]")]
    return []


@routes
def test_every_leaf_is_read_or_reported(client: Format, upstream: Format, profile: Profile) -> None:
    body = Watched(deepcopy(RICH[client]), outermost=True)
    exchange = translate_request(client, upstream, body, profile)
    exchange.encode()  # objects that travel whole, such as schemas, are read here
    lost = [loss.path for loss in exchange.losses]
    silent = [
        path
        for path in unread(body)
        if not any(path.startswith(known) for known in lost)
        and not BOOKKEEPING & {path, path.rpartition(".")[2]}
        and not path.startswith("stream")
    ]
    assert silent == []


FREE = {"input_schema", "parameters", "schema", "input", "input_examples", "action", "cache_control", "definition"}
"""Objects that belong to the user and travel as they are."""


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict):
        found.append(path)
        for key, item in value.items():
            if key not in FREE or isinstance(item, list):
                found += objects(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += objects(item, (*path, i))
    return found


@routes
def test_an_unknown_member_of_any_object_is_reported(client: Format, upstream: Format, profile: Profile) -> None:
    silent = []
    for place in objects(RICH[client]):
        body = deepcopy(RICH[client])
        holder: Any = body
        for step in place:
            holder = holder[step]
        holder["zz_news"] = 1
        try:
            exchange = translate_request(client, upstream, body, profile)
        except BadRequest as refused:
            if not refused.param:
                raise
            continue
        where = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*place, "zz_news")
        ).removeprefix(".")
        if not any(where.startswith(loss.path) for loss in exchange.losses) and b"zz_news" not in exchange.encode():
            silent.append(place)
    assert silent == []


@routes
def test_strict_refuses_what_would_be_lost(client: Format, upstream: Format, profile: Profile) -> None:
    body = {**RICH[client], "zz_news": 1}
    with pytest.raises(BadRequest, match=r"translate\.strict") as refused:
        translate_request(client, upstream, body, profile, strict=True)
    assert refused.value.param in [loss.path for loss in translate_request(client, upstream, body, profile).losses]


@routes
def test_unknown_content_is_refused_by_name(client: Format, upstream: Format, profile: Profile) -> None:
    body = deepcopy(RICH[client])
    holder = body["input"] if client is Format.OPENAI_RESPONSES else body["messages"]
    content = next(
        entry["content"] for entry in holder if isinstance(entry.get("content"), list) and len(entry["content"]) > 1
    )
    content.append({"type": "hologram", "data": "…"})
    with pytest.raises(BadRequest, match="hologram") as refused:
        translate_request(client, upstream, body, profile)
    assert refused.value.param
    assert refused.value.param.endswith("].type")


def test_the_header_lists_paths_in_printable_ascii_and_stays_short() -> None:
    body = {**RICH[Format.OPENAI_CHAT], "größe\n\x7f": 1, "a,b": 2, **{f"field_{i}": i for i in range(1000)}}
    exchange = translate_request(Format.OPENAI_CHAT, Format.ANTHROPIC, body)
    header = exchange.loss_header()
    assert '["gr\\u00f6\\u00dfe\\n' in header or "\\\\u00f6" in header
    assert header.isascii()
    assert header.isprintable()
    assert len(header) <= 4096
    assert header.endswith("...")
