"""The stored logins, as far as commands need to know them."""

from __future__ import annotations

from ccproxy.auth import setup
from ccproxy.providers.credentials import Credential, credential
from ccproxy.settings import Settings


def has_login(settings: Settings, provider: str) -> bool:
    """Return whether a login for this provider is stored. One that cannot be read counts, so that its user gets to know."""
    try:
        return setup.store(settings.auth.dir).stamp(provider) is not None
    except OSError:
        return True


def credential_of(settings: Settings, provider: str) -> Credential:
    """Return the credential that ccproxy sends to this provider's upstream."""
    return credential(settings, provider, has_login=has_login(settings, provider))
