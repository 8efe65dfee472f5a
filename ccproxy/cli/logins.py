"""Which providers have a stored login: the one place where the commands that show or need it ask."""

from __future__ import annotations

from ccproxy.providers.credentials import Credential, credential
from ccproxy.settings import Settings


def has_login(settings: Settings, provider: str) -> bool:
    """Whether a login for this provider is stored. This version stores none."""
    del settings, provider
    return False


def credential_of(settings: Settings, provider: str) -> Credential:
    """What ccproxy has to show this provider's upstream."""
    return credential(settings, provider, has_login=has_login(settings, provider))
