from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import ClaudeLogin, Login
from ccproxy.auth.store import Store
from tests.fakes.oauth import FakeOAuth

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Clock:
    """A wall clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture(autouse=True)
def _own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *AUTHORITIES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "auth")


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture) -> Iterator[FakeOAuth]:
    """A server whose secrets must not be in the log, however talkative that is."""
    caplog.set_level(logging.DEBUG)
    with FakeOAuth() as fake:
        yield fake
    logged = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert not [secret for secret in fake.secrets if secret in logged]


def stored(
    store: Store, server: FakeOAuth, client: OAuthClient, now: datetime, *, left: timedelta, **fields: object
) -> Login:
    """Put a login into the store whose access token ends in `left`."""
    kind = "claude" if client.login is ClaudeLogin else "codex"
    login = client.login.model_validate(
        {
            "access_token": SecretStr(server.secret(f"{kind}-access-first")),
            "refresh_token": SecretStr(server.issue(kind)),
            "expires_at": now + left,
            "last_refresh": now + left - timedelta(hours=8),
            "account_id": "acct-1",
            **fields,
        }
    )
    with store.lock(client.provider):
        store.save(client.provider, login)
    return login
