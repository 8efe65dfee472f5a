"""The interface's table of routes, from method and path to upstream path, and what is said where there is none."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, strategies as st

from ccproxy.errors import BadRequest, MethodNotAllowed, RouteNotFound
from ccproxy.providers import routing
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import ROUTE_WORDS, Router, suggested_format
from ccproxy.providers.spec import Operation
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format
from tests.fakes.scaling import assert_linear

A, C, R = Format.ANTHROPIC, Format.OPENAI_CHAT, Format.OPENAI_RESPONSES
CREATE, COUNT, MODELS, MODEL, NATIVE = (
    Operation.CREATE, Operation.COUNT_TOKENS, Operation.MODELS, Operation.MODEL, Operation.NATIVE,
)  # fmt: skip

OWN = {
    "zai": {"prefix": "/zai", "base_url": "http://z.test"},
    "deep": {"prefix": "/api/deep/er", "base_url": "http://d.test/base"},
    "chatty": {"prefix": "/chatty", "format": "openai_chat", "base_url": "http://c.test/v1"},
    "respy": {"prefix": "/respy", "format": "openai_responses", "base_url": "http://r.test"},
}


def router(**more: Any) -> Router:
    return Router(providers(Settings(providers={**OWN, **more})))


ROUTER = router()


@pytest.mark.parametrize(
    ("method", "path", "provider", "operation", "fmt", "upstream_path"),
    [
        # Claude SDK
        ("POST", "/claude/v1/messages", "claude_sdk", CREATE, A, None),
        ("POST", "/claude/v1/messages/count_tokens", "claude_sdk", COUNT, A, None),
        ("POST", "/claude/v1/chat/completions", "claude_sdk", CREATE, C, None),
        ("POST", "/claude/v1/responses", "claude_sdk", CREATE, R, None),
        ("GET", "/claude/v1/models", "claude_sdk", MODELS, A, None),
        # Claude API
        ("POST", "/api/v1/messages", "claude_api", CREATE, A, "/v1/messages"),
        ("POST", "/api/v1/messages/", "claude_api", CREATE, A, "/v1/messages"),
        ("POST", "/api/v1/messages/count_tokens", "claude_api", COUNT, A, "/v1/messages/count_tokens"),
        ("POST", "/api/v1/chat/completions", "claude_api", CREATE, C, None),
        ("POST", "/api/v1/responses", "claude_api", CREATE, R, None),
        ("GET", "/api/v1/models", "claude_api", MODELS, A, "/v1/models"),
        ("GET", "/api/v1/models/claude-x", "claude_api", MODEL, A, "/v1/models/claude-x"),
        ("POST", "/api/v1/messages/batches", "claude_api", NATIVE, A, "/v1/messages/batches"),
        ("DELETE", "/api/v1/files/f_1", "claude_api", NATIVE, A, "/v1/files/f_1"),
        ("GET", "/api/v1/organizations/usage_report/messages", "claude_api", NATIVE, A, "/v1/organizations/usage_report/messages"),
        # Codex
        ("POST", "/api/codex/v1/messages", "codex", CREATE, A, None),
        ("POST", "/api/codex/messages", "codex", CREATE, A, None),
        ("POST", "/api/codex/chat/completions", "codex", CREATE, C, None),
        ("POST", "/api/codex/v1/chat/completions", "codex", CREATE, C, None),
        ("POST", "/api/codex/responses", "codex", CREATE, R, "/responses"),
        ("POST", "/api/codex/v1/responses", "codex", CREATE, R, "/responses"),
        ("GET", "/api/codex/v1/models", "codex", MODELS, R, "/models"),
        ("GET", "/api/codex/models", "codex", MODELS, R, "/models"),
        ("POST", "/api/codex/responses/compact", "codex", NATIVE, R, "/responses/compact"),
        ("POST", "/api/codex/v1/responses/compact", "codex", NATIVE, R, "/responses/compact"),
        ("POST", "/api/codex/v1x/files", "codex", NATIVE, R, "/v1x/files"),
        ("POST", "/api/codex/v1.", "codex", NATIVE, R, "/v1."),
        ("POST", "/api/codex/responses/input_tokens", "codex", NATIVE, R, "/responses/input_tokens"),
        # mock
        ("POST", "/mock/v1/messages", "mock", CREATE, A, None),
        ("POST", "/mock/v1/chat/completions", "mock", CREATE, C, None),
        ("POST", "/mock/v1/responses", "mock", CREATE, R, None),
        ("GET", "/mock/v1/models/mock-slow", "mock", MODEL, A, None),
        # the user's own
        ("POST", "/zai/v1/messages", "zai", CREATE, A, "/v1/messages"),
        ("POST", "/zai/v1/chat/completions", "zai", CREATE, C, None),
        ("GET", "/zai/v1/anything", "zai", NATIVE, A, "/v1/anything"),
        ("POST", "/chatty/v1/chat/completions", "chatty", CREATE, C, "/chat/completions"),
        ("POST", "/chatty/v1/messages", "chatty", CREATE, A, None),
        ("GET", "/chatty/v1/models", "chatty", MODELS, C, "/models"),
        ("POST", "/chatty/v1/embeddings", "chatty", NATIVE, C, "/embeddings"),
        ("POST", "/respy/v1/responses", "respy", CREATE, R, "/v1/responses"),
        ("POST", "/respy/v1/files", "respy", NATIVE, R, "/v1/files"),
        # the longest prefix wins
        ("POST", "/api/deep/er/v1/messages", "deep", CREATE, A, "/v1/messages"),
    ],
)  # fmt: skip
def test_the_table(
    method: str, path: str, provider: str, operation: Operation, fmt: Format, upstream_path: str | None
) -> None:
    route = ROUTER.match(method, path)
    assert (route.provider.name, route.operation, route.format, route.upstream_path) == (
        provider,
        operation,
        fmt,
        upstream_path,
    )
    assert route.session_id is None
    assert route.is_native == (upstream_path is not None)


@pytest.mark.parametrize("session", ["s1", "a.b_c-d", "0", "x" * 128, "...x", "V1", "messages2"])
@pytest.mark.parametrize(
    ("root", "rest", "provider"),
    [
        ("/claude", "/v1/messages", "claude_sdk"), ("/claude", "/v1/messages/count_tokens", "claude_sdk"), ("/claude", "/v1/chat/completions", "claude_sdk"),
        ("/claude", "/v1/responses", "claude_sdk"), ("/api/codex", "/responses", "codex"), ("/api/codex", "/v1/responses", "codex"),
        ("/api/codex", "/v1/messages", "codex"), ("/api/codex", "/messages", "codex"), ("/api/codex", "/chat/completions", "codex"),
    ],
)  # fmt: skip
def test_sessions(root: str, rest: str, provider: str, session: str) -> None:
    route, plain = ROUTER.match("POST", f"{root}/{session}{rest}"), ROUTER.match("POST", root + rest)
    assert (route.provider.name, route.session_id) == (provider, session)
    assert (route.operation, route.format, route.upstream_path) == (plain.operation, plain.format, plain.upstream_path)


@pytest.mark.parametrize("session", [*sorted(ROUTE_WORDS), "x" * 129, "a b", "a%20b", "ä", "a:b"])
def test_what_is_no_session(session: str) -> None:
    for path in (f"/api/codex/{session}/responses", f"/claude/{session}/v1/messages"):
        with suppress(RouteNotFound, MethodNotAllowed):
            assert ROUTER.match("POST", path).session_id is None


@pytest.mark.parametrize("path", ["/api/s1/v1/messages", "/mock/s1/v1/messages", "/zai/s1/v1/messages"])
def test_sessions_are_for_those_that_have_them(path: str) -> None:
    with pytest.raises(RouteNotFound):
        ROUTER.match("POST", path)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v1/messages", "POST"), ("PUT", "/api/v1/messages", "POST"), ("DELETE", "/api/v1/models", "GET"), ("POST", "/api/codex/models", "GET"),
        ("GET", "/api/codex/responses", "POST"), ("OPTIONS", "/api/v1/messages", "POST"), ("PATCH", "/mock/v1/models/m", "GET"),
        ("GET", "/claude/s1/v1/messages", "POST"), ("get", "/api/v1/models", "GET"),
    ],
)  # fmt: skip
def test_another_method(method: str, path: str, allow: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.match(method, path)
    assert caught.value.status == 405
    assert allow in caught.value.headers["allow"].split(", ")
    assert method in caught.value.message


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/v1/messages", "/v1/messages"), ("/api/messages", "/api/v1/messages"), ("/api/v2/messages", "/api/v1/messages"),
        ("/claude/v1/message", "/claude/v1/messages"), ("/mock/v1/chat/completion", "/mock/v1/chat/completions"), ("/api", "/api"),
        ("/zzzzzzzz", "/api"), ("/", "/api"), ("/codex/v1/responses", "responses"), ("/apis/v1/messages", "/api/v1/messages"),
        ("/mock/v1/nothing", "/mock"), ("/api/codexx/v1/nothing", "/api"),
    ],
)  # fmt: skip
def test_an_unknown_path_names_the_nearest(path: str, nearest: str) -> None:
    with pytest.raises(RouteNotFound) as caught:
        ROUTER.match("POST", path)
    assert repr(path) in caught.value.message
    assert nearest in caught.value.message.partition(";")[2]


@pytest.mark.parametrize(
    "path",
    ["/api", "/api/", "/api/v1/messages", "/api/v1/x", "/api/codex", "/claude/s1/v1/messages", "/mock/nothing", "/zai"],
)
def test_head_is_answered_everywhere_below_a_provider(path: str) -> None:
    assert ROUTER.match("HEAD", path).operation is Operation.PROBE


@pytest.mark.parametrize("path", ["/", "/nothing", "/apis", "/v1/messages"])
def test_head_elsewhere(path: str) -> None:
    with pytest.raises(RouteNotFound):
        ROUTER.match("HEAD", path)


def test_what_is_not_enabled_is_not_there() -> None:
    found = router(
        claude_api={"enabled": False}, mock={"enabled": False}, claude_sdk={"enabled": False}, codex={"enabled": False}
    )
    for path in ("/api/v1/messages", "/api/codex/responses", "/claude/v1/messages", "/mock/v1/messages"):
        with pytest.raises(RouteNotFound) as caught:
            found.match("POST", path)
        assert "/api/" not in caught.value.message.partition(";")[2].replace("/api/deep", "")


def test_another_prefix() -> None:
    found = router(claude_api={"prefix": "/anthropic"})
    assert found.match("POST", "/anthropic/v1/messages").upstream_path == "/v1/messages"
    with pytest.raises(RouteNotFound):
        found.match("POST", "/api/v1/messages")


@pytest.mark.parametrize(
    ("path", "fmt"),
    [
        ("/x/v1/chat/completions", C),
        ("/x/responses", R),
        ("/api/codex/anything", R),
        ("/x/v1/messages", A),
        ("/x", A),
        ("/api/codex/v1/messages", R),
    ],
)
def test_the_format_that_a_path_suggests(path: str, fmt: Format) -> None:
    assert suggested_format(path) is (A if path.endswith("/messages") and "codex" not in path else fmt)


@given(
    prefixes=st.lists(
        st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)),
        min_size=1,
        unique=True,
    ),
    path=st.lists(st.sampled_from("ab"), max_size=4).map(lambda parts: "/" + "/".join(parts)),
)
def test_the_longest_prefix_wins(prefixes: list[str], path: str) -> None:
    own = {f"p{n}": {"prefix": prefix, "base_url": "http://x.test"} for n, prefix in enumerate(prefixes)}
    found = Router(providers(Settings(providers=own)))
    fitting = [prefix for prefix in prefixes if (path + "/").startswith(prefix + "/")]
    try:
        assert found.match("HEAD", path).provider.prefix == max(fitting, key=len)
    except RouteNotFound:
        assert not fitting


@given(path=st.text(st.sampled_from("/.%2eEfF5cC\\av1messages"), max_size=30))
def test_a_path_that_is_taken_can_be_read_in_one_way_only(path: str) -> None:
    try:
        route = ROUTER.match("GET", "/api/v1/" + path)
    except (BadRequest, RouteNotFound, MethodNotAllowed):
        return
    assert route.provider.name in {"claude_api", "deep"}
    below = "/api/v1/" + path
    assert "//" not in below
    assert "\\" not in below
    assert not {".", ".."} & set(below.split("/"))


# ---- paths and methods that a stranger makes, before any token is checked


LONG = [
    "%",
    "/",
    ".",
    ";",
    "\\",
    "%2e",
    "%25",
    "%2525",
    "%252f",
    "a",
    "a/",
    "/a",
    "é",
    "%c3%a9",
    "?",
    "%2",
    "..;",
    "messages/",
    "-",
    "\udcff",
]


@pytest.mark.parametrize("root", ["", "/", "/api/", "/api/v1/", "/api/codex/", "/claude/", "/api/v1/models/"])
@pytest.mark.parametrize("piece", LONG)
def test_a_long_path_takes_linear_time(root: str, piece: str) -> None:
    def match(size: int) -> None:
        for path in (root + piece * (size // len(piece)), root + "%" + "25" * (size // 2)):
            for method in ("GET", "POST", "HEAD"):
                with suppress(BadRequest, RouteNotFound, MethodNotAllowed):
                    ROUTER.match(method, path)

    assert_linear(match)


def test_a_path_is_decoded_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counting(path: str) -> str:
        decoded.append(path)
        return unquote(path)

    monkeypatch.setattr(routing, "unquote", counting)
    with pytest.raises(BadRequest, match="percent-encoded"):
        ROUTER.match("GET", "/api/%" + "25" * 30_000)
    assert len(decoded) <= routing.MAX_ENCODINGS + 1


@pytest.mark.parametrize(
    "path", ["/api/v1/files/100%", "/api/v1/files/100%25", "/api/v1/files/100%2525", "/api/v1/files/%C3%A9"]
)
def test_a_path_that_is_encoded_as_often_as_anything_needs(path: str) -> None:
    assert ROUTER.match("GET", path).upstream_path == path.removeprefix("/api")


@pytest.mark.parametrize(
    "path", ["/api/v1/files/100%252525", "/api/v1/..;/x", "/api/v1/.;a=b/x", "/api/v1/%2e%2e;/x", "/api/v1/..;"]
)
def test_a_path_that_hides_something(path: str) -> None:
    with pytest.raises(BadRequest):
        ROUTER.match("GET", path)


@pytest.mark.parametrize(
    ("method", "root"),
    [
        ("GET", "/"),
        ("POST", "/api/v1/models/"),
        ("GET", "/api/"),
        ("POST", "/api/v1/v1/"),
        ("GET", "/api/%252525"),
        ("POST", "/claude/"),
        ("TRACE", "/api/v1/"),
    ],
)
def test_an_error_repeats_only_the_beginning_of_a_long_path(method: str, root: str) -> None:
    with pytest.raises((BadRequest, RouteNotFound, MethodNotAllowed)) as caught:
        ROUTER.match(method, root + "x" * 60_000)
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("method", ["", "G ET", "GET\r\n", "GÉT", "G(T", "x" * 33, "\x00", "GET/"])
def test_a_method_that_is_not_a_token(method: str) -> None:
    for path in ("/api/v1/messages", "/nothing", "/api/v1/files"):
        with pytest.raises(BadRequest):
            ROUTER.match(method, path)


@pytest.mark.parametrize("method", ["TRACE", "trace", "CONNECT", "TRACK", "FOO", "get"])
def test_a_method_that_servers_may_not_know_or_whose_response_could_repeat_the_credential_is_not_forwarded(
    method: str,
) -> None:
    with pytest.raises(MethodNotAllowed):
        ROUTER.match(method, "/api/v1/files")


@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "PROPFIND", "QUERY"])
def test_other_methods_are_forwarded(method: str) -> None:
    assert ROUTER.match(method, "/api/v1/files").operation is NATIVE
