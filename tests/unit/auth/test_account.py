from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from ccproxy.auth import account
from ccproxy.auth.clients import CLAUDE
from ccproxy.auth.credentials import ClaudeLogin
from ccproxy.auth.sources import ProviderAuth
from ccproxy.auth.status import in_words, status
from ccproxy.auth.store import Store
from ccproxy.auth.token_responses import Window
from ccproxy.errors import LoginError
from ccproxy.network import Network
from tests.fakes.oauth import FakeOAuth, Reply, codex_jwt
from tests.unit.auth.conftest import Clock, stored

QUICK = Network(connect_timeout=30, read_timeout=30)
HOUR = timedelta(hours=1)


def new_login(server: FakeOAuth, **fields: object) -> ClaudeLogin:
    return ClaudeLogin.model_validate(
        {"access_token": server.secret("access-new"), "refresh_token": server.issue("new"), **fields}
    )


def test_a_new_login_ends_the_old_one(server: FakeOAuth, store: Store, clock: Clock) -> None:
    old = stored(store, server, server.claude, clock(), left=HOUR)
    new = account.keep(store, server.claude, QUICK, new_login(server))
    assert store.load("claude_api", ClaudeLogin) == new
    assert old.refresh_token is not None
    assert server.refresh_tokens[old.refresh_token.get_secret_value()] == "revoked"
    assert server.count("/v1/oauth/revoke") == 1


def test_the_same_login_is_not_ended(server: FakeOAuth, store: Store, clock: Clock) -> None:
    old = stored(store, server, server.claude, clock(), left=HOUR)
    account.keep(store, server.claude, QUICK, old)
    assert not server.requests


def test_the_plan_comes_from_the_profile(server: FakeOAuth, store: Store) -> None:
    kept = account.keep(store, server.claude, QUICK, new_login(server, scopes=["user:profile"]))
    assert kept.plan == "max"
    assert store.load("claude_api", ClaudeLogin) == kept
    asked = server.requests[-1]
    assert asked.path == "/api/oauth/profile"
    assert asked.headers["authorization"] == "Bearer access-new"
    assert asked.headers["anthropic-beta"] == "oauth-2025-04-20"


@pytest.mark.parametrize("reply", [Reply(500), Reply(200, {}), Reply(200, b"<html>")])
def test_a_profile_that_does_not_answer_costs_only_the_plan(server: FakeOAuth, store: Store, reply: Reply) -> None:
    server.answers["/api/oauth/profile"] = [reply]
    assert account.keep(store, server.claude, QUICK, new_login(server, scopes=["user:profile"])).plan is None
    assert store.load("claude_api", ClaudeLogin) is not None


def test_forget(server: FakeOAuth, store: Store, clock: Clock) -> None:
    assert account.forget(store, server.codex, QUICK) == (False, None)
    login = stored(store, server, server.codex, clock(), left=HOUR)
    assert account.forget(store, server.codex, QUICK) == (True, None)
    assert login.refresh_token is not None
    assert server.refresh_tokens[login.refresh_token.get_secret_value()] == "revoked"
    assert store.stamp("codex") is None


def test_forget_even_what_cannot_be_read_or_ended(server: FakeOAuth, store: Store, clock: Clock) -> None:
    stored(store, server, server.codex, clock(), left=HOUR)
    server.answers["/oauth/revoke"] = [Reply(500)]
    assert account.forget(store, server.codex, QUICK) == (True, "127.0.0.1 has no capacity now (status 500)")
    stored(store, server, server.codex, clock(), left=HOUR)
    store.path("codex").write_text("{")
    assert account.forget(store, server.codex, QUICK) == (True, None)
    assert store.stamp("codex") is None


def test_limits_of_claude(server: FakeOAuth, store: Store, clock: Clock) -> None:
    login = stored(store, server, server.claude, clock(), left=HOUR)
    assert account.limits(server.claude, QUICK, login) == (
        Window("5 hours", 12.5, datetime(2026, 11, 22, 15, tzinfo=UTC)),
        Window("7 days", 40.0),
        Window("7 days (opus)", 0.0),
    )


def test_limits_of_codex(server: FakeOAuth, store: Store, clock: Clock) -> None:
    login = stored(store, server, server.codex, clock(), left=HOUR)
    windows = account.limits(server.codex, QUICK, login)
    assert [(window.name, window.used) for window in windows] == [("5 hours", 7.0), ("7 days", 61.0)]
    assert server.requests[-1].headers["chatgpt-account-id"] == "acct-1"


@pytest.mark.parametrize(
    "body", [{}, {"rate_limit": None}, {"rate_limit": {"primary_window": {"used_percent": "?"}}}, {"five_hour": 1}]
)
def test_limits_that_say_nothing(body: dict[str, object]) -> None:
    assert account.claude_windows(body) == account.codex_windows(body) == ()


def test_limits_are_not_asked_of_a_real_host_with_a_tests_login(server: FakeOAuth) -> None:
    client = CLAUDE.configured(token_url=server.claude.token_url)
    with pytest.raises(LoginError, match="no address"):
        account.limits(client, QUICK, new_login(server))


def test_status_of_every_source(server: FakeOAuth, store: Store, clock: Clock) -> None:
    def of(mode: str = "auto", key: str = "", name: str = "claude_api") -> tuple[str, str | None, str | None]:
        client = {"claude_api": server.claude, "codex": server.codex}.get(name)
        found = status(ProviderAuth(name, mode=mode, api_key=SecretStr(key), client=client), store)  # type: ignore[arg-type]
        return found.source, found.refresh, found.command if found.problem else None

    assert of() == ("client", None, "ccproxy auth login")
    assert of("oauth") == ("none", None, "ccproxy auth login")
    assert of("api_key") == ("none", None, "ccproxy auth login")
    assert of("passthrough") == ("client", None, None)
    assert of(key="sk-ant-dummy") == ("api_key", None, None)
    assert of(key="sk-ant-oat-dummy") == ("other_program", None, None)
    assert of(key=codex_jwt(), name="codex") == ("other_program", None, None)
    assert of(name="mine") == ("none", None, None)
    stored(store, server, server.claude, clock(), left=HOUR)
    assert of() == ("login", "possible", None)
    stored(store, server, server.claude, clock(), left=HOUR, refused="invalid_grant")
    assert of() == ("login", "refused", "ccproxy auth login")
    stored(store, server, server.claude, clock(), left=HOUR, refresh_token=None)
    assert of() == ("login", "impossible", "ccproxy auth login")
    store.path("claude_api").chmod(0o644)
    assert of() == ("none", None, "ccproxy auth login")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (-61, "1 minute 1 second"), (7_260, "2 hours 1 minute"), (3_600, "1 hour"),
     (86_400 * 3 + 3_600, "3 days 1 hour"), (86_400 + 60, "1 day"), (3_661, "1 hour 1 minute")],
)  # fmt: skip
def test_in_words(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
