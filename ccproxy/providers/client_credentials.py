"""Where a client's credential travels and what it looks like: the one description that guard, gateway and logins share. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Final

KEY_HEADERS: Final = frozenset({b"authorization", b"x-api-key"})
"""Headers of a vendor's key: older Anthropic SDKs send x-api-key, newer ones and OpenAI's a bearer token."""

TOKEN_HEADER: Final = b"x-ccproxy-token"
"""The header for ccproxy's own token alone. It is never sent upstream."""

TOKEN_HEADERS: Final = KEY_HEADERS | {TOKEN_HEADER}
"""Headers in which ccproxy's own token is accepted."""


def key_of(value: bytes) -> str:
    """Return the key in a header value, without the scheme `Bearer`."""
    text = value.decode("latin-1").strip()
    scheme, _, key = text.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else text


def is_anthropic_key(key: str) -> bool:
    """Whether this is an API key (`sk-ant-api…`) or an access token of Claude Code (`sk-ant-oat…`)."""
    return key.startswith("sk-ant-") and not any(character.isspace() for character in key)


def is_claude_token(key: str) -> bool:
    """Whether this is an access token, such as `claude setup-token` prints: it is sent as a bearer token."""
    return key.startswith("sk-ant-oat")


def is_jwt(key: str) -> bool:
    """Whether this has the shape of a JWT."""
    return jwt_claims(key) is not None


def jwt_claims(token: str) -> dict[str, object] | None:
    """Return the claims of a JWT, unverified; None unless `token` has the shape of one."""
    parts = token.split(".", 3)
    if len(parts) != 3 or not all(parts):
        return None
    header, payload = (_json_part(part) for part in parts[:2])
    return payload if header is not None and "alg" in header else None


def _json_part(part: str) -> dict[str, object] | None:
    try:
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return value if isinstance(value, dict) else None


KEY_SHAPES: Final[Mapping[str, Callable[[str], bool]]] = {"claude_api": is_anthropic_key, "codex": is_jwt}
"""The shape of each provider's own keys. With `auth = "auto"` a client's key passes only if it has it: another vendor's must not."""

_ACCESS_TOKENS: Final[Mapping[str, Callable[[str], bool]]] = {"claude_api": is_claude_token, "codex": is_jwt}


def is_access_token(provider: str, key: str) -> bool:
    """Return whether a configured key is the access token of the vendor's own program."""
    fits = _ACCESS_TOKENS.get(provider)
    return fits is not None and fits(key)
