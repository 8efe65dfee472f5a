"""mitmproxy's layers without sockets, as mitmproxy tests its own: events in, commands out, and time stands still.

A `Play` is one client connection to a `GatewayLayer` with the real gateway's hooks. Nothing happens that the test does not say: it decides when a connection
stands, what each side sends and when it closes, and, with `hold`, when a hook is done.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons

from ccproxy.addons.chain import addons
from ccproxy.addons.transport.layer import GatewayLayer
from ccproxy.addons.transport.stream import Limits
from ccproxy.server.wiring import parts
from ccproxy.settings import Settings

CLIENT = "client"


async def _options() -> Options:
    with taddons.context(Proxyserver()) as tctx:
        tctx.options.update(keep_host_header=True, connection_strategy="lazy")
        return tctx.options


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Play:
    """See the module. `hooks` replaces hooks of the gateway by name."""

    def __init__(
        self,
        settings: Settings,
        *,
        hooks: Mapping[str, Callable[[http.HTTPFlow], None]] | None = None,
        hold: bool = False,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        made = addons(parts(settings))
        self.gateway: Any = made[0]
        self.hooks = hooks or {}
        self.hold = hold
        self.held: list[commands.StartHook] = []
        self.called: Counter[str] = Counter()
        self.flows: list[http.HTTPFlow] = []
        self.watch: list[Callable[[str, http.HTTPFlow], None]] = []
        self.clock = Clock()
        self.sent: dict[Any, bytes] = {}
        """What was written, by connection; the client's under `CLIENT`."""
        self.opening: list[commands.OpenConnection] = []
        self.wakeups: list[commands.RequestWakeup] = []
        self.closed: list[Connection] = []
        self.opened = 0
        self._coming: list[events.Event] = []
        self._busy = False
        options = self.loop.run_until_complete(_options())
        self.client = Client(
            peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8000), timestamp_start=time.time(), state=ConnectionState.OPEN,
            proxy_mode=ProxyMode.parse("reverse:http://unrouted.invalid@127.0.0.1:8000"),
        )  # fmt: skip
        context = Context(self.client, options)
        context.server = Server(address=("unrouted.invalid", 80))
        limits = self.gateway.limits
        self.layer = GatewayLayer(
            context, Limits(limits.max_body, limits.connect_timeout, limits.idle_timeout, self.clock)
        )
        self._feed(events.Start())

    def end(self) -> None:
        """Everything is over: whatever the gateway still does for this client ends too."""
        self.gateway.client_disconnected(self.client)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        self.loop.close()

    # ---- what happens

    def client_sends(self, data: bytes) -> None:
        self._feed(events.DataReceived(self.client, data))

    def client_leaves(self) -> None:
        self._leaves(self.client)

    def connected(self) -> Server:
        """The connection that was asked for first stands."""
        command = self.opening.pop(0)
        self.opened += 1
        server = command.connection
        assert isinstance(server, Server)
        server.state = ConnectionState.OPEN
        self.sent[server] = b""
        self._feed(events.OpenConnectionCompleted(command, None))
        return server

    def refused(self, reason: str = "Connection refused") -> None:
        self._feed(events.OpenConnectionCompleted(self.opening.pop(0), reason))

    def server_sends(self, server: Server, data: bytes) -> None:
        self._feed(events.DataReceived(server, data))

    def server_leaves(self, server: Server) -> None:
        self._leaves(server)

    def wakes(self) -> None:
        """The time has come that was asked for first."""
        self._feed(events.Wakeup(self.wakeups.pop(0)))

    def hook_done(self) -> None:
        """The hook that was begun first is done."""
        self._run(self.held.pop(0))

    # ---- what was seen

    @property
    def to_client(self) -> bytes:
        return self.sent.get(CLIENT, b"")

    def take(self, connection: Any = CLIENT) -> bytes:
        """What was written to a connection since the last look."""
        data, self.sent[connection] = self.sent.get(connection, b""), b""
        return data

    @property
    def ends(self) -> int:
        """How many exchanges have ended, each by exactly one of two hooks."""
        return self.called["response"] + self.called["error"]

    # ---- how

    def _leaves(self, connection: Connection) -> None:
        connection.state &= ~ConnectionState.CAN_READ
        self._feed(events.ConnectionClosed(connection))

    def _feed(self, event: events.Event) -> None:
        """One event after the other, as in a real proxy: whatever a command brings about comes when the layer has done with the event."""
        self._coming.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._coming or (self.held and not self.hold):
                if not self._coming:
                    self.hook_done()
                    continue
                for command in self.layer.handle_event(self._coming.pop(0)):
                    self._obey(command)
        finally:
            self._busy = False

    def _obey(self, command: commands.Command) -> None:
        match command:
            case commands.SendData():
                key: Any = CLIENT if command.connection is self.client else command.connection
                if command.connection.state & ConnectionState.CAN_WRITE:
                    self.sent[key] = self.sent.get(key, b"") + command.data
            case commands.OpenConnection():
                self.opening.append(command)
            case commands.CloseConnection():
                self._close(command.connection)
            case commands.RequestWakeup():
                self.wakeups.append(command)
            case commands.StartHook():
                self.held.append(command)
            case commands.Log():
                assert command.level < 40, command.message
            case _:
                raise AssertionError(f"unexpected: {command}")

    def _close(self, connection: Connection) -> None:
        for command in self.opening:
            if command.connection is connection:  # a connect that is given up
                self.opening.remove(command)
                self._feed(events.OpenConnectionCompleted(command, "connection cancelled"))
                return
        if connection.state is not ConnectionState.CLOSED:
            closed = not connection.state & ConnectionState.CAN_READ  # the layer has seen the other end close
            connection.state = ConnectionState.CLOSED
            self.closed.append(connection)
            if not closed:
                self._feed(events.ConnectionClosed(connection))

    def _run(self, command: commands.StartHook) -> None:
        name, args = command.name, command.args()
        self.called[name] += 1
        for flow in args:
            if isinstance(flow, http.HTTPFlow) and flow not in self.flows:
                self.flows.append(flow)
        hook = self.hooks.get(name) or getattr(self.gateway, name, None)
        if hook is not None:
            result = self._in_loop(hook, args)
            assert result is None
        for flow in args:
            if isinstance(flow, http.HTTPFlow):
                for look in self.watch:
                    look(name, flow)
        if command.blocking:
            self._feed(events.HookCompleted(command))

    def _in_loop(self, hook: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        async def call() -> Any:
            result = hook(*args)
            return await result if asyncio.iscoroutine(result) else result

        return self.loop.run_until_complete(call())
