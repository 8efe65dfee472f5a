"""The network that this machine's environment describes: the corporate proxy and extra certificate authorities.

The one place that reads these variables, for logins, upstreams, model lists, `ccproxy doctor` and the Claude SDK:

- `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of the address, else `ALL_PROXY`, in upper or lower case, with user name
  and password if the URL has them. `NO_PROXY` lists exceptions: names, domain suffixes, `host:port`, IP addresses, CIDR
  ranges, `*`. Addresses of this machine never go through a proxy, and a proxy that is ccproxy itself is ignored.
- The first of `CA_VARIABLES` that is set names certificate authorities to trust in addition to certifi's.

An empty variable counts as unset.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ccproxy.errors import StartError

if TYPE_CHECKING:
    import ssl  # late where it is used, as urllib.request: most commands need neither

logger = logging.getLogger(__name__)

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
"""The names of this machine that need no look-up. `is_loopback` knows every other address of it."""

CA_VARIABLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
"""Strongest first. Each may name a file or a folder of files."""

_MAX_CA_BYTES: Final = 64 * 2**20
_MAX_CA_FILES: Final = 4096


class UnusableCertificates(StartError):
    """A variable of `CA_VARIABLES` names something that holds no certificates. The message names both."""


class CorporateProxy(NamedTuple):
    """An HTTP proxy between this machine and the internet."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        """The address without the login."""
        return f"{self.scheme}://{_in_url(self.host)}:{self.port}"

    @property
    def url_with_login(self) -> str:
        if not self.user:
            return self.url
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{self.scheme}://{login}@{_in_url(self.host)}:{self.port}"


class ExtraCertificates(NamedTuple):
    """Certificate authorities that the environment names, and the variable that does."""

    variable: str
    path: Path

    def files(self) -> list[Path]:
        """The file, or the files of the folder.

        Raises:
            UnusableCertificates: the path cannot be read or holds too much.

        """
        try:
            if not self.path.is_dir():
                return [self.path]
            # OpenSSL reads the names that c_rehash makes; other folders hold plain files.
            entries = [entry for _, entry in zip(range(_MAX_CA_FILES + 1), self.path.iterdir(), strict=False)]
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from None
        if len(entries) > _MAX_CA_FILES:
            raise self._unusable(f"has more than {_MAX_CA_FILES} files")
        hashed = [entry for entry in entries if len(entry.stem) == 8 and entry.suffix[1:].isdigit()]
        return sorted(hashed or [entry for entry in entries if entry.suffix in {".pem", ".crt", ".cer"}])

    def pem(self) -> bytes:
        """Every certificate, as PEM text.

        Raises:
            UnusableCertificates: a file cannot be read, holds too much or no certificate.

        """
        import ssl

        self.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        try:
            return b"\n".join(path.read_bytes() for path in self.files())
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let `context` trust these certificates too.

        Raises:
            UnusableCertificates: a file cannot be read, holds too much or no certificate.

        """
        import ssl

        files = self.files()
        try:
            if sum(file.stat().st_size for file in files) > _MAX_CA_BYTES:
                raise self._unusable(f"holds more than {_MAX_CA_BYTES // 2**20} MB")
            for file in files:
                context.load_verify_locations(cafile=file)
        except ssl.SSLError:
            raise self._unusable("is not a file of certificates in PEM format") from None
        except OSError as error:
            raise self._unusable(f"cannot be read: {error.strerror}") from None
        if not files:
            raise self._unusable("holds no certificates (*.pem, *.crt)")

    def _unusable(self, reason: str) -> UnusableCertificates:
        return UnusableCertificates(f"{self.variable} names {self.path}, which {reason}. Correct or unset it")


@dataclass(frozen=True, slots=True)
class Network:
    """How requests leave this machine. Times are seconds.

    connect_timeout, read_timeout   for requests to login servers
    own_ports                       the ports on which ccproxy itself listens
    """

    connect_timeout: float = 10
    read_timeout: float = 30
    own_ports: frozenset[int] = frozenset()

    def proxy_for(self, scheme: str, host: str, port: int) -> CorporateProxy | None:
        """The proxy between this machine and an address; None for a direct connection."""
        proxy = corporate_proxy(scheme, host, port)
        return None if proxy and is_loopback(proxy.host) and proxy.port in self.own_ports else proxy

    def ssl_context(self) -> ssl.SSLContext:
        """A client's context that trusts what traffic to upstreams trusts: certifi and `extra_certificates`.

        Raises:
            UnusableCertificates: the environment names certificates that cannot be used.

        """
        import ssl

        import certifi

        context = ssl.create_default_context(cafile=certifi.where())
        # Python 3.13 refuses CAs without key identifiers, which corporate ones often are; traffic to upstreams does not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if extra := extra_certificates():
            extra.load_into(context)
        return context


def corporate_proxy(scheme: str, host: str, port: int) -> CorporateProxy | None:
    """The proxy that the environment names for an address. Never one for this machine."""
    if is_loopback(host):
        return None
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or _is_excepted(host, port, proxies):
        return None
    try:
        return _parsed(url)
    except ValueError:
        logger.warning("The proxy in %s_PROXY or ALL_PROXY is not used: it must be http://HOST:PORT", scheme.upper())
        return None


def _parsed(url: str) -> CorporateProxy:
    """Raises `ValueError`."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(url)
    port = parts.port or (443 if parts.scheme == "https" else 8080)
    return CorporateProxy(
        parts.scheme, parts.hostname, port, unquote(parts.username or ""), unquote(parts.password or "")
    )


def extra_certificates(environ: Mapping[str, str] = os.environ) -> ExtraCertificates | None:
    """The certificate authorities to trust in addition to the usual ones, if the environment names some."""
    for name in CA_VARIABLES:
        if path := environ.get(name):
            return ExtraCertificates(name, Path(path))
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own. Names other than localhost may lead anywhere."""
    host = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def _is_excepted(host: str, port: int, proxies: Mapping[str, str]) -> bool:
    """Whether `NO_PROXY` lists the address."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

    if proxy_bypass_environment(f"{_in_url(host)}:{port}", proxies):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in proxies.get("no", "").split(","):
        with suppress(ValueError):
            if address in ipaddress.ip_network(entry.strip().removeprefix("[").removesuffix("]"), strict=False):
                return True
    return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
