"""Secrets that nobody may find anywhere, and a search for them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.proxy import ANTHROPIC_KEY, CODEX_KEY, OWN_KEY

CLIENT_KEY = "client-" + "key-of-no-shape-7"
TOKEN = "own-token-" + "of-ccproxy-7"
COOKIE = "cookie-" + "crumb-7"
ACCOUNT = "account-" + "number-7"
IN_PROMPT = "sk-ant-" + "dummyprompt7"
IN_ANSWER = "sk-ant-" + "dummyanswer7"
SECRETS = (ANTHROPIC_KEY, CODEX_KEY, OWN_KEY, CLIENT_KEY, TOKEN, COOKIE, ACCOUNT, IN_PROMPT, IN_ANSWER)


def found(data: bytes | str) -> list[str]:
    """The secrets in it; also in what is base64 there."""
    text = data.encode("utf-8", "replace") if isinstance(data, str) else data
    texts = [text, *_decoded(text)]
    return [secret for secret in SECRETS if any(secret.encode() in one for one in texts)]


def found_below(folder: Path) -> dict[str, list[str]]:
    """The secrets in the files below a folder, by file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {str(path): secrets for path in files if (secrets := found(path.read_bytes()))}


def _decoded(data: bytes) -> Iterator[bytes]:
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    for candidate in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data):
        try:
            yield base64.b64decode(candidate + b"=" * (-len(candidate) % 4))
        except ValueError:
            continue


def asking(fmt: dict[str, object], **more: object) -> bytes:
    return json.dumps({**fmt, **more}).encode()
