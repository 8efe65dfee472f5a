from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError

from ccproxy.auth.credentials import ClaudeLogin, CodexLogin
from ccproxy.auth.token_responses import TokenResponse
from tests.fakes.oauth import codex_jwt, jwt

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def claude(**fields: object) -> ClaudeLogin:
    return ClaudeLogin.model_validate({"access_token": "access-one", "refresh_token": "refresh-one", **fields})


def test_nothing_shows_a_secret() -> None:
    login = CodexLogin.model_validate(
        {
            "access_token": "access-one",
            "refresh_token": "refresh-one",
            "id_token": "id-one",
            "later_secret": "unknown-one",
        }
    )
    answer = TokenResponse.from_json({"access_token": "access-one", "refresh_token": "refresh-one"})
    for shown in (repr(login), str(login), f"{login!r}", repr(answer), login.model_dump_json(exclude={"later_secret"})):
        assert "-one" not in shown
    assert "later_secret" in repr(login)


def test_a_broken_value_is_not_quoted() -> None:
    value = "never-" + "shown"
    with pytest.raises(ValidationError) as caught:
        ClaudeLogin.model_validate({"access_token": [value], "expires_at": value})
    assert value not in "".join(traceback.format_exception(caught.value))


def test_a_claude_login_says_whose_it_is() -> None:
    answer = TokenResponse.from_json(
        {
            "access_token": "access-one",
            "refresh_token": "refresh-one",
            "expires_in": 28800,
            "scope": "user:profile user:inference",
            "account": {"uuid": "a", "email_address": "someone@example.invalid"},
            "organization": {"uuid": "o", "name": "Somebody's"},
        }
    )
    login = ClaudeLogin.from_response(answer, NOW)
    assert login.account == "someone@example.invalid"
    assert (login.account_id, login.organization, login.organization_id) == ("a", "Somebody's", "o")
    assert login.expires_at == NOW + timedelta(hours=8)
    assert login.scopes == ("user:profile", "user:inference")


def test_a_codex_login_reads_the_claims_of_its_tokens() -> None:
    answer = TokenResponse.from_json(
        {
            "access_token": codex_jwt(exp=NOW.timestamp() + 600),
            "id_token": jwt(
                **{
                    "https://api.openai.com/profile": {"email": "other@example.invalid"},
                    "https://api.openai.com/auth": {
                        "chatgpt_account_id": "acct-2",
                        "chatgpt_plan_type": "pro",
                        "chatgpt_account_is_fedramp": True,
                    },
                }
            ),
        }
    )
    login = CodexLogin.from_response(answer, NOW, scopes=("openid",))
    assert (login.account, login.account_id, login.plan) == ("other@example.invalid", "acct-2", "pro")
    assert login.fedramp
    assert login.expires_at == NOW + timedelta(minutes=10)
    assert login.scopes == ("openid",)


def test_a_refresh_keeps_what_the_answer_leaves_out() -> None:
    old = CodexLogin.model_validate(
        {
            "access_token": "access-one",
            "refresh_token": "refresh-one",
            "id_token": "id-one",
            "account_id": "acct-1",
            "plan": "plus",
            "refused": "invalid_grant",
            "unknown": {"kept": [1]},
        }
    )
    new = old.renewed(TokenResponse.from_json({"access_token": "access-two"}), NOW)
    assert new.document() == {
        "access_token": "access-two", "refresh_token": "refresh-one", "id_token": "id-one", "account_id": "acct-1",
        "plan": "plus", "fedramp": False, "scopes": [], "unknown": {"kept": [1]},
        "last_refresh": "2026-11-22T12:00:00Z",
    }  # fmt: skip


def test_an_answer_without_an_access_token_prolongs_nothing() -> None:
    old = claude(expires_at=NOW)
    new = old.renewed(TokenResponse.from_json({"refresh_token": "refresh-two", "expires_in": 99}), NOW)
    assert new.expires_at == NOW
    assert new.access_token == old.access_token
    assert new.refresh_token == SecretStr("refresh-two")


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [
        (timedelta(hours=8), timedelta(minutes=5, seconds=1), False),
        (timedelta(hours=8), timedelta(minutes=5), True),
        (timedelta(minutes=4), timedelta(minutes=2, seconds=1), False),
        (timedelta(minutes=4), timedelta(minutes=2), True),
        (timedelta(hours=8), timedelta(seconds=-1), True),
    ],
)
def test_due_five_minutes_before_the_end_or_half_way(life: timedelta, left: timedelta, due: bool) -> None:
    assert claude(expires_at=NOW + left, last_refresh=NOW + left - life).due(NOW) is due


def test_a_token_that_tells_no_end_is_renewed_after_eight_days() -> None:
    login = claude(last_refresh=NOW)
    assert not login.due(NOW + timedelta(days=7, hours=23))
    assert login.due(NOW + timedelta(days=8))
    assert not login.expired(NOW + timedelta(days=80))
    assert not claude().due(NOW)


@pytest.mark.parametrize("expires_in", [None, True, "soon", -1, float("nan"), 1e300, [], "1e400"])
def test_a_senseless_life_is_none(expires_in: object) -> None:
    answer = TokenResponse.from_json({"access_token": "opaque", "expires_in": expires_in})
    assert ClaudeLogin.from_response(answer, NOW).expires_at is None


@pytest.mark.parametrize("exp", [None, "1", True, 1e30, -1e30, float("inf")])
def test_a_senseless_exp_is_none(exp: object) -> None:
    answer = TokenResponse.from_json({"access_token": codex_jwt(exp=exp)})
    assert CodexLogin.from_response(answer, NOW).expires_at is None
