"""What Hypothesis draws for the translator."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from ccproxy.translate.formats import Format
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile
from tests.examples.requests import RICH

Json = dict[str, Any]

PROFILES: dict[Format, list[Profile]] = {
    Format.ANTHROPIC: [
        AnthropicProfile.of_model(name) for name in ("claude-opus-5", "claude-sonnet-4-5", "claude-fable-5", "other")
    ],
    Format.OPENAI_CHAT: [ChatProfile(), ChatProfile("max_tokens", custom_tools=True)],
    Format.OPENAI_RESPONSES: [
        ResponsesProfile.of_model("gpt-5.5"),
        ResponsesProfile.of_model("gpt-4o"),
        ResponsesProfile.of_model("gpt-5.5", codex=True),
        ResponsesProfile.of_model("gpt-6", codex=True),
    ],
}

formats = st.sampled_from(list(Format))


@st.composite
def routes(draw: st.DrawFn, *, native: bool = False) -> tuple[Format, Format, Profile]:
    """A client's format, an upstream's, and what that upstream accepts."""
    client = draw(formats)
    upstream = draw(formats.filter(lambda fmt: native or fmt is not client))
    return client, upstream, draw(st.sampled_from(PROFILES[upstream]))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
words = st.sampled_from(
    [
        "type",
        "text",
        "content",
        "role",
        "user",
        "assistant",
        "system",
        "tool_use",
        "function",
        "name",
        "id",
        "input",
        "thinking",
        "message",
    ]
)
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    paths = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            paths += _places(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            paths += _places(item, (*path, i))
    return paths


@st.composite
def bent(draw: st.DrawFn, original: Json) -> Json:
    """The object with one to three of its members replaced, added or removed."""
    body = deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(body)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder: Any = body
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(("replace", "remove", "add"))):
            case "replace":
                holder[last] = draw(values)
            case "remove":
                del holder[last]
            case _:
                if isinstance(holder, dict):
                    holder[draw(words | st.text(min_size=1, max_size=8))] = draw(values)
                else:
                    holder.insert(last, draw(values))
    return body


@st.composite
def bent_requests(draw: st.DrawFn, client: Format) -> Json:
    """A rich request of a client, bent."""
    return draw(bent(RICH[client]))


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The bytes in pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
