"""The composition root: settings in, a running proxy out. With `ccproxy.addons` the only room that knows mitmproxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from mitmproxy import exceptions, log, master, options
from mitmproxy.addons import core, next_layer, proxyserver
from mitmproxy.proxy import server as proxy_server

from ccproxy import __version__
from ccproxy.addons.chain import Parts, addons
from ccproxy.addons.gateway.endpoints import Report
from ccproxy.addons.transport.hook_table import FixedChain
from ccproxy.addons.transport.upstream_tls import UpstreamTls
from ccproxy.addons.watchers.log_redaction import redacted_logs
from ccproxy.auth import setup
from ccproxy.auth.broker import Broker
from ccproxy.auth.clients import Network
from ccproxy.errors import StartError
from ccproxy.ledger.database import Ledger, check_url, ledger_location
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.network import extra_ca_file
from ccproxy.permissions.audit import Audit
from ccproxy.permissions.broker import Decided, PermissionBroker
from ccproxy.permissions.rules import Rule, save_rule
from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider, asked_by_tool
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.mock import Mock
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.redaction import Redaction
from ccproxy.settings import Settings, runtime
from ccproxy.settings.folders import config_dir, data_dir, private, runtime_dir, secured
from ccproxy.settings.secrets import secrets_of
from ccproxy.settings.trust import is_trusted, trust
from ccproxy.translate.replay import ReplayCache

if TYPE_CHECKING:
    from ccproxy.addons.transport.watched_stream import Watcher
    from ccproxy.addons.watchers.both_sides import Shown

logger = logging.getLogger(__name__)

UNROUTED = "http://unrouted.invalid"
"""Where mitmproxy would send what no route takes: a name that never resolves (RFC 6761). The gateway answers 404 before that."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What the command line knows besides the settings."""

    options: Sequence[str] = ()
    """`name=value`, as mitmproxy's `--set`."""
    scripts: Sequence[str] = ()
    record: Path | None = None
    config: Path | None = None
    """The file that the settings are from, if it is another than the user's own."""
    web_open: bool = False

    @property
    def need_all_addons(self) -> bool:
        return bool(self.options or self.scripts)


@dataclass(slots=True)
class Host:
    """A proxy in this process."""

    settings: Settings
    extras: Extras = field(default_factory=Extras)
    hosts: tuple[str, ...] = ()
    port: int = 0
    """The port that it listens on, once it does."""
    web_url: str = ""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    _master: master.Master | None = None
    _minted: str = field(default="", repr=False)

    async def run(self) -> None:
        """Listen until `stop` or `drain` is called.

        Raises:
            StartError: the port is taken, the address cannot be bound, or an addon failed at the start.

        """
        self.hosts, self.port = addresses(self.settings.server.host, self.settings.server.port)
        self._minted = runtime.mint(self.port)
        with (
            _idle_timeout(self.settings.server.idle_timeout),
            redacted_logs(redaction_for(self.settings, self._minted)),
        ):
            self._master = self._make_master()
            check = StartCheck(self)
            self._master.addons.add(check)
            try:
                await self._master.run()
            except OSError as error:  # mitmweb's own listener
                raise StartError(_bind_failure(error)) from error
            finally:
                check.close()
                runtime.forget(self.port, self._minted)
                # mitmproxy leaves listeners and connections to the end of the process.
                await self._proxyserver.servers.update(())
                await self._hang_up()

    def stop(self) -> None:
        """Stop at once."""
        if self._master:
            self._master.shutdown()

    async def drain(self) -> None:
        """Accept nothing new, give running answers their grace, then stop."""
        if self._master is None:
            return
        self._master.options.update(server=False)  # no new connections
        gateway = self._master.addons.get("gateway")
        deadline = asyncio.get_running_loop().time() + self.settings.server.shutdown_grace
        while (gateway.live or self._unsent()) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        await self._hang_up()
        self._master.shutdown()

    @property
    def _proxyserver(self) -> Any:
        assert self._master
        return self._master.addons.get("proxyserver")

    def _unsent(self) -> bool:
        """Whether a client has yet to take what was written to it."""
        return any(
            io.writer and not io.writer.is_closing() and io.writer.transport.get_write_buffer_size()
            for handler in self._proxyserver.connections.values()
            for io in handler.transports.values()
        )

    async def _hang_up(self) -> None:
        """Close every connection, so that each exchange ends for those who watch it."""
        connections = self._proxyserver.connections
        for handler in connections.values():
            if (io := handler.transports.get(handler.client)) and io.handler:
                io.handler.cancel()
        deadline = asyncio.get_running_loop().time() + 1
        while connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)

    def _make_master(self) -> master.Master:
        opts = options.Options()
        shown: list[Any] = []
        try:
            if self.settings.server.web:
                made, view = self._web_master(opts)
                shown.append(view)
            else:
                made = _plain_master(opts, self.extras.need_all_addons)
            if self.settings.server.web or self.extras.need_all_addons:
                from ccproxy.addons.watchers.mitmproxy_sinks import StockSinks

                sinks = StockSinks()
                made.addons.add(sinks)
                shown.insert(0, sinks)
            if self.extras.record:
                from ccproxy.addons.watchers.record import Recorder

                recorder = Recorder(self.extras.record)
                made.addons.add(recorder)
                shown.append(recorder)
            legs = legs_for(self.settings, self._minted, shown)
            install(made, addons_for(self.settings, self._minted, legs, self.extras.config))
            opts.update(**gateway_options(self.settings))
            opts.update_known(**optional_options())
            opts.update(mode=modes(self.hosts, self.port))
            if self.extras.scripts:
                opts.update(scripts=[str(Path(script).expanduser()) for script in self.extras.scripts])
            opts.set(*self.extras.options)
        except exceptions.OptionsError as error:
            raise StartError(f"mitmproxy does not take its options: {error}") from error
        return made

    def _web_master(self, opts: options.Options) -> tuple[master.Master, Any]:
        from ccproxy.addons.watchers.web import web_master

        server = self.settings.server
        made, view, self.web_url = web_master(
            opts, port=server.web_port, max_flows=server.web_max_flows, open_browser=self.extras.web_open
        )
        return made, view


