"""How this machine reaches others: the proxy and the CAs that its environment names, as companies have them."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

logger = logging.getLogger(__name__)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


class CompanyProxy(NamedTuple):
    """An HTTP proxy of the environment."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def company_proxy(scheme: str, host: str, port: int) -> CompanyProxy | None:
    """The proxy of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` for an address. Never one for this machine."""
    if host in LOOPBACK or host.startswith("127."):
        return None
    proxies = getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass_environment(f"{host}:{port}", proxies):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        logger.warning("a proxy of the environment is neither http:// nor https:// and is not used")
        return None
    default = 443 if parts.scheme == "https" else 8080
    login = unquote(parts.username or ""), unquote(parts.password or "")
    return CompanyProxy(parts.scheme, parts.hostname, parts.port or default, *login)


def extra_ca_file() -> str | None:
    """The file of CAs to trust besides the usual ones, if the environment names one."""
    return next((path for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if (path := os.environ.get(name))), None)
