"""TLS towards upstreams, without the certificate authority that a forward proxy makes for its clients.

ccproxy's clients speak plain HTTP to loopback. So no key is made, nothing is written at the start, and a read-only home directory does not matter.
"""

from __future__ import annotations

from mitmproxy import http

from ccproxy.addons.transport.mitmproxy_internals import TlsConfig

_CERTIFICATES = frozenset({"confdir", "certs", "key_size", "cert_passphrase"})


class UpstreamTls(TlsConfig):
    """mitmproxy's TlsConfig without its certificate store."""

    name = "tlsconfig"

    def configure(self, updated: set[str]) -> None:
        super().configure(updated - _CERTIFICATES)  # type: ignore[no-untyped-call]

    def running(self) -> None:
        """Mitmproxy's makes the certificate store here, if nothing has made it before."""

    def request(self, flow: http.HTTPFlow) -> None:
        """Mitmproxy 12 serves its certificate authority's revocation list here; there is none."""
