"""A running proxy: listen, serve, drain, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions, options

from ccproxy.addons.gateway.endpoints import PERMISSIONS_STREAM
from ccproxy.addons.transport.layer import Stopping
from ccproxy.addons.transport.mitmproxy_internals import Master
from ccproxy.addons.watchers.log_redaction import redacted_logs
from ccproxy.errors import StartError
from ccproxy.settings import Settings, runtime

if TYPE_CHECKING:
    pass


from ccproxy.server.descriptors import AcceptFailures
from ccproxy.server.listening import addresses, bind_failure, modes
from ccproxy.server.loop_watch import LoopWatch
from ccproxy.server.masters import client_timeout, gateway_options, install, optional_options, plain_master
from ccproxy.server.start_check import StartCheck
from ccproxy.server.wiring import addons_for, both_sides_for, redaction_for

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Extras:
    """What the command line knows besides the settings."""

    options: Sequence[str] = ()
    """`name=value`, as mitmproxy's `--set`."""
    scripts: Sequence[str] = ()
    record: Path | None = None
    record_append: bool = False
    """`record` continues what this proxy wrote before it was reloaded."""
    config: Path | None = None
    """The configuration file, unless it is the user's own."""
    web_open: bool = False

    @property
    def need_all_addons(self) -> bool:
        return bool(self.options or self.scripts)


@dataclass(slots=True)
class ProxyServer:
    """A proxy in this process."""

    settings: Settings
    extras: Extras = field(default_factory=Extras)
    hosts: tuple[str, ...] = ()
    port: int = 0
    """The port that it listens on, once it does."""
    web_url: str = ""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _master: Master | None = None
    _cli_token: str = field(default="", repr=False)
    _published: runtime.Published | None = None
    _stopping: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Listen until `stop` or `drain` is called.

        Raises:
            StartError: the port is taken, the address cannot be bound, or an addon failed at the start.

        """
        self.hosts, self.port = addresses(self.settings.server.host, self.settings.server.port)
        self._cli_token = runtime.new_token()
        with (
            client_timeout(self.settings.server.idle_timeout),
            redacted_logs(redaction_for(self.settings, self._cli_token)),
        ):
            self._master = self._make_master()
            check = StartCheck(self.started, self._publish_token)
            self._master.addons.add(check, LoopWatch(), AcceptFailures())
            try:
                await self._master.run()
            except OSError as error:  # mitmweb's own listener
                raise StartError(bind_failure(error)) from error
            finally:
                check.close()
                if self._published:
                    self._published.withdraw()
                # mitmproxy leaves listeners and connections to the end of the process.
                await self._proxyserver.servers.update(())
                await self._hang_up()

    @property
    def master(self) -> Master:
        """mitmproxy's master, once it runs."""
        assert self._master
        return self._master

    @property
    def cli_token(self) -> str:
        """The token with which ccproxy's own commands ask this proxy."""
        return self._cli_token

    def stop(self) -> None:
        """Stop at once: cut running responses."""
        self._stopping = asyncio.get_running_loop().create_task(self._stop(), name="stopping")

    async def drain(self) -> None:
        """Accept nothing new, give running responses their grace, then stop."""
        if self._master is None:
            return
        self._master.options.update(server=False)  # no new connections
        deadline = asyncio.get_running_loop().time() + self.settings.server.shutdown_grace
        while self.running_responses() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        await self._stop()

    def running_responses(self) -> int:
        """Return the number of responses that `drain` waits for.

        Streams for `ccproxy permissions watch` do not count: they end only with the proxy.
        """
        if self._master is None:
            return 0
        live = self._master.addons.get("gateway").live
        running = {client for client, exchange in live.items() if exchange.client.path != PERMISSIONS_STREAM}
        return len(running | (self._clients_behind() - live.keys()))

    async def _stop(self) -> None:
        if self._master is not None:
            self._master.options.update(server=False)
            await self._hang_up()
            self._master.shutdown()

    def _publish_token(self) -> None:
        """The port is ours now: of two proxies that start at once, only one gets here."""
        self._published = runtime.publish(self._cli_token, self.hosts, self.port)

    @property
    def _proxyserver(self) -> Any:
        assert self._master
        return self._master.addons.get("proxyserver")

    def _clients_behind(self) -> set[str]:
        """Ids of the client connections with bytes that the client has yet to read."""
        return {
            handler.client.id
            for handler in self._proxyserver.connections.values()
            for io in handler.transports.values()
            if io.writer and not io.writer.is_closing() and io.writer.transport.get_write_buffer_size()
        }

    async def _hang_up(self) -> None:
        """Close every connection, so that each exchange ends for its watchers."""
        assert self._master
        for exchange in self._master.addons.get("gateway").live.values():
            exchange.interrupt("ccproxy stopped")
            exchange.way.stop()
        connections = self._proxyserver.connections
        for handler in list(connections.values()):
            await handler.server_event(Stopping())
        for handler in connections.values():
            if (io := handler.transports.get(handler.client)) and io.handler:
                io.handler.cancel()
        deadline = asyncio.get_running_loop().time() + 1
        while connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    def _make_master(self) -> Master:
        opts = options.Options()
        viewers: list[Any] = []
        try:
            if self.settings.server.web:
                made, view = self._web_master(opts)
                viewers.append(view)
            else:
                made = plain_master(opts, self.extras.need_all_addons)
            if self.settings.server.web or self.extras.need_all_addons:
                from ccproxy.addons.watchers.mitmproxy_sinks import StockSinks

                sinks = StockSinks()
                made.addons.add(sinks)
                viewers.insert(0, sinks)
            if self.extras.record:
                from ccproxy.addons.watchers.record import Recorder

                recorder = Recorder(self.extras.record, append=self.extras.record_append)
                made.addons.add(recorder)
                viewers.append(recorder)
            observers = both_sides_for(self.settings, self._cli_token, viewers)
            install(made, addons_for(self.settings, self._cli_token, observers, self.extras.config))
            opts.update(**gateway_options(self.settings))
            opts.update_known(**optional_options())
            opts.update(mode=modes(self.hosts, self.port))
            if self.extras.scripts:
                opts.update(scripts=[str(Path(script).expanduser()) for script in self.extras.scripts])
            opts.set(*self.extras.options)
        except exceptions.OptionsError as error:
            raise StartError(f"mitmproxy does not take its options: {error}") from error
        return made

    def _web_master(self, opts: options.Options) -> tuple[Master, Any]:
        from ccproxy.addons.watchers.web import web_master

        server = self.settings.server
        made, view, self.web_url = web_master(
            opts, port=server.web_port, max_flows=server.web_max_flows, open_browser=self.extras.web_open
        )
        return made, view
