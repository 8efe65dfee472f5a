"""Claude through the local Claude Code SDK, inside this process."""

from __future__ import annotations

from ccproxy.providers.endpoints import table
from ccproxy.providers.spec import Provider
from ccproxy.settings import Settings
from ccproxy.translate.formats import Format


def providers(settings: Settings) -> list[Provider]:
    """The provider, if it is enabled."""
    own = settings.providers.claude_sdk
    if not own.enabled:
        return []
    return [
        Provider(name="claude_sdk", prefix=own.prefix, format=Format.ANTHROPIC, endpoints=table(None), sessions=True)
    ]
