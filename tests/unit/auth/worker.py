"""One of several processes that share a store: `python worker.py FOLDER SERVER_URL REQUESTS`.

Prints a JSON object: how often each outcome was met, by the access token's last characters.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

from ccproxy.auth.broker import Broker
from ccproxy.auth.clients import CLAUDE
from ccproxy.auth.sources import ProviderAuth
from ccproxy.auth.store import Store
from ccproxy.errors import ExchangeError


async def main(folder: str, url: str, requests: int) -> None:
    client = CLAUDE.configured(token_url=f"{url}/v1/oauth/token")
    broker = Broker(Store(Path(folder)), [ProviderAuth("claude_api", client=client)])
    outcomes: Counter[str] = Counter()

    async def request() -> None:
        try:
            credential = await broker.headers("claude_api")
        except ExchangeError as error:
            outcomes[f"{error.status} {error.message}"] += 1
        else:
            assert credential.token is not None
            outcomes[credential.token.get_secret_value()[-8:]] += 1

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    await asyncio.gather(*(request() for _ in range(requests)))
    await broker.aclose()
    sys.stdout.write(json.dumps(outcomes) + "\n")


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
