from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr

from ccproxy.auth.clients import CLAUDE, CODEX
from ccproxy.auth.credentials import ClaudeLogin, CodexLogin
from ccproxy.auth.sources import Choice, Fields, ProviderAuth, Source
from ccproxy.auth.wire import RequestCredential, credential, of_login
from tests.fakes.oauth import codex_jwt

CLAUDE_LOGIN = ClaudeLogin.model_validate(
    {"access_token": "claude-one", "refresh_token": "refresh-one", "account_id": "a"}
)
CODEX_LOGIN = CodexLogin.model_validate({"access_token": "codex-one", "account_id": "acct-1"})


def with_key(provider: str, key: str, **fields: str) -> RequestCredential:
    auth = ProviderAuth(provider, api_key=SecretStr(key), **fields)  # type: ignore[arg-type]
    return credential(auth, Choice(Source.API_KEY, ""))


def test_a_claude_login() -> None:
    sent = ((b"Host", b"h"), (b"x-api-key", b"client's"), (b"Authorization", b"Bearer client's"), (b"Accept", b"*/*"))
    assert of_login("claude_api", CLAUDE_LOGIN).on_wire(sent) == (
        (b"Host", b"h"),
        (b"Accept", b"*/*"),
        (b"anthropic-beta", b"oauth-2025-04-20"),
        (b"authorization", b"Bearer claude-one"),
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ((b"a-1,b-2",), (b"a-1,b-2,oauth-2025-04-20",)),
        ((b"a-1, oauth-2025-04-20 ,b-2",), (b"a-1, oauth-2025-04-20 ,b-2",)),
        ((b"a-1", b"b-2"), (b"a-1", b"b-2,oauth-2025-04-20")),
        ((b"oauth-2025-04-20", b"b-2"), (b"oauth-2025-04-20", b"b-2")),
        ((b"oauth-2025-04-201",), (b"oauth-2025-04-201,oauth-2025-04-20",)),
        ((b"",), (b"oauth-2025-04-20",)),
    ],
)
def test_the_beta_joins_the_clients_own(sent: tuple[bytes, ...], expected: tuple[bytes, ...]) -> None:
    fields = tuple((b"Anthropic-Beta", value) for value in sent)
    wire = of_login("claude_api", CLAUDE_LOGIN).on_wire(fields)
    assert tuple(value for name, value in wire if name.lower() == b"anthropic-beta") == expected


def test_the_clients_version_stays() -> None:
    wire = of_login("claude_api", CLAUDE_LOGIN).on_wire(((b"Anthropic-Version", b"2026-10-21"),))
    assert [value for name, value in wire if name.lower() == b"anthropic-version"] == [b"2026-10-21"]


def test_a_codex_login() -> None:
    sent = ((b"ChatGPT-Account-ID", b"client's"), (b"originator", b"mine"))
    assert of_login("codex", CODEX_LOGIN).on_wire(sent) == (
        (b"originator", b"mine"),
        (b"authorization", b"Bearer codex-one"),
        (b"chatgpt-account-id", b"acct-1"),
    )
    fedramp = of_login("codex", CODEX_LOGIN.model_copy(update={"fedramp": True})).on_wire(())
    assert fedramp[-1] == (b"x-openai-fedramp", b"true")


def test_keys() -> None:
    assert with_key("claude_api", "sk-ant-dummy").on_wire(()) == ((b"x-api-key", b"sk-ant-dummy"),)
    assert with_key("codex", "sk-dummy", key_header="authorization").on_wire(()) == (
        (b"authorization", b"Bearer sk-dummy"),
    )
    assert with_key("mine", "dummy", key_header="X-Key").on_wire(((b"X-KEY", b"client's"),)) == ((b"x-key", b"dummy"),)


def test_an_access_token_as_key_goes_out_as_one() -> None:
    assert with_key("claude_api", "sk-ant-oat01-dummy").on_wire(()) == (
        (b"anthropic-beta", b"oauth-2025-04-20"),
        (b"authorization", b"Bearer sk-ant-oat01-dummy"),
    )
    token = codex_jwt(account="acct-9")
    assert with_key("codex", token, key_header="authorization").on_wire(()) == (
        (b"authorization", b"Bearer " + token.encode()),
        (b"chatgpt-account-id", b"acct-9"),
    )


def test_pass_through_changes_nothing_but_the_place() -> None:
    auth = ProviderAuth("claude_api", client=CLAUDE)
    own = ((b"X-Api-Key", b"sk-ant-\xe9"),)
    passed = credential(auth, Choice(Source.CLIENT, "", own))
    assert passed.on_wire(((b"anthropic-beta", b"a"), (b"x-ccproxy-token", b"t"), *own)) == (
        (b"anthropic-beta", b"a"),
        *own,
    )
    assert passed.token is None
    assert "sk-ant" not in repr(passed)


names = st.sampled_from(
    [b"Authorization", b"x-api-key", b"X-CCProxy-Token", b"anthropic-beta", b"ANTHROPIC-VERSION", b"Cookie", b"x-a"]
)


@given(st.lists(st.tuples(names, st.binary(max_size=12)), max_size=8), st.sampled_from(["claude", "codex"]))
def test_no_key_of_the_clients_gets_out_and_the_rest_stays(sent: list[tuple[bytes, bytes]], kind: str) -> None:
    made = of_login("claude_api", CLAUDE_LOGIN) if kind == "claude" else of_login("codex", CODEX_LOGIN)
    wire = made.on_wire(sent)
    secret = {b"authorization", b"x-api-key", b"x-ccproxy-token"}
    assert [value for name, value in wire if name.lower() in secret] == [b"Bearer " + kind.encode() + b"-one"]
    untouched = {*secret, b"anthropic-beta", b"anthropic-version", b"chatgpt-account-id"}

    def rest(fields: Fields) -> list[tuple[bytes, bytes]]:
        return [field for field in fields if field[0].lower() not in untouched]

    assert rest(wire) == rest(tuple(sent))
    assert made.on_wire(wire) == wire


def test_nothing_shows_a_secret() -> None:
    for made in (of_login("claude_api", CLAUDE_LOGIN), of_login("codex", CODEX_LOGIN), with_key("codex", "key-one")):
        assert "-one" not in repr(made)
        assert "acct-1" not in repr(made)
    assert CODEX.provider == "codex"
