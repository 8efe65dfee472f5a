"""OAuth clients as values: the addresses of a vendor's login and the format of its token endpoint.

Everything here may move without notice and is therefore configuration (`[providers.NAME.oauth]`) with these defaults.
They are what the vendors' own programs used in November 2026 (Claude Code 2.1.330, Codex CLI 0.169.0), except for
names: ccproxy says that it is ccproxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ccproxy.auth.credentials import ClaudeLogin, CodexLogin, Login
from ccproxy.errors import ConfigError
from ccproxy.network import is_loopback


@dataclass(frozen=True, slots=True)
class DeviceUrls:
    """OpenAI's device login: where to ask for a code, to poll for the grant, and to send the person."""

    code: str
    poll: str
    page: str
    redirect_uri: str  # for the exchange only; no browser goes there


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """One vendor's OAuth, complete: no flow in `login` and no request in `oauth` depends on a vendor's name."""

    provider: str  # the settings' name, and the name of the login's file
    title: str  # in messages
    command: str  # what signs in
    login: type[Login]
    terms: tuple[str, str]  # two lines that `auth login` shows
    client_id: str
    authorize_url: str
    token_url: str
    redirect_uri: str  # loopback; without a port: any free one
    scopes: tuple[str, ...]
    fallback_ports: tuple[int, ...] = ()  # where the vendor allows no others
    manual_redirect_uri: str = ""  # the vendor's page that shows a code to paste
    authorize_params: tuple[tuple[str, str], ...] = ()
    json_exchange: bool = False  # the code is exchanged with a JSON body that repeats the state
    refresh_with_scope: bool = False
    revoke_url: str = ""
    device: DeviceUrls | None = None
    limits_url: str = ""
    profile_url: str = ""

    def configured(
        self,
        *,
        client_id: str = "",
        authorize_url: str = "",
        token_url: str = "",
        redirect_uri: str = "",
        scopes: str | Sequence[str] = (),
        base_url: str = "",
    ) -> OAuthClient:
        """A copy with the settings of `[providers.NAME.oauth]` and `base_url` in it; empty values change nothing.

        A token goes only to hosts that are configured: with another `token_url`, the addresses for revocation and
        device codes move to its host, and those for limits and profile follow `base_url`. A loopback `redirect_uri` is
        where ccproxy listens; any other is the page that shows the code to paste. Raises `ConfigError`.
        """
        for key, url in (("authorize_url", authorize_url), ("token_url", token_url)):
            if url and not is_safe(url):
                raise _wrong(self, key, url, "https://, or with http:// and a loopback address such as 127.0.0.1")
        client = _moved(self, token_url) if token_url else self
        if redirect_uri:
            client = _answered_at(client, redirect_uri)
        if base_url:
            client = _limits_from(client, base_url.rstrip("/"))
        words = scopes.split() if isinstance(scopes, str) else scopes
        return replace(
            client,
            client_id=client_id or client.client_id,
            authorize_url=authorize_url or client.authorize_url,
            scopes=tuple(words) or client.scopes,
        )

    @property
    def limits_allowed(self) -> bool:
        """A token of a server on loopback, a test's, is never shown to a real host."""
        return is_safe(self.limits_url) and (is_loopback_url(self.limits_url) or not is_loopback_url(self.token_url))


def _moved(client: OAuthClient, token_url: str) -> OAuthClient:
    """`client` with its token endpoint at `token_url`, and what belongs to it on the same host."""
    moved = replace(client, token_url=token_url)
    origin = _origin(token_url)
    if origin == _origin(client.token_url):
        return moved
    if client.device is not None:
        urls = (client.device.code, client.device.poll, client.device.page, client.device.redirect_uri)
        moved = replace(moved, device=DeviceUrls(*(origin + urlsplit(url).path for url in urls)))
    return replace(moved, revoke_url=client.revoke_url and origin + urlsplit(client.revoke_url).path)


