"""What is particular to each client: versions with known trouble, base URLs, proxies, its own files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ccproxy.cli.checks.finding import Finding, broken, ok, skipped, warn
from ccproxy.cli.running import Address
from ccproxy.errors import ExchangeError
from ccproxy.network import LOOPBACK, is_loopback
from ccproxy.providers.routing import Router
from ccproxy.providers.spec import Operation
from ccproxy.settings import Settings

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What versions of a client before `fixed_in` do."""

    fixed_in: Version
    what: str
    fix: str


TROUBLES: dict[str, tuple[Trouble, ...]] = {
    "claude": (
        Trouble(
            (2, 1, 181),
            "a block of its system prompt changes from request to request, so the vendor's prompt cache never hits",
            "claude update",
        ),
        Trouble(
            (2, 1, 223),
            "model discovery shows only names that begin with claude or anthropic",
            "claude update",
        ),
    ),
    "codex": (
        Trouble(
            (0, 145, 0),
            "it tries a WebSocket again and again where it is told to use HTTP (426)",
            "npm install -g @openai/codex@latest, or start it by ccproxy run codex, which switches WebSockets off",
        ),
    ),
}
"""From the clients' public issue trackers and changelogs."""

INSTALL = {
    "claude": "npm install -g @anthropic-ai/claude-code",
    "codex": "npm install -g @openai/codex",
    "aider": "pipx install aider-chat",
    "opencode": "npm install -g opencode-ai",
    "llm": "pipx install llm",
}

_BASES = {
    "ANTHROPIC_BASE_URL": ("/v1/messages", False),
    "ANTHROPIC_API_BASE": ("/v1/messages", False),
    "OPENAI_BASE_URL": ("/chat/completions", True),
    "OPENAI_API_BASE": ("/chat/completions", True),
}
"""What clients add to each base URL, and whether it is to end in /v1."""


def parse_version(text: str) -> Version | None:
    """The first version in what a program prints."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def installed(name: str, path: str | None, version: Version | None) -> list[Finding]:
    """The program, and what is known of its version."""
    if path is None:
        return [broken(name, f"{name} is not on PATH", "there is nothing to run", INSTALL.get(name, f"install {name}"))]
    if version is None:
        return [
            warn(name, f"{path} does not tell its version", "known troubles cannot be looked up", f"{name} --version")
        ]
    shown = ".".join(map(str, version))
    found = [
        warn(name, f"version {shown}", trouble.what, trouble.fix)
        for trouble in TROUBLES.get(name, ())
        if version < trouble.fixed_in
    ]
    return found or [ok(name, f"{shown} ({path})")]


def base_urls(environ: Mapping[str, str], address: Address, router: Router) -> list[Finding]:
    """The variables that point clients somewhere: do they point at a route of the ccproxy that is configured?"""
    found: list[Finding] = []
    for name, (added, versioned) in _BASES.items():
        if url := environ.get(name, ""):
            found.append(_base_url(name, url, added, address, router, versioned=versioned))
    return found


def _base_url(name: str, url: str, added: str, address: Address, router: Router, *, versioned: bool) -> Finding:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return broken(
            name, f"{url!r} is no URL", "the client cannot use it", _right(name, address, versioned=versioned)
        )
    if not _is_here(parts.hostname or "", address):
        return ok(name, f"{url} is not on this machine: not ccproxy's business")
    if port != address.port:
        why = f"ccproxy is configured for port {address.port}: the client talks to nobody, or to another program"
        return broken(name, f"{url} has another port", why, _right(name, address, versioned=versioned))
    if parts.scheme != "http":
        return broken(
            name,
            f"{url} begins with {parts.scheme}://",
            "ccproxy speaks plain http on this machine",
            _right(name, address, versioned=versioned),
        )
    path = f"{parts.path.rstrip('/')}{added}"
    if error := _no_route(router, path):
        shape = "the client adds /v1 itself: leave it out" if not versioned else "the client adds no /v1: write it"
        wrong = parts.path.rstrip("/").endswith("/v1") is not versioned
        why = f"the client asks for {path}" + (f"; {shape}" if wrong else f": {error}")
        return broken(
            name,
            f"{url} leads to no route",
            why,
            _right(name, address, versioned=versioned, path=parts.path, router=router),
        )
    return ok(name, f"{url} leads to a route")


def _no_route(router: Router, path: str) -> str:
    """Why a request to create something does not arrive there, or an empty string."""
    try:
        route = router.match("POST", path)
    except ExchangeError as error:
        return str(error)
    return "" if route.operation is Operation.CREATE else f"{path} is passed on, and the upstream has no such path"


def _right(name: str, address: Address, *, versioned: bool, path: str = "", router: Router | None = None) -> str:
    prefix = path.rstrip("/").removesuffix("/v1")
    if router is None or not router.knows(prefix or "/"):
        prefix = "/api/codex" if versioned else "/api"
    return f"export {name}={address.origin}{prefix}{'/v1' if versioned else ''}"


def _is_here(host: str, address: Address) -> bool:
    return host == address.host or is_loopback(host)


def no_proxy(proxies: Mapping[str, str], address: Address, *, bypassed: bool) -> list[Finding]:
    """`proxies` is what the environment names by scheme; `bypassed` says whether NO_PROXY excepts ccproxy's address."""
    named = sorted({proxies[scheme] for scheme in ("http", "https", "all") if proxies.get(scheme)})
    if not named:
        return []
    if bypassed:
        return [ok("NO_PROXY", f"{address.host} is excepted from the company's proxy")]
    return [
        broken(
            "NO_PROXY",
            f"HTTP_PROXY or HTTPS_PROXY is set, and NO_PROXY does not except {address.host}",
            "clients ask the company's proxy for this machine's ccproxy, and get an error page",
            "export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost",
        )
    ]


