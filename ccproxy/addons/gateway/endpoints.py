"""ccproxy's own endpoints: health, metrics, usage, permissions."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mitmproxy import http
from mitmproxy.connection import Client

from ccproxy import __version__
from ccproxy.addons.in_process_body import InProcessBody
from ccproxy.addons.transport.flow_edits import decompress
from ccproxy.addons.transport.responses import json_response, response, stream_response
from ccproxy.errors import BadRequest, Forbidden, MethodNotAllowed, Unauthenticated, Unavailable
from ccproxy.ledger.metrics import CONTENT_TYPE
from ccproxy.ledger.report import LedgerUnreadable
from ccproxy.providers import json_edit
from ccproxy.providers.client_credentials import key_of
from ccproxy.providers.header_fields import Field
from ccproxy.translate import jsontext

logger = logging.getLogger(__name__)

PERMISSIONS_STREAM: Final = "/permissions/stream"
READ: Final = frozenset(
    {"/", "/health", "/health/live", "/health/ready", "/metrics", "/usage", "/permissions", PERMISSIONS_STREAM}
)
"""The paths of `GET`. The only other one is `POST /permissions/{id}`."""
MAX_DECISION: Final = 2**20
"""Bytes of a decision about a permission: it may hold the input of a tool."""
OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
"""For supervisors: they only report that ccproxy runs, so they need no token."""

Report = Callable[[str, str], dict[str, Any]]
"""Usage by a column, since a time. Blocking. Raises ValueError if either is unknown."""


class Permissions(Protocol):
    """The permission broker, as far as it is shown: `permissions.broker.PermissionBroker`."""

    def listing(self) -> dict[str, Any]: ...

    def changes(self) -> AsyncIterator[dict[str, Any]]: ...

    async def decide(self, identifier: str, body: Any) -> dict[str, Any]: ...


@dataclass(slots=True)
class OwnEndpoints:
    """ccproxy's own endpoints. Everything that they report is passed in."""

    providers: Callable[[], Mapping[str, Mapping[str, Any]]]
    metrics: Callable[[], bytes]
    report: Report | None = None
    permissions: Permissions | None = None
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """The tokens for `/usage` and `/permissions*`."""
    asked_by_tool: Callable[[tuple[str, int], tuple[str, int]], bool] | None = None
    """Whether a program that Claude Code started holds the client's end of a connection, given both ends; blocking."""

    @staticmethod
    def has(path: str) -> bool:
        """Whether the path is one of ccproxy's own."""
        return path in READ or path.startswith("/permissions/")

    async def respond(
        self, flow: http.HTTPFlow, private: Iterable[Field]
    ) -> tuple[http.Response, InProcessBody | None]:
        """Return the response, and its body if that is a stream.

        Raises:
            ExchangeError: the token is missing, the method is not supported, or the endpoint refuses the request.

        """
        method, path = flow.request.method, flow.request.path.partition("?")[0]
        decides = path.startswith("/permissions/") and path != PERMISSIONS_STREAM
        allowed = {"POST"} if decides else {"GET"} if path == PERMISSIONS_STREAM else {"GET", "HEAD"}
        if method not in allowed:
            allow = ", ".join(sorted(allowed))
            raise MethodNotAllowed(f"{path[:200]} supports {allow}, not {method[:20]}", headers={"allow": allow})
        if path.startswith(("/usage", "/permissions")):
            self._check(private)
        if path.startswith("/permissions"):
            await self._refuse_tools(flow.client_conn)
        if path == "/metrics":
            return response(200, await asyncio.to_thread(self.metrics), {"content-type": CONTENT_TYPE}), None
        if path == "/usage":
            return json_response(await self._usage(flow.request)), None
        if path == PERMISSIONS_STREAM:
            changes = _events(self._broker().changes())
            return stream_response({}), InProcessBody(changes, lambda error: b": %s\n\n" % str(error).encode())
        if path == "/permissions":
            return json_response(self._broker().listing()), None
        if decides:
            await decompress(flow, MAX_DECISION)
            body = json_edit.loads(flow.request.raw_content or b"")
            decision = await self._broker().decide(path.removeprefix("/permissions/"), body)
            return json_response(decision), None
        return json_response(self._health(path)), None

    def _health(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = {"status": "ok"}
        if path in {"/", "/health"}:
            body |= {"name": "ccproxy", "version": __version__, "pid": os.getpid()}
            body["providers"] = self.providers()
        return body

    async def _usage(self, request: http.Request) -> dict[str, Any]:
        if self.report is None:
            raise Unavailable("No usage is recorded because ledger.enabled is false")
        try:
            return await asyncio.to_thread(
                self.report, request.query.get("by", "model"), request.query.get("since", "7d")
            )
        except ValueError as error:
            raise BadRequest(str(error)) from None
        except LedgerUnreadable as error:
            raise Unavailable(str(error)) from None

    def _broker(self) -> Permissions:
        if self.permissions is None:
            raise Unavailable("No tools run here because providers.claude_sdk is not in agent mode")
        return self.permissions

    async def _refuse_tools(self, client: Client) -> None:
        """Refuse programs that Claude Code has started: a tool can read the token's file as its user can, but must not approve itself."""
        is_tool = self.asked_by_tool
        if is_tool is not None and await asyncio.to_thread(is_tool, client.peername[:2], client.sockname[:2]):
            logger.warning("Refused a tool that runs under Claude Code: it tried to see or decide permissions")
            raise Forbidden("A program that Claude Code has started may neither see nor decide permissions")

    def _check(self, private: Iterable[Field]) -> None:
        keys = [key_of(item[1]).encode() for item in private]
        if not any(hmac.compare_digest(key, token.encode()) for key in keys for token in self.tokens if token):
            raise Unauthenticated(
                "This requires ccproxy's token: server.auth_token, or the one in the file that the command line reads"
            )


async def _events(changes: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    yield b": ccproxy\n\n"
    async for change in changes:
        yield b"data: %s\n\n" % jsontext.dump_bytes(change)
