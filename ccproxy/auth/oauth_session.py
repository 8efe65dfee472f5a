"""The only door to requests-oauthlib: one session for one request to a vendor's OAuth server.

What it adds to the library:
- no redirect is followed and no `.netrc` read; requests go to the addresses of the `OAuthClient` only;
- the corporate proxy and CAs of `ccproxy.network` apply;
- an error keeps its real status, its code and `Retry-After`, and never the request, which holds secrets;
- a changed scope is not an error: the library raises after the single-use code is spent;
- the library's debug messages, which print tokens, stay off.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import requests
import urllib3
from oauthlib.oauth2 import OAuth2Error
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests_oauthlib import OAuth2Session

from ccproxy import __version__
from ccproxy.auth.clients import OAuthClient, is_loopback_url
from ccproxy.auth.token_responses import OAuthRefused, OAuthUnreachable, TokenResponse, mapping
from ccproxy.network import Network, UnusableCertificates
from ccproxy.providers.header_fields import number_in

for _noisy in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)  # at DEBUG they print tokens

T = TypeVar("T")

_MAX_RESPONSE = 2**20
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}


class Session(OAuth2Session):
    """requests-oauthlib with this module's manners."""

    def __init__(
        self,
        client: OAuthClient,
        network: Network,
        *,
        pkce: bool = False,
        redirect_uri: str | None = None,
        scopes: tuple[str, ...] | None = None,
        secrets: tuple[SecretStr, ...] = (),
    ) -> None:
        super().__init__(
            client_id=client.client_id, redirect_uri=redirect_uri, scope=scopes, pkce="S256" if pkce else None
        )
        self.trust_env = False  # neither .netrc nor the library's own reading of proxies: see `request`
        self.headers["User-Agent"] = f"ccproxy/{__version__}"
        self._network = network
        self._token_url = client.token_url
        self._secrets = secrets
        self._tokens: TokenResponse | None = None
        self._failure: Exception | None = None
        self.register_compliance_hook("access_token_response", self._take)
        self.register_compliance_hook("refresh_token_response", self._take)
        if is_loopback_url(client.token_url) and client.token_url.startswith("http:"):
            self.mount(secure_form(client.token_url), _PlainLoopback())

    @property
    def code_verifier(self) -> str:
        return str(self._code_verifier)  # type: ignore[attr-defined]  # set by the library's authorization_url

    def request(
        self, method: Any, url: Any, *args: Any, **options: Any
    ) -> requests.Response:  # the library's signature
        network = self._network
        options |= {"allow_redirects": False, "stream": True, "proxies": _proxies(network, str(url))}
        options["timeout"] = (network.connect_timeout, network.read_timeout)
        if not isinstance(self.get_adapter(str(url)), _PlainLoopback):
            self.mount("https://", _Trusting(self._network.ssl_context()))
        deadline = time.monotonic() + network.connect_timeout + network.read_timeout
        return _complete(super().request(method, url, *args, **options), deadline)

    def sent(self, method: str, url: str, **options: Any) -> requests.Response:
        """The response to a request other than for tokens. Raises `OAuthUnreachable`."""
        if is_loopback_url(url) and url.startswith("http:"):
            self.mount(secure_form(url), _PlainLoopback())
        headers = {**_JSON, **options.pop("headers", {})}
        with self:
            return _reached(lambda: self.request(method, secure_form(url), headers=headers, **options), url)

    def tokens(self, ask: Callable[[], None], *, need_access_token: bool) -> TokenResponse:
        """Run one of the library's token requests up to its response, which `_take` reads in the library's place."""

        def request() -> None:
            with self, suppress(_Taken):
                ask()

        _reached(request, self._token_url)
        if self._failure is not None:
            raise self._failure
        if self._tokens is None or (need_access_token and self._tokens.access_token is None):
            raise OAuthUnreachable(f"{host_of(self._token_url)} sent no access token")
        return self._tokens

    def _take(self, response: requests.Response) -> requests.Response:
        """Keep the tokens, or the failure, and leave the library.

        Its own parser loses the status and an object-shaped `error`, raises on a changed scope, and fails if the body
        is not a JSON object (`oauthlib.oauth2.rfc6749.parameters.parse_token_response`).
        """
        try:
            self._tokens = TokenResponse.from_json(checked(response, self._secrets))
        except (OAuthRefused, OAuthUnreachable) as failure:
            self._failure = failure
        raise _Taken


class _Taken(Exception):
    """The response is read: the library need not continue."""


