"""Which providers have a stored login: the one place where the commands that show or need it ask."""

from __future__ import annotations

from ccproxy.auth import setup
from ccproxy.providers.credentials import Credential, credential
from ccproxy.settings import Settings


def has_login(settings: Settings, provider: str) -> bool:
    """Whether a login for this provider is stored; one that cannot be read counts, its user wants to know."""
    try:
        return setup.store(settings.auth.dir).stamp(provider) is not None
    except OSError:
        return True


def credential_of(settings: Settings, provider: str) -> Credential:
    """What ccproxy has to show this provider's upstream."""
    return credential(settings, provider, has_login=has_login(settings, provider))
