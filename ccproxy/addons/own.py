"""ccproxy's own endpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mitmproxy import http

from ccproxy import __version__
from ccproxy.addons.answers import response
from ccproxy.errors import MethodNotAllowed

PATHS = frozenset({"/", "/health", "/health/live", "/health/ready", "/metrics"})
OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
"""For supervisors: they say nothing but that ccproxy runs, so they need no token."""


@dataclass(slots=True)
class OwnEndpoints:
    """Answers from what the rest of the program tells it."""

    providers: Mapping[str, Mapping[str, Any]]
    status: Mapping[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)
    metrics: Callable[[], bytes] = lambda: b""

    def answer(self, method: str, path: str) -> http.Response:
        """The answer to a request for one of `PATHS`.

        Raises:
            MethodNotAllowed: they are there to be read.

        """
        if method not in {"GET", "HEAD"}:
            raise MethodNotAllowed(f"{path} takes GET, not {method}", headers={"allow": "GET, HEAD"})
        if path == "/metrics":
            info = f'# TYPE ccproxy_info gauge\nccproxy_info{{version="{__version__}"}} 1\n'.encode()
            return response(200, info + self.metrics(), {"content-type": "text/plain; version=0.0.4; charset=utf-8"})
        body: dict[str, Any] = {"status": "ok"}
        if path in {"/", "/health"}:
            body |= {"name": "ccproxy", "version": __version__, "pid": os.getpid()}
            body["providers"] = {
                name: {**facts, **self.status.get(name, dict)()} for name, facts in self.providers.items()
            }
        return response(200, json.dumps(body).encode(), {"content-type": "application/json"})
