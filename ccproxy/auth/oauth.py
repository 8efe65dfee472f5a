"""The only door to requests-oauthlib: every request to a vendor's OAuth server, as a blocking function.

Import this module late (it brings the HTTP stack) and call it in a thread. Added to what the library does by itself:
- no redirect is followed and no `.netrc` read; only the addresses of the `OAuthClient` are asked;
- company proxies (`HTTPS_PROXY`, `NO_PROXY`) and CAs are honoured, but never a proxy that is ccproxy itself;
- an error keeps its real status, its code and `Retry-After`, and never the request, which holds secrets;
- a changed scope is no error: the library raises after the single-use code is spent;
- its debug messages, which print tokens, stay off.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from oauthlib.oauth2 import OAuth2Error
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies
from requests_oauthlib import OAuth2Session

from ccproxy import __version__
from ccproxy.auth.answers import DeviceCode, DeviceGrant, OAuthRefused, OAuthUnreachable, TokenAnswer, mapping
from ccproxy.auth.clients import Network, OAuthClient, is_loopback
from ccproxy.auth.credentials import Login
from ccproxy.providers.header_fields import number_in

for _noisy in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)  # at DEBUG they print tokens

T = TypeVar("T")

_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Authorization:
    """A sign-in that has begun: the page to open, and what proves that the answer belongs to it."""

    url: str
    state: SecretStr
    code_verifier: SecretStr
    redirect_uri: str


def authorize(client: OAuthClient, redirect_uri: str) -> Authorization:
    """Begin a sign-in with PKCE (RFC 7636). Nothing is sent."""
    session = _Session(client, Network(), pkce=True, redirect_uri=redirect_uri, scopes=client.scopes)
    url, state = session.authorization_url(
        _told(client.authorize_url), state=secrets.token_urlsafe(32), **dict(client.authorize_params)
    )
    prefix = client.authorize_url.partition("://")[0] + "://"
    return Authorization(
        url=prefix + url.partition("://")[2],
        state=SecretStr(state),
        code_verifier=SecretStr(session.code_verifier),
        redirect_uri=redirect_uri,
    )


def exchange(client: OAuthClient, begun: Authorization, code: SecretStr, network: Network) -> TokenAnswer:
    """Turn the authorization code into tokens. Raises `OAuthRefused`, `OAuthUnreachable`."""
    sent = (code, begun.code_verifier, begun.state)
    session = _Session(client, network, redirect_uri=begun.redirect_uri, secrets=sent)
    extra: dict[str, Any] = {"state": begun.state.get_secret_value()} if client.json_exchange else {}

    def ask() -> None:
        session.fetch_token(
            _told(client.token_url),
            code=code.get_secret_value(),
            code_verifier=begun.code_verifier.get_secret_value(),
            include_client_id=True,
            auth=_JsonBody() if client.json_exchange else _NoAuth(),
            **extra,
        )

    return session.tokens(ask, need_access_token=True)


def exchange_device(client: OAuthClient, grant: DeviceGrant, network: Network) -> TokenAnswer:
    """The exchange of a device login. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # only a client with device addresses gets a grant
    begun = Authorization(
        url="", state=SecretStr(""), code_verifier=grant.code_verifier, redirect_uri=client.device.redirect_uri
    )
    return exchange(client, begun, grant.code, network)


def refresh(client: OAuthClient, login: Login, network: Network) -> TokenAnswer:
    """Spend the refresh token. Raises `OAuthRefused`, `OAuthUnreachable`.

    A server that no longer knows one of the scopes is asked once more without them.
    """
    try:
        return _refresh(client, login, network, scopes=login.scopes if client.refresh_with_scope else ())
    except OAuthRefused as error:
        if error.code != "invalid_scope":
            raise
    return _refresh(client, login, network, scopes=())


def _refresh(client: OAuthClient, login: Login, network: Network, *, scopes: tuple[str, ...]) -> TokenAnswer:
    assert login.refresh_token is not None  # the caller has looked
    token = login.refresh_token
    session = _Session(client, network, secrets=(token,))
    body = urlencode({"client_id": client.client_id, **({"scope": " ".join(scopes)} if scopes else {})})

    def ask() -> None:
        session.refresh_token(
            _told(client.token_url), refresh_token=token.get_secret_value(), body=body, auth=_JsonBody()
        )

    return session.tokens(ask, need_access_token=False)


