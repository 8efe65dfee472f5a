"""Every request to a vendor's OAuth server, as a blocking function.

Import this module late, because it brings the HTTP stack (`oauth_session`), and call it in a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.credentials import Login
from ccproxy.auth.oauth_session import JsonBody, NoAuth, Session, checked, host_of, secure_form
from ccproxy.auth.token_responses import DeviceCode, DeviceGrant, OAuthRefused, OAuthUnreachable, TokenResponse
from ccproxy.network import Network
from ccproxy.providers.header_fields import number_in


@dataclass(frozen=True, slots=True)
class Authorization:
    """A sign-in that has begun: the page to open, and what proves that the body belongs to it."""

    url: str
    state: SecretStr
    code_verifier: SecretStr
    redirect_uri: str


def authorize(client: OAuthClient, redirect_uri: str) -> Authorization:
    """Begin a sign-in with PKCE (RFC 7636). Nothing is sent."""
    session = Session(client, Network(), pkce=True, redirect_uri=redirect_uri, scopes=client.scopes)
    url, state = session.authorization_url(
        secure_form(client.authorize_url), state=secrets.token_urlsafe(32), **dict(client.authorize_params)
    )
    prefix = client.authorize_url.partition("://")[0] + "://"
    return Authorization(
        url=prefix + url.partition("://")[2],
        state=SecretStr(state),
        code_verifier=SecretStr(session.code_verifier),
        redirect_uri=redirect_uri,
    )


def exchange(client: OAuthClient, begun: Authorization, code: SecretStr, network: Network) -> TokenResponse:
    """Turn the authorization code into tokens. Raises `OAuthRefused`, `OAuthUnreachable`."""
    sent = (code, begun.code_verifier, begun.state)
    session = Session(client, network, redirect_uri=begun.redirect_uri, secrets=sent)
    extra: dict[str, Any] = {"state": begun.state.get_secret_value()} if client.json_exchange else {}

    def ask() -> None:
        session.fetch_token(
            secure_form(client.token_url),
            code=code.get_secret_value(),
            code_verifier=begun.code_verifier.get_secret_value(),
            include_client_id=True,
            auth=JsonBody() if client.json_exchange else NoAuth(),
            **extra,
        )

    return session.tokens(ask, need_access_token=True)


def exchange_device(client: OAuthClient, grant: DeviceGrant, network: Network) -> TokenResponse:
    """The exchange of a device login. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # only a client with device addresses gets a grant
    begun = Authorization(
        url="", state=SecretStr(""), code_verifier=grant.code_verifier, redirect_uri=client.device.redirect_uri
    )
    return exchange(client, begun, grant.code, network)


def refresh(client: OAuthClient, login: Login, network: Network) -> TokenResponse:
    """Spend the refresh token. Raises `OAuthRefused`, `OAuthUnreachable`.

    A server that no longer knows one of the scopes gets a second request without them.
    """
    try:
        return _refresh(client, login, network, scopes=login.scopes if client.refresh_with_scope else ())
    except OAuthRefused as error:
        if error.code != "invalid_scope":
            raise
    return _refresh(client, login, network, scopes=())


def _refresh(client: OAuthClient, login: Login, network: Network, *, scopes: tuple[str, ...]) -> TokenResponse:
    assert login.refresh_token is not None  # the caller has looked
    token = login.refresh_token
    session = Session(client, network, secrets=(token,))
    body = urlencode({"client_id": client.client_id, **({"scope": " ".join(scopes)} if scopes else {})})

    def ask() -> None:
        session.refresh_token(
            secure_form(client.token_url), refresh_token=token.get_secret_value(), body=body, auth=JsonBody()
        )

    return session.tokens(ask, need_access_token=False)


def revoke(client: OAuthClient, login: Login, network: Network) -> None:
    """Tell the vendor that this login has ended. Raises `OAuthRefused`, `OAuthUnreachable`."""
    token, hint = (
        (login.refresh_token, "refresh_token") if login.refresh_token else (login.access_token, "access_token")
    )
    body = {"token": token.get_secret_value(), "token_type_hint": hint, "client_id": client.client_id}
    checked(Session(client, network).sent("POST", client.revoke_url, json=body), (token,))


def device_code(client: OAuthClient, network: Network) -> DeviceCode:
    """Ask for a code that a person types on another device. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # only a client with device addresses gets here
    body = checked(Session(client, network).sent("POST", client.device.code, json={"client_id": client.client_id}))
    device_auth_id, user_code = body.get("device_auth_id"), body.get("user_code") or body.get("usercode")
    if not isinstance(device_auth_id, str) or not isinstance(user_code, str):
        raise OAuthUnreachable(f"{host_of(client.device.code)} sent no device code")
    interval = number_in(str(body.get("interval")))
    return DeviceCode(SecretStr(device_auth_id), user_code, min(max(5.0 if interval is None else interval, 1.0), 60.0))


def device_grant(client: OAuthClient, device: DeviceCode, network: Network) -> DeviceGrant | None:
    """Ask whether the person has allowed it; None: not yet. Raises `OAuthRefused`, `OAuthUnreachable`."""
    assert client.device is not None  # a `DeviceCode` came from these addresses
    body = {"device_auth_id": device.device_auth_id.get_secret_value(), "user_code": device.user_code}
    response = Session(client, network).sent("POST", client.device.poll, json=body)
    if response.status_code in {403, 404}:
        return None
    granted = checked(response, (device.device_auth_id,))
    code, verifier = granted.get("authorization_code"), granted.get("code_verifier")
    if not isinstance(code, str) or not isinstance(verifier, str):
        raise OAuthUnreachable(f"{host_of(client.device.poll)} sent no authorization code")
    return DeviceGrant(SecretStr(code), SecretStr(verifier))


def query(client: OAuthClient, url: str, headers: Mapping[str, SecretStr], network: Network) -> Mapping[str, object]:
    """GET a JSON document of the provider with a login's headers. Raises `OAuthRefused`, `OAuthUnreachable`."""
    plain = {name: value.get_secret_value() for name, value in headers.items()}
    return checked(Session(client, network).sent("GET", url, headers=plain), tuple(headers.values()))
