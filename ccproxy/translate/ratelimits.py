"""Rate-limit headers between the vendors.

`anthropic-ratelimit-requests-limit: 50` is `x-ratelimit-limit-requests: 50` at OpenAI. Anthropic's reset is a moment (RFC 3339), OpenAI's a duration;
without a clock neither can be turned into the other, so resets travel under their own names only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ccproxy.translate.formats import Format

_ANTHROPIC = re.compile(r"anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining)")
_OPENAI = re.compile(r"x-ratelimit-(limit|remaining)-(requests|tokens)")
_SHOWN = ("anthropic-ratelimit-", "x-ratelimit-", "x-codex-")


def translate(client: Format, headers: Mapping[str, str]) -> dict[str, str]:
    """The limits under the client's names, beside the upstream's own. `headers` have lower-case names."""
    out: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_SHOWN) or name in ("retry-after", "retry-after-ms", "x-should-retry"):
            out[name] = value
        found = _ANTHROPIC.fullmatch(name)
        if found is not None and client is not Format.ANTHROPIC:
            out[f"x-ratelimit-{found[2]}-{found[1]}"] = value
        found = _OPENAI.fullmatch(name)
        if found is not None and client is Format.ANTHROPIC:
            out[f"anthropic-ratelimit-{found[2]}-{found[1]}"] = value
    return out