def revoke(client: OAuthClient, login: Login, network: Network) -> None:
    """Tell the vendor that this login has ended. Raises `OAuthRefused`, `OAuthUnreachable`."""
    token, hint = (
        (login.refresh_token, "refresh_token") if login.refresh_token else (login.access_token, "access_token")
    )
    body = {"token": token.get_secret_value(), "token_type_hint": hint, "client_id": client.client_id}
    _judged(_Session(client, network).sent("POST", client.revoke_url, json=body), (token,))


def device_code(client: OAuthClient, network: Network) -> DeviceCode:
    """Ask for a code that a person types on another device. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # only a client with device addresses gets here
    answer = _judged(_Session(client, network).sent("POST", client.device.code, json={"client_id": client.client_id}))
    device_auth_id, user_code = answer.get("device_auth_id"), answer.get("user_code") or answer.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        raise OAuthUnreachable(f"{_host(client.device.code)} sent no device code")
    interval = number_in(str(answer.get("interval")))
    return DeviceCode(SecretStr(device_auth_id), user_code, min(max(5.0 if interval is None else interval, 1.0), 60.0))


def device_grant(client: OAuthClient, device: DeviceCode, network: Network) -> DeviceGrant | None:
    """Ask whether the person has allowed it; None: not yet. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # a `DeviceCode` came from these addresses
    body = {"device_auth_id": device.device_auth_id.get_secret_value(), "user_code": device.user_code}
    response = _Session(client, network).sent("POST", client.device.poll, json=body)
    if response.status_code in {403, 404}:
        return None
    answer = _judged(response, (device.device_auth_id,))
    code, verifier = answer.get("authorization_code"), answer.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        raise OAuthUnreachable(f"{_host(client.device.poll)} sent no authorization code")
    return DeviceGrant(SecretStr(code), SecretStr(verifier))


def query(client: OAuthClient, url: str, headers: Mapping[str, SecretStr], network: Network) -> Mapping[str, object]:
    """GET a JSON document of the provider with a login's headers. Raises `OAuthRefused`, `OAuthUnreachable`."""
    plain = {name: value.get_secret_value() for name, value in headers.items()}
    return _judged(_Session(client, network).sent("GET", url, headers=plain), tuple(headers.values()))


class _Session(OAuth2Session):
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
        self._answer: TokenAnswer | None = None
        self._failure: Exception | None = None
        self.register_compliance_hook("access_token_response", self._take)
        self.register_compliance_hook("refresh_token_response", self._take)
        if is_loopback(client.token_url) and client.token_url.startswith("http:"):
            self.mount(_told(client.token_url), _PlainLoopback())

    @property
    def code_verifier(self) -> str:
        return str(self._code_verifier)  # type: ignore[attr-defined]  # set by the library's authorization_url

    def request(
        self, method: Any, url: Any, *args: Any, **options: Any
    ) -> requests.Response:  # the library's signature
        options["allow_redirects"] = False
        options["timeout"] = (self._network.connect_timeout, self._network.read_timeout)
        options["proxies"] = _proxies(self._network, str(url))
        if (context := _company_context()) is not None:
            self.mount("https://", _Trusting(context))
        return super().request(method, url, *args, **options)

    def sent(self, method: str, url: str, **options: Any) -> requests.Response:
        """The response to a request that is no token request. Raises `OAuthUnreachable`."""
        if is_loopback(url) and url.startswith("http:"):
            self.mount(_told(url), _PlainLoopback())
        headers = {**_JSON, **options.pop("headers", {})}
        with self:
            return _reached(lambda: self.request(method, _told(url), headers=headers, **options), url)

    def tokens(self, ask: Callable[[], None], *, need_access_token: bool) -> TokenAnswer:
        """Run one of the library's token requests up to its answer, which `_take` reads in the library's place."""

        def asked() -> None:
            with self, suppress(_Taken):
                ask()

        _reached(asked, self._token_url)
        if self._failure is not None:
            raise self._failure
        if self._answer is None or (need_access_token and self._answer.access_token is None):
            raise OAuthUnreachable(f"{_host(self._token_url)} sent no access token")
        return self._answer

    def _take(self, response: requests.Response) -> requests.Response:
        """Keep the answer, or the failure, and leave the library.

        Its own parser loses the status and an object-shaped `error`, raises on a changed scope, and stumbles over what
        is no JSON object (`oauthlib.oauth2.rfc6749.parameters.parse_token_response`).
        """
        try:
            self._answer = TokenAnswer.from_json(_judged(response, self._secrets))
        except (OAuthRefused, OAuthUnreachable) as failure:
            self._failure = failure
        raise _Taken