class TrimmedMaster(master.Master):
    """A Master whose chain does not change while it runs."""

    def __init__(self, opts: options.Options) -> None:
        super().__init__(opts)
        self.addons = FixedChain(self)
        self._legacy_log_events.uninstall()  # no addon of this chain has the old `add_log` hook


class StartCheck:
    """Makes a failed start end the program: a trimmed Master would log the failure and run on without a listener."""

    name = "errorcheck"  # mitmproxy's Master asks the addon of this name

    def __init__(self, host: Host) -> None:
        self._host = host
        self._errors = _Errors()
        self._errors.install()

    async def shutdown_if_errored(self) -> None:
        """Raises StartError if anything has been logged as an error since the start."""
        await asyncio.sleep(0)  # log records of other tasks
        if self._errors.records:
            raise StartError("; ".join(dict.fromkeys(record.getMessage() for record in self._errors.records)))

    def finish(self) -> None:
        """The start is over, and well."""
        self._errors.uninstall()
        self._host.started.set()

    def close(self) -> None:
        self._errors.uninstall()


class _Errors(log.MitmLogHandler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)  # type: ignore[no-untyped-call]
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def parts(settings: Settings, minted: str = "", config: Path | None = None) -> Parts:
    """Everything that the addons are given. `minted` is the token for the command line, `config` the file that the
    settings are from, if it is another than the user's own.
    """
    router = Router(providers(settings))
    local: dict[str, LocalProvider] = {}
    if settings.providers.mock.enabled:
        local["mock"] = Mock()
    permissions = None
    if settings.providers.claude_sdk.enabled:
        permissions = _permissions(settings, config)
        local["claude_sdk"] = _claude_sdk(settings, permissions, config)
    store = setup.store(settings.auth.dir)
    network = Network(own_ports=frozenset({settings.server.port}))
    own_token = settings.server.auth_token
    ledger = _ledger(settings)
    metrics = Metrics(ledger_status=ledger.status if ledger else None, version=__version__)
    broker = Broker(
        store,
        setup.providers(settings.providers),
        network=network,
        own_token=own_token,
        refreshed=metrics.refreshed,
    )
    broker.check()
    size = settings.translate.replay_cache_mb * 2**20
    return Parts(
        settings=settings,
        router=router,
        locals=local,
        credentials=broker,
        lists=ModelLists(),
        replay=ReplayCache(size) if size else None,
        ledger=ledger,
        prices=PriceBook(settings.pricing.overrides, updated=data_dir() / "prices.json"),
        metrics=metrics,
        report=_report(settings, ledger) if ledger else None,
        permissions=permissions,
        tokens=tuple(filter(None, (settings.server.auth_token.get_secret_value(), minted))),
        asked_by_tool=asked_by_tool,
        redaction=redaction_for(settings, minted),
        has_login=lambda name: store.stamp(name) is not None,
    )