class JsonBody(AuthBase):
    """Sends the library's form as JSON. Its request hook cannot: the library parses the body as a form after it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or ""
        fields = dict(parse_qsl(body.decode() if isinstance(body, bytes) else body))
        request.headers["Content-Type"] = "application/json"
        request.prepare_body(None, None, json=fields)
        return request


class NoAuth(AuthBase):
    """No Authorization header: a public client names itself in the body."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _PlainLoopback(HTTPAdapter):
    """Plain HTTP to a program on this machine.

    oauthlib refuses http:// unless OAUTHLIB_INSECURE_TRANSPORT is set, for the whole process and every host. So it gets
    https:// for an address that is known to be loopback, and this adapter, mounted for just that address, undoes it.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        request.url = "http://" + str(request.url).partition("://")[2]
        return super().send(request, *args, **options)


class _Trusting(HTTPAdapter):
    """TLS that trusts what traffic to upstreams trusts."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)


def secure_form(url: str) -> str:
    """The address for oauthlib, which accepts https:// only: see `_PlainLoopback`."""
    return "https://" + url.partition("://")[2] if is_loopback_url(url) else url


def _proxies(network: Network, url: str) -> dict[str, str]:
    """The proxy for `url` as requests takes it."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxy = network.proxy_for(parts.scheme, parts.hostname or "", port)
    return {parts.scheme: proxy.url_with_login} if proxy else {}


def _complete(response: requests.Response, deadline: float) -> requests.Response:
    """Read the body, up to a limit: a server that sends without end must not hold the login's lock indefinitely."""
    body = bytearray()
    try:
        while piece := response.raw.read1(16_384, decode_content=True):  # `iter_content` waits for whole pieces
            body += piece
            if len(body) > _MAX_RESPONSE:
                host = host_of(response.url)
                raise OAuthUnreachable(f"{host} sent more than {_MAX_RESPONSE // 1024} KB: check the addresses")
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout
    except urllib3.exceptions.TimeoutError:
        raise requests.exceptions.ReadTimeout from None
    except urllib3.exceptions.HTTPError:
        raise requests.exceptions.ConnectionError from None
    finally:
        response.close()
    response._content = bytes(body)  # noqa: SLF001 - what `response.content` would have kept
    response.encoding = response.encoding or "utf-8"  # else the library's debug line has it guessed
    return response


def _reached(ask: Callable[[], T], url: str) -> T:
    """Run a request; say what went wrong on the way without the exception, which holds the request and its secrets."""
    host = host_of(url)
    try:
        return ask()
    except (OAuthUnreachable, UnusableCertificates) as explained:
        message = str(explained)
    except requests.exceptions.SSLError:
        message = f"the certificate of {host} is not trusted: behind a corporate proxy, set SSL_CERT_FILE to its CA"
    except requests.exceptions.ProxyError:
        message = f"the proxy on the way to {host} refused or did not answer: check HTTPS_PROXY and NO_PROXY"
    except requests.exceptions.Timeout:
        message = f"{host} did not answer in time: check the network and try again"
    except requests.exceptions.ConnectionError:
        message = f"{host} could not be reached: check the network, HTTPS_PROXY and NO_PROXY"
    except (requests.exceptions.RequestException, OAuth2Error, OSError, ValueError) as error:
        message = f"the request to {host} failed ({type(error).__name__}): check HTTPS_PROXY and the addresses"
    raise OAuthUnreachable(message)


def checked(response: requests.Response, sent: tuple[SecretStr, ...] = ()) -> Mapping[str, object]:
    """The JSON object of a successful response, or the failure with its real status and without an echo of what was `sent`."""
    host, status = host_of(response.url), response.status_code
    if 300 <= status < 400:
        raise OAuthUnreachable(f"{host} answered with a redirect, which is not followed: check the addresses")
    body = _json_object(response)
    if status < 400 and "error" not in body:
        return body
    if status == 429 or status >= 500 or status == 408:
        raise OAuthUnreachable(f"{host} has no capacity now (status {status})", retry_after=_retry_after(response))
    code, words = _error(body)
    reason = f"{code}: {words}" if code and words else code or words or f"status {status}"
    for secret in filter(None, (each.get_secret_value() for each in sent)):
        reason = reason.replace(secret, "…")
    raise OAuthRefused(f"{host} refused ({reason})", status=status, code=code)


def _json_object(response: requests.Response) -> Mapping[str, object]:
    try:
        return mapping(json.loads(response.content))
    except (ValueError, RecursionError):
        return {}


def _error(body: Mapping[str, object]) -> tuple[str, str]:
    """Code and sentence of RFC 6749's `error` string, or of the object that both vendors also send."""
    error = body.get("error")
    detail = mapping(error)
    code = error if isinstance(error, str) else detail.get("code") or detail.get("type")
    words = body.get("error_description") or detail.get("message") or detail.get("error_description")
    return _printable(code, 60), _printable(words, 200)


def _printable(text: object, limit: int) -> str:
    return "".join(c for c in text if c.isprintable())[:limit] if isinstance(text, str) else ""


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    if (seconds := number_in(value)) is not None:
        return seconds
    try:
        return max((parsedate_to_datetime(value).astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def host_of(url: str | None) -> str:
    return urlsplit(url or "").hostname or "the login server"
