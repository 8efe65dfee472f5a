"""Composition root: builds every object from the settings and passes it to the addons."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccproxy import __version__
from ccproxy.addons.chain import Parts, addons
from ccproxy.addons.gateway.endpoints import Report
from ccproxy.auth import setup
from ccproxy.auth.broker import Broker
from ccproxy.errors import ConfigError
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.location import check_url, ledger_location
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.permissions.audit import Audit
from ccproxy.permissions.broker import Decided, PermissionBroker
from ccproxy.permissions.rules import Rule, with_rule
from ccproxy.providers.claude_sdk import ClaudeSdkConfig, ClaudeSdkProvider, asked_by_tool
from ccproxy.providers.local import LocalProvider
from ccproxy.providers.mock import Mock
from ccproxy.providers.model_lists import ModelLists
from ccproxy.providers.registry import providers
from ccproxy.providers.routing import Router
from ccproxy.redaction import Redaction
from ccproxy.settings import Settings
from ccproxy.settings.files import read_file, replace_file
from ccproxy.settings.folders import config_dir, data_dir, runtime_dir
from ccproxy.settings.keys import SECTIONS
from ccproxy.settings.secrets import secrets_of
from ccproxy.settings.trust import is_changed, is_trusted, trust_content
from ccproxy.translate.replay import ReplayCache

if TYPE_CHECKING:
    from ccproxy.addons.watchers.both_sides import Viewer
    from ccproxy.addons.watchers.traffic import Observer


logger = logging.getLogger(__name__)

_REMEMBERING = threading.Lock()


def parts(settings: Settings, cli_token: str = "", config: Path | None = None) -> Parts:
    """Return everything that the addons need. `cli_token` is the token for the command line, `config` the configuration
    file unless it is the user's own.
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
    network = setup.network(settings.server.port)
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
        replay=ReplayCache(size, clock=time.monotonic, on_failure=_not_stored) if size else None,
        ledger=ledger,
        prices=PriceBook(settings.pricing.overrides, updated=data_dir() / "prices.json"),
        metrics=metrics,
        report=_report(settings, ledger) if ledger else None,
        permissions=permissions,
        tokens=tuple(filter(None, (settings.server.auth_token.get_secret_value(), cli_token))),
        asked_by_tool=asked_by_tool,
        redaction=redaction_for(settings, cli_token),
        has_login=lambda name: store.stamp(name) is not None,
        network=network,
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
        sections=SECTIONS,
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
    audited = partial(_audited, Audit(data_dir() / "permissions.jsonl"))
    return PermissionBroker(
        own.mode, _rules(settings), timeout=own.timeout, audit=audited, remember=partial(_remembered, config)
    )


def _rules(settings: Settings) -> list[Rule]:
    """The rules of `[permissions]`, compiled.

    Raises:
        ConfigError: one of them is malformed. A rule that is silently ignored would leave open what it denies.

    """
    rules = []
    for number, rule in enumerate(settings.permissions.rules):
        try:
            rules.append(Rule(rule.tool, rule.decision))
        except ValueError as error:
            raise ConfigError(f"permissions.rules[{number}]: {error}") from None
    return rules


def _audited(audit: Audit, decided: Decided) -> None:
    """A line in the log, and a row in the audit."""
    verdict = "allowed" if decided.allowed else "denied"
    logger.info("Tool %r %s by %s (%s)", decided.tool[:200], verdict, decided.by, decided.id)
    audit.put(decided.as_json())


def _remembered(config: Path | None, rule: Rule) -> None:
    """A rule that a person made for good goes into the configuration file that the next start will read."""
    with _REMEMBERING:
        path = Path(os.path.realpath(config or config_dir() / "config.toml"))
        before = read_file(path) if path.exists() else b""
        if is_changed(path, before):  # another user's content must not become trusted, nor seem to hold the rule
            raise ValueError(
                f"{path} has changed since you trusted it: check it, then run `ccproxy config trust {path}`"
            )
        trusted, after = is_trusted(path, before), with_rule(path, before, rule)
        replace_file(path, after)
        if trusted:  # these bytes, whatever is in the file by now
            trust_content(path, after)


def _not_stored(failure: Exception) -> None:
    logger.error("An answer could not be stored for later requests of its client", exc_info=failure)


def _report(settings: Settings, ledger: Ledger) -> Report:
    def report(by: str, since: str) -> dict[str, Any]:
        from ccproxy.ledger.report import By, parse_since, read_report

        ledger.flush(timeout=0.5)  # what cannot be written by now is not in the report
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
    settings: Settings, cli_token: str = "", observers: Sequence[Observer] = (), config: Path | None = None
) -> list[Any]:
    """ccproxy's addons, as configured; see `parts`."""
    return addons(parts(settings, cli_token, config), observers)


def both_sides_for(settings: Settings, cli_token: str, viewers: Sequence[Viewer]) -> list[Observer]:
    """The observer that makes flows of exchanges, if there are viewers."""
    if not viewers:
        return []
    from ccproxy.addons.watchers import contentview
    from ccproxy.addons.watchers.both_sides import BothSides

    contentview.register()
    return [BothSides(redaction_for(settings, cli_token), viewers)]


def redaction_for(settings: Settings, cli_token: str = "") -> Redaction:
    """What takes secrets out of all that people may see, the configured ones by their value."""
    return Redaction([*secrets_of(settings), cli_token])