def _answered_at(client: OAuthClient, redirect_uri: str) -> OAuthClient:
    if not is_safe(redirect_uri):
        raise _wrong(client, "redirect_uri", redirect_uri, "https://, or with http:// and a loopback address")
    if not is_loopback_url(redirect_uri):
        return replace(client, manual_redirect_uri=redirect_uri)
    if urlsplit(redirect_uri).scheme != "http":
        raise _wrong(client, "redirect_uri", redirect_uri, "http:// on a loopback address")
    return replace(client, redirect_uri=redirect_uri, fallback_ports=())


def _limits_from(client: OAuthClient, base_url: str) -> OAuthClient:
    limits = base_url.removesuffix("/codex") + "/wham/usage" if client.device else base_url + "/api/oauth/usage"
    return replace(
        client,
        limits_url=client.limits_url and limits,
        profile_url=client.profile_url and base_url + "/api/oauth/profile",
    )


def _wrong(client: OAuthClient, key: str, value: str, accepted: str) -> ConfigError:
    text = value if "@" not in value else "an address with user info"
    return ConfigError(f"providers.{client.provider}.oauth.{key} is {text!r}: it must begin with {accepted}")


def is_loopback_url(url: str) -> bool:
    """Whether an address is one of this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def is_safe(url: str) -> bool:
    """An address that may be given a secret: TLS, or a program on this machine. User info would end up in logs."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError if the port is not a number
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


CLAUDE = OAuthClient(
    provider="claude_api",
    title="Claude",
    command="ccproxy auth login",
    login=ClaudeLogin,
    terms=(
        "Anthropic's published terms do not let other programs hold a Claude login; it may refuse, bill or block this.",
        "Go on for yourself alone, at your own judgement. Clean: an API key, or /claude (docs/explanation/terms.md).",
    ),
    client_id="9d1c250a-e61b-44d9-88ed-5944d1962f5e",
    authorize_url="https://claude.ai/oauth/authorize",
    token_url="https://platform.claude.com/v1/oauth/token",  # noqa: S106 - an address
    redirect_uri="http://localhost/callback",
    manual_redirect_uri="https://platform.claude.com/oauth/code/callback",
    scopes=("user:profile", "user:inference", "user:sessions:claude_code", "user:mcp_servers", "user:file_upload"),
    authorize_params=(("code", "true"),),
    json_exchange=True,
    refresh_with_scope=True,
    revoke_url="https://platform.claude.com/v1/oauth/revoke",
    limits_url="https://api.anthropic.com/api/oauth/usage",
    profile_url="https://api.anthropic.com/api/oauth/profile",
)

CODEX = OAuthClient(
    provider="codex",
    title="ChatGPT",
    command="ccproxy auth login-openai",
    login=CodexLogin,
    terms=(
        "OpenAI has welcomed ChatGPT plans in other open tools, but no term grants it; sharing accounts is forbidden.",
        "Go on for yourself alone, at your own judgement. Clean: an API key (docs/explanation/terms.md).",
    ),
    client_id="app_EMoamEEZ73f0CkXaXp7hrann",
    authorize_url="https://auth.openai.com/oauth/authorize",
    token_url="https://auth.openai.com/oauth/token",  # noqa: S106 - an address
    redirect_uri="http://127.0.0.1:1455/auth/callback",
    fallback_ports=(1457,),
    scopes=("openid", "profile", "email", "offline_access"),
    authorize_params=(
        ("id_token_add_organizations", "true"),
        ("codex_cli_simplified_flow", "true"),
        ("originator", "ccproxy"),
    ),
    revoke_url="https://auth.openai.com/oauth/revoke",
    device=DeviceUrls(
        code="https://auth.openai.com/api/accounts/deviceauth/usercode",
        poll="https://auth.openai.com/api/accounts/deviceauth/token",
        page="https://auth.openai.com/codex/device",
        redirect_uri="https://auth.openai.com/deviceauth/callback",
    ),
    limits_url="https://chatgpt.com/backend-api/wham/usage",
)
