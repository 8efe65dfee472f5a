"""mitmproxy's Master and its options, as the gateway needs them."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from mitmproxy import options

from ccproxy import mitmproxy_patches
from ccproxy.addons.transport.hook_table import FixedChain
from ccproxy.addons.transport.mitmproxy_internals import Master, core, next_layer, proxyserver
from ccproxy.addons.transport.upstream_tls import UpstreamTls
from ccproxy.errors import StartError
from ccproxy.network import extra_certificates
from ccproxy.settings import Settings
from ccproxy.settings.files import replace_file
from ccproxy.settings.folders import data_dir, secured

if TYPE_CHECKING:
    pass


logger = logging.getLogger(__name__)


class TrimmedMaster(Master):
    """A Master whose chain does not change while it runs."""

    def __init__(self, opts: options.Options) -> None:
        super().__init__(opts)
        if mitmproxy_patches.enabled():
            self.addons = FixedChain(self)
            self._legacy_log_events.uninstall()


def install(made: Master, ours: list[Any]) -> None:
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
    return {"keep_alt_svc_header": True}  # a response's bytes are the upstream's, whichever other addons run


def ca_bundle() -> Path | None:
    """A file of the CAs that the environment names together with the usual ones, or None if it names none.

    mitmproxy trusts certifi alone, and a file given to it replaces that.

    Raises:
        StartError: a file that the environment names cannot be used.

    """
    extra = extra_certificates()
    if not extra:
        return None
    certificates = Path(certifi.where()).read_bytes() + b"\n" + extra.pem()
    bundle = data_dir() / "ca-bundle.pem"
    try:
        if not bundle.exists() or bundle.read_bytes() != certificates:
            replace_file(bundle, certificates)
    except OSError as error:  # a read-only home, a full disk
        logger.debug("%s cannot be written: %s", bundle, error)
        return _temporary_bundle(certificates, extra.variable)
    return bundle


def _temporary_bundle(certificates: bytes, variable: str) -> Path:
    """A file that lives as long as this process. mitmproxy reads it at every new connection."""
    try:
        handle, name = tempfile.mkstemp(prefix="ccproxy-ca-", suffix=".pem")
        atexit.register(Path(name).unlink, missing_ok=True)
        with os.fdopen(handle, "wb") as file:
            file.write(certificates)
    except OSError as error:
        raise StartError(
            f"The certificates of {variable} cannot be passed to mitmproxy: neither {data_dir()} nor "
            f"{tempfile.gettempdir()} is writable ({error.strerror})"
        ) from None
    return Path(name)


def plain_master(opts: options.Options, all_addons: bool) -> Master:  # noqa: FBT001
    """Mitmproxy with what a reverse proxy needs, or with all its addons where their options or scripts are asked for."""
    if all_addons:
        from mitmproxy.addons import default_addons

        made = Master(opts)
        made.addons.add(
            *(addon for addon in default_addons() if addon.__class__.__name__ not in {"TlsConfig", "Onboarding"})
        )
        made.addons.add(UpstreamTls())
    else:
        made = TrimmedMaster(opts)
        made.addons.add(core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), UpstreamTls())
    return made


@contextlib.contextmanager
def client_timeout(seconds: int) -> Iterator[None]:
    """Have clients' connections closed that are silent for so long, on mitmproxy 11.0 too."""
    before = mitmproxy_patches.set_client_timeout(seconds)
    try:
        yield
    finally:
        if before is not None:
            mitmproxy_patches.set_client_timeout(before)