def _claude_sdk(settings: Settings, permissions: PermissionBroker, config_file: Path | None) -> ClaudeSdkProvider:
    own = settings.providers.claude_sdk
    config = ClaudeSdkConfig(
        mode=own.mode,
        cli_path=own.cli_path,
        cwd=own.cwd,
        setting_sources=own.setting_sources,
        tools=own.tools,
        mcp_servers=own.mcp_servers,
        permission_mode=own.permission_mode,
        show_tools=own.show_tools,
        env=own.env,
        api_key=own.api_key.get_secret_value(),
        base_url=own.base_url,
        max_processes=own.max_processes,
        queue=own.queue,
        prewarm=own.prewarm,
        session_ttl=own.session_ttl,
        session_busy=own.session_busy,
        closed=_closed(settings, config_file),
    )
    return ClaudeSdkProvider(config, broker=permissions)


def _closed(settings: Settings, config: Path | None) -> tuple[Path, ...]:
    """Where logins, tokens, and what decides about tools are kept."""
    logins = setup.store(settings.auth.dir).folder
    own = (runtime_dir(), logins, config_dir() / "config.toml", config_dir() / "trusted.json")
    return (*own, config.resolve()) if config else own


def _permissions(settings: Settings, config: Path | None) -> PermissionBroker:
    own = settings.permissions
    rules = [Rule(rule.tool, rule.decision) for rule in own.rules]
    return PermissionBroker(own.mode, rules, timeout=own.timeout, audit=_audited, remember=partial(_remembered, config))


def _audited(decided: Decided) -> None:
    """A line in the log, and a row in the audit."""
    verdict = "allowed" if decided.allowed else "denied"
    logger.info("tool %s %s by %s (%s)", decided.tool, verdict, decided.by, decided.id)
    Audit(data_dir() / "permissions.jsonl").put(decided.as_json())


def _remembered(config: Path | None, rule: Rule) -> None:
    """A rule that a person made for good goes into the configuration file that the next start will read."""
    path = config or config_dir() / "config.toml"
    trusted = path.exists() and is_trusted(path, path.read_bytes())
    save_rule(path, rule)
    if trusted:  # as it was before this very change
        trust(path)


def _report(settings: Settings, ledger: Ledger) -> Report:
    def report(by: str, since: str) -> dict[str, Any]:
        from ccproxy.ledger.report import By, parse_since, read_report

        ledger.flush()
        location = ledger_location(settings.ledger.url, data_dir())
        return read_report(location, By(by), parse_since(since, datetime.now().astimezone())).as_json()

    return report


def _ledger(settings: Settings) -> Ledger | None:
    if not settings.ledger.enabled:
        return None
    if settings.ledger.url and not settings.ledger.url.startswith(
        "sqlite:///"
    ):  # SQLite is in Python; checking others imports SQLAlchemy
        check_url(settings.ledger.url)
    return Ledger(ledger_location(settings.ledger.url, data_dir()), retention_days=settings.ledger.retention_days)


def addons_for(
    settings: Settings, minted: str = "", watchers: Sequence[Watcher] = (), config: Path | None = None
) -> list[Any]:
    """ccproxy's addons, as configured; see `parts`."""
    return addons(parts(settings, minted, config), watchers)


def legs_for(settings: Settings, minted: str, shown: Sequence[Shown]) -> list[Watcher]:
    """What makes exchanges fit to be looked at, if anybody looks."""
    if not shown:
        return []
    from ccproxy.addons.watchers import contentview
    from ccproxy.addons.watchers.both_sides import Legs

    contentview.register()
    return [Legs(redaction_for(settings, minted), shown)]


def redaction_for(settings: Settings, minted: str = "") -> Redaction:
    """What takes secrets out of all that people may see, the configured ones by their value."""
    return Redaction([*secrets_of(settings), minted])


def listen_modes(settings: Settings) -> list[str]:
    """mitmproxy's modes for where ccproxy listens.

    Raises:
        StartError: see `addresses`.

    """
    return modes(*addresses(settings.server.host, settings.server.port))


def modes(hosts: Sequence[str], port: int) -> list[str]:
    """mitmproxy's mode specs for these addresses."""
    return [f"reverse:{UNROUTED}@{host}:{port}" for host in hosts]