class _Taken(Exception):
    """The answer is read: the library need not go on."""


class _JsonBody(AuthBase):
    """Sends the library's form as JSON. Its request hook cannot: the library parses the body as a form after it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or ""
        fields = dict(parse_qsl(body.decode() if isinstance(body, bytes) else body))
        request.headers["Content-Type"] = "application/json"
        request.prepare_body(None, None, json=fields)
        return request


class _NoAuth(AuthBase):
    """No Authorization header: a public client names itself in the body."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _PlainLoopback(HTTPAdapter):
    """Plain HTTP to a program on this machine.

    oauthlib refuses http:// unless OAUTHLIB_INSECURE_TRANSPORT is set, for the whole process and every host. So it is
    told https:// for an address that is known to be loopback, and this adapter, mounted for just that, puts it right.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        request.url = "http://" + str(request.url).partition("://")[2]
        return super().send(request, *args, **options)


class _Trusting(HTTPAdapter):
    """TLS that trusts a company's CAs besides the usual ones, which requests loads into the same context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)


def _told(url: str) -> str:
    """What oauthlib is told instead of http:// on loopback."""
    return "https://" + url.partition("://")[2] if is_loopback(url) else url


def _proxies(network: Network, url: str) -> dict[str, str]:
    """The proxies of the environment for `url`, without ccproxy: it would wait for itself."""
    if is_loopback(url):
        return {}
    found: dict[str, str] = dict(get_environ_proxies(url))
    return {scheme: proxy for scheme, proxy in found.items() if not _is_own(network, proxy)}


def _is_own(network: Network, proxy: str) -> bool:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        return is_loopback(url) and urlsplit(url).port in network.own_ports
    except ValueError:
        return False


def _company_context() -> ssl.SSLContext | None:
    """A context with the CAs that the environment names; None where it names none."""
    for name in _CA_VARIABLES:
        path = os.environ.get(name)
        if not path:
            continue
        context = ssl.create_default_context()
        try:
            if Path(path).is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except OSError as error:
            reason = "is no file of certificates" if isinstance(error, ssl.SSLError) else "cannot be read"
            raise OAuthUnreachable(f"{name} names {path}, which {reason}: correct or unset it") from None
        return context
    return None


def _reached(ask: Callable[[], T], url: str) -> T:
    """Run a request; say what went wrong on the way without the exception, which holds the request and its secrets."""
    host = _host(url)
    try:
        return ask()
    except OAuthUnreachable as known:
        message = str(known)
    except requests.exceptions.SSLError:
        message = (
            f"the certificate of {host} is not trusted: with a company proxy in between, set SSL_CERT_FILE to its CA"
        )
    except requests.exceptions.ProxyError:
        message = f"the proxy on the way to {host} refused or did not answer: check HTTPS_PROXY and NO_PROXY"
    except requests.exceptions.Timeout:
        message = f"{host} did not answer in time: check the network and try again"
    except requests.exceptions.ConnectionError:
        message = f"{host} could not be reached: check the network, HTTPS_PROXY and NO_PROXY"
    except (requests.exceptions.RequestException, OAuth2Error, OSError, ValueError) as error:
        message = f"the request to {host} failed ({type(error).__name__}): check HTTPS_PROXY and the addresses"
    raise OAuthUnreachable(message)


def _judged(response: requests.Response, sent: tuple[SecretStr, ...] = ()) -> Mapping[str, object]:
    """The JSON object of a good answer, or the failure with its real status and without an echo of what was `sent`."""
    host, status = _host(response.url), response.status_code
    if 300 <= status < 400:
        raise OAuthUnreachable(f"{host} answered with a redirect, which is not followed: check the addresses")
    body = _json_object(response)
    if status < 400 and "error" not in body:
        return body
    if status == 429 or status >= 500 or status == 408:
        raise OAuthUnreachable(f"{host} has no capacity now (status {status})", retry_after=_retry_after(response))
    code, words = _error(body)
    said = f"{code}: {words}" if code and words else code or words or f"status {status}"
    for secret in filter(None, (each.get_secret_value() for each in sent)):
        said = said.replace(secret, "…")
    raise OAuthRefused(f"{host} refused ({said})", status=status, code=code)


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
        moment = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):  # not a date, or one that no time zone can move
        return None
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _host(url: str | None) -> str:
    return urlsplit(url or "").hostname or "the login server"
