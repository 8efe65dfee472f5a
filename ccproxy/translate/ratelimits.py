"""Rate-limit headers, translated between the vendors.

`anthropic-ratelimit-requests-limit: 50` is `x-ratelimit-limit-requests: 50` at OpenAI. Anthropic's reset is a point in time (RFC 3339), OpenAI's a duration.
Without a clock neither can be computed from the other, so resets are sent under their own names only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ccproxy.translate.formats import Format

_ANTHROPIC = re.compile(r"anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining)")
_OPENAI = re.compile(r"x-ratelimit-(limit|remaining)-(requests|tokens)")
_PASSED_ON = ("anthropic-ratelimit-", "x-ratelimit-", "x-codex-")


def translate(client: Format, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the limits under the client's names, in addition to the upstream's own. The names in `headers` are in lower case."""
    out: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_PASSED_ON) or name in ("retry-after", "retry-after-ms", "x-should-retry"):
            out[name] = value
        limit = (_OPENAI if client is Format.ANTHROPIC else _ANTHROPIC).fullmatch(name)
        if limit is not None:
            out[f"{'anthropic-ratelimit' if client is Format.ANTHROPIC else 'x-ratelimit'}-{limit[2]}-{limit[1]}"] = (
                value
            )
    return out