def install(made: master.Master, ours: list[Any]) -> None:
    """Put our addons before mitmproxy's own; see `ccproxy.addons.chain`."""
    made.addons.add(*ours)
    made.addons.chain[:] = [*ours, *(addon for addon in made.addons.chain if addon not in ours)]


def gateway_options(settings: Settings) -> dict[str, Any]:
    """Mitmproxy's options that the gateway depends on."""
    wanted: dict[str, Any] = {
        "connection_strategy": "lazy",  # the upstream is known only once the request is
        "keep_host_header": True,  # else mitmproxy overwrites Host before it can be checked
        "confdir": str(secured(data_dir()) / "mitmproxy"),
        "tcp_timeout": settings.server.idle_timeout,
    }
    if bundle := ca_bundle():
        wanted["ssl_verify_upstream_trusted_ca"] = str(bundle)
    known = options.Options()
    return {name: value for name, value in wanted.items() if name != "tcp_timeout" or name in known}


def optional_options() -> dict[str, Any]:
    """Options of mitmproxy's addons that only some hosts have."""
    return {"keep_alt_svc_header": True}  # an answer's bytes are the upstream's, whatever runs beside


def ca_bundle() -> Path | None:
    """A company's CAs together with the usual ones, or None if the environment names none.

    mitmproxy trusts certifi alone, and a file given to it replaces that.

    Raises:
        StartError: a file that the environment names cannot be read.

    """
    extra = extra_ca_file()
    if not extra:
        return None
    try:
        certificates = Path(certifi.where()).read_bytes() + b"\n" + Path(extra).read_bytes()
        bundle = private(data_dir()) / "ca-bundle.pem"
        if not bundle.exists() or bundle.read_bytes() != certificates:
            bundle.write_bytes(certificates)
    except OSError as error:
        raise StartError(f"the CAs of SSL_CERT_FILE or REQUESTS_CA_BUNDLE cannot be used: {error}") from error
    return bundle


def addresses(host: str, port: int) -> tuple[tuple[str, ...], int]:
    """The addresses to listen on and the port, a free one for port 0; 127.0.0.1 and ::1 go together.

    Raises:
        StartError: another program listens there, or the address is none of this machine's.

    """
    host = host.removeprefix("[").removesuffix("]")
    hosts = ("127.0.0.1", "::1") if host in {"127.0.0.1", "localhost", "::1"} else (host,)
    found = []
    for name in hosts:
        try:
            bound = _bindable(name, port)
        except OSError as error:
            if len(hosts) > 1 and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and name != host:
                continue  # no IPv6, or no IPv4, on this machine
            raise StartError(_bind_failure(error, name, port)) from error
        port = port or bound
        found.append(name)
    return tuple(found), port


def _bindable(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
        return int(probe.getsockname()[1])


def _bind_failure(error: OSError, host: str = "", port: int = 0) -> str:
    if not host:
        return str(error)
    where = f"{host} port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is taken by another program: choose another port with --port (or SERVER__PORT)"
    if error.errno == errno.EACCES:
        return f"{where} needs more rights: choose a port from 1024 up with --port"
    return f"cannot listen on {where}: {error.strerror or error} (see --host and --port)"


def _plain_master(opts: options.Options, all_addons: bool) -> master.Master:  # noqa: FBT001
    """Mitmproxy with what a reverse proxy needs, or with all its addons where their options or scripts are asked for."""
    if all_addons:
        from mitmproxy.addons import default_addons

        made = master.Master(opts)
        made.addons.add(
            *(addon for addon in default_addons() if addon.__class__.__name__ not in {"TlsConfig", "Onboarding"})
        )
        made.addons.add(UpstreamTls())
    else:
        made = TrimmedMaster(opts)
        made.addons.add(core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), UpstreamTls())
    return made


def set_idle_timeout(seconds: int) -> int | None:
    """Mitmproxy 11.0 has its client time-out as a constant, 12 as the option `tcp_timeout`. What it was before, None on 12."""
    before: int | None = getattr(proxy_server, "TCP_TIMEOUT", None)
    if before is not None:
        proxy_server.TCP_TIMEOUT = seconds  # type: ignore[attr-defined]
    return before


@contextlib.contextmanager
def _idle_timeout(seconds: int) -> Iterator[None]:
    before = set_idle_timeout(seconds)
    try:
        yield
    finally:
        if before is not None:
            set_idle_timeout(before)