def claude_variables(environ: Mapping[str, str], settings_env: Mapping[str, Any]) -> list[Finding]:
    """Claude Code's variables; `settings_env` is `env` of its own settings file, which wins over the shell's."""
    found = []
    if environ.get("ANTHROPIC_API_KEY") and environ.get("ANTHROPIC_AUTH_TOKEN"):
        found.append(
            warn(
                "claude keys",
                "ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are both set",
                "Claude Code warns of it and sends both",
                "unset ANTHROPIC_API_KEY",
            )
        )
    if "ANTHROPIC_BASE_URL" in settings_env:
        found.append(
            warn(
                "claude settings",
                f"its settings.json sets ANTHROPIC_BASE_URL to {settings_env['ANTHROPIC_BASE_URL']}",
                "that wins over the variable that ccproxy run and ccproxy env set",
                'take it out of "env" in Claude Code\'s settings.json',
            )
        )
    if not environ.get("ANTHROPIC_BASE_URL") and "ANTHROPIC_BASE_URL" not in settings_env:
        found.append(not_pointed("claude", "ANTHROPIC_BASE_URL"))
    return found


def not_pointed(client: str, variable: str) -> Finding:
    """Nothing sends this client to ccproxy."""
    return skipped(
        f"{client} base url",
        f"{variable} is not set in this shell: {client} does not go through ccproxy",
        f"ccproxy run {client}",
    )


def codex_configuration(config: Mapping[str, Any], address: Address, router: Router) -> list[Finding]:
    """The providers of Codex's own `config.toml` that point at ccproxy."""
    found: list[Finding] = []
    providers = config.get("model_providers")
    for name, block in (providers if isinstance(providers, Mapping) else {}).items():
        url = block.get("base_url", "") if isinstance(block, Mapping) else ""
        if not isinstance(url, str) or not url:
            continue
        parts = urlsplit(url)
        if not _is_here(parts.hostname or "", address) or parts.port != address.port:
            continue
        found += _codex_provider(name, block, parts.path.rstrip("/"), router)
    return found or [not_pointed("codex", "no provider of its config.toml points here, and a base URL")]


def _codex_provider(name: str, block: Mapping[str, Any], path: str, router: Router) -> Iterable[Finding]:
    subject = f"codex provider {name}"
    fixed = "ccproxy run codex, which needs no file; or mend ~/.codex/config.toml"
    if block.get("wire_api", "responses") != "responses":
        yield broken(
            subject,
            f"wire_api is {block['wire_api']!r}",
            "Codex speaks Responses only",
            f'wire_api = "responses" ({fixed})',
        )
    if block.get("supports_websockets"):
        why = (
            "ccproxy answers WebSockets with 426; older versions of Codex retry for seconds before they go on over HTTP"
        )
        yield warn(subject, "supports_websockets is true", why, f"supports_websockets = false ({fixed})")
    if error := _no_route(router, f"{path}/responses"):
        yield broken(subject, f"{path}/responses is no route", error, fixed)
    else:
        yield ok(subject, f"{path}/responses is a route")


def cursor(settings: Settings) -> list[Finding]:
    """Cursor's own servers send the requests, so they have to reach this machine by a public name."""
    why = "Cursor calls from its own servers, not from this machine"
    found: list[Finding] = []
    if not settings.server.auth_token.get_secret_value():
        found.append(
            broken(
                "cursor token",
                "server.auth_token is empty",
                f"{why}: without a token everybody who finds the public address uses your credentials",
                'ccproxy config set server.auth_token "$(openssl rand -hex 32)", and give it to Cursor as the OpenAI API key',
            )
        )
    names = [name for name in settings.server.allowed_hosts if name.partition(":")[0] not in LOOPBACK]
    if not names:
        found.append(
            broken(
                "cursor host",
                "server.allowed_hosts names no public host",
                f"{why}: they ask for a public name, which is refused with 403",
                "ccproxy config set server.allowed_hosts '[\"NAME.of.your.tunnel\"]'",
            )
        )
    else:
        found.append(
            ok(
                "cursor host",
                f"{', '.join(names)} is allowed: give Cursor https://{names[0]}/api/codex/v1 as the OpenAI base URL",
            )
        )
    if settings.server.is_loopback:
        found.append(
            warn(
                "cursor address",
                f"ccproxy listens on {settings.server.host} alone",
                f"{why}: a tunnel with TLS has to bring them here",
                "point a tunnel (cloudflared, ngrok, an ssh -R with a TLS front) at this port, and allow its name",
            )
        )
    return found
