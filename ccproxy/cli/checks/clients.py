"""Checks of each client: versions with known problems, base URLs, proxies and configuration files."""

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
class KnownProblem:
    """A problem of the versions of a client before `fixed_in`."""

    fixed_in: Version
    what: str
    fix: str


KNOWN_PROBLEMS: dict[str, tuple[KnownProblem, ...]] = {
    "claude": (
        KnownProblem(
            (2, 1, 181),
            "a part of its system prompt changes with each request, so the vendor's prompt cache never hits",
            "claude update",
        ),
        KnownProblem(
            (2, 1, 223),
            "model discovery lists only names that begin with claude or anthropic",
            "claude update",
        ),
    ),
    "codex": (
        KnownProblem(
            (0, 145, 0),
            "it retries a WebSocket several times although the response is 426",
            "npm install -g @openai/codex@latest, or start it with ccproxy run codex, which disables WebSockets",
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
"""The path that clients add to each base URL, and whether the URL must end in /v1."""


def parse_version(text: str) -> Version | None:
    """Return the first version in the output of a program."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else None


def installed(name: str, path: str | None, version: Version | None) -> list[Finding]:
    """Check that the program is installed, and its version for known problems."""
    if path is None:
        return [broken(name, f"{name} is not on PATH", "it cannot be run", INSTALL.get(name, f"install {name}"))]
    if version is None:
        return [
            warn(name, f"{path} does not print its version", "known problems cannot be looked up", f"{name} --version")
        ]
    shown = ".".join(map(str, version))
    findings = [
        warn(name, f"version {shown}", problem.what, problem.fix)
        for problem in KNOWN_PROBLEMS.get(name, ())
        if version < problem.fixed_in
    ]
    return findings or [ok(name, f"{shown} ({path})")]


def base_urls(environ: Mapping[str, str], address: Address, router: Router) -> list[Finding]:
    """Check that each variable with a base URL points at a route of the configured ccproxy."""
    return [
        _base_url(name, url, added, address, router, versioned=versioned)
        for name, (added, versioned) in _BASES.items()
        if (url := environ.get(name, ""))
    ]


def _base_url(name: str, url: str, added: str, address: Address, router: Router, *, versioned: bool) -> Finding:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return broken(
            name, f"{url!r} is not a URL", "the client cannot use it", _correction(name, address, versioned=versioned)
        )
    if not _is_here(parts.hostname or "", address):
        return ok(name, f"{url} is not on this machine, so it does not use ccproxy")
    if port != address.port:
        why = f"ccproxy is configured for port {address.port}, so the client reaches nothing or another program"
        return broken(name, f"{url} has another port", why, _correction(name, address, versioned=versioned))
    if parts.scheme != "http":
        return broken(
            name,
            f"{url} begins with {parts.scheme}://",
            "ccproxy uses plain http on this machine",
            _correction(name, address, versioned=versioned),
        )
    path = f"{parts.path.rstrip('/')}{added}"
    if error := _no_route(router, path):
        hint = "the client does not add /v1, so the URL must end with it" if versioned else "the client adds /v1 itself"
        is_wrong = parts.path.rstrip("/").endswith("/v1") is not versioned
        why = f"the client would request {path}: {hint if is_wrong else error}"
        return broken(
            name,
            f"{url} does not lead to a route",
            why,
            _correction(name, address, versioned=versioned, path=parts.path, router=router),
        )
    return ok(name, f"{url} leads to a route")


def _no_route(router: Router, path: str) -> str:
    """Return why no route creates a response at this path, or an empty string if one does."""
    try:
        route = router.match("POST", path)
    except ExchangeError as error:
        return str(error)
    return "" if route.operation is Operation.CREATE else f"{path} is forwarded, but the upstream has no such path"


def _correction(name: str, address: Address, *, versioned: bool, path: str = "", router: Router | None = None) -> str:
    prefix = path.rstrip("/").removesuffix("/v1")
    if router is None or not router.knows(prefix or "/"):
        prefix = "/api/codex" if versioned else "/api"
    return f"export {name}={address.origin}{prefix}{'/v1' if versioned else ''}"


def _is_here(host: str, address: Address) -> bool:
    return host == address.host or is_loopback(host)


def no_proxy(proxies: Mapping[str, str], address: Address, *, bypassed: bool) -> list[Finding]:
    """Check the environment's proxies, by scheme. `bypassed` states whether NO_PROXY excludes ccproxy's address."""
    if not any(proxies.get(scheme) for scheme in ("http", "https", "all")):
        return []
    if bypassed:
        return [ok("NO_PROXY", f"{address.host} bypasses the corporate proxy")]
    return [
        broken(
            "NO_PROXY",
            f"HTTP_PROXY or HTTPS_PROXY is set, and NO_PROXY does not include {address.host}",
            "clients send requests for ccproxy to the corporate proxy, which responds with an error page",
            "export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost",
        )
    ]


def claude_variables(environ: Mapping[str, str], settings_env: Mapping[str, Any]) -> list[Finding]:
    """Check Claude Code's variables. `settings_env` is `env` of its settings file, which takes precedence over the shell."""
    findings = []
    if environ.get("ANTHROPIC_API_KEY") and environ.get("ANTHROPIC_AUTH_TOKEN"):
        findings.append(
            warn(
                "claude keys",
                "ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN are both set",
                "Claude Code sends both, and warns about it",
                "unset ANTHROPIC_API_KEY",
            )
        )
    if "ANTHROPIC_BASE_URL" in settings_env:
        findings.append(
            warn(
                "claude settings",
                f"settings.json sets ANTHROPIC_BASE_URL to {settings_env['ANTHROPIC_BASE_URL']}",
                "it takes precedence over the variable of ccproxy run and ccproxy env",
                'remove it from "env" in Claude Code\'s settings.json',
            )
        )
    if not environ.get("ANTHROPIC_BASE_URL") and "ANTHROPIC_BASE_URL" not in settings_env:
        findings.append(not_configured("claude", "ANTHROPIC_BASE_URL is not set in this shell"))
    return findings


def not_configured(client: str, reason: str) -> Finding:
    """Return the finding for a client that does not use ccproxy."""
    return skipped(f"{client} base url", f"{reason}, so {client} does not use ccproxy", f"ccproxy run {client}")


def codex_configuration(config: Mapping[str, Any], address: Address, router: Router) -> list[Finding]:
    """Check the providers of Codex's `config.toml` that point at ccproxy."""
    findings: list[Finding] = []
    providers = config.get("model_providers")
    for name, block in (providers if isinstance(providers, Mapping) else {}).items():
        url = block.get("base_url", "") if isinstance(block, Mapping) else ""
        if not isinstance(url, str) or not url:
            continue
        parts = urlsplit(url)
        if not _is_here(parts.hostname or "", address) or parts.port != address.port:
            continue
        findings += _codex_provider(name, block, parts.path.rstrip("/"), router)
    return findings or [not_configured("codex", "no provider in config.toml points at ccproxy")]


def _codex_provider(name: str, block: Mapping[str, Any], path: str, router: Router) -> Iterable[Finding]:
    subject = f"codex provider {name}"
    fix = "in ~/.codex/config.toml, or use ccproxy run codex, which does not need that file"
    if block.get("wire_api", "responses") != "responses":
        yield broken(
            subject,
            f"wire_api is {block['wire_api']!r}",
            "Codex supports only the Responses API",
            f'set wire_api = "responses" {fix}',
        )
    if block.get("supports_websockets"):
        why = "ccproxy responds to WebSockets with 426, and older versions of Codex retry for seconds before they use HTTP"
        yield warn(subject, "supports_websockets is true", why, f"set supports_websockets = false {fix}")
    if error := _no_route(router, f"{path}/responses"):
        yield broken(subject, f"{path}/responses is not a route", error, f"correct base_url {fix}")
    else:
        yield ok(subject, f"{path}/responses is a route")


def cursor(settings: Settings) -> list[Finding]:
    """Check the settings for Cursor, whose servers send the requests and need a public name for this machine."""
    why = "Cursor sends requests from its own servers, not from this machine"
    findings: list[Finding] = []
    if not settings.server.auth_token.get_secret_value():
        findings.append(
            broken(
                "cursor token",
                "server.auth_token is empty",
                f"{why}. Without a token, anyone who finds the public address can use your credentials",
                'ccproxy config set server.auth_token "$(openssl rand -hex 32)", and enter it in Cursor as the OpenAI API key',
            )
        )
    names = [name for name in settings.server.allowed_hosts if name.partition(":")[0] not in LOOPBACK]
    if not names:
        findings.append(
            broken(
                "cursor host",
                "server.allowed_hosts contains no public host",
                f"{why}. They use a public name, which is refused with 403",
                "ccproxy config set server.allowed_hosts '[\"NAME.of.your.tunnel\"]'",
            )
        )
    else:
        findings.append(
            ok(
                "cursor host",
                f"{', '.join(names)} is allowed. Enter https://{names[0]}/api/codex/v1 in Cursor as the OpenAI base URL",
            )
        )
    if settings.server.is_loopback:
        findings.append(
            warn(
                "cursor address",
                f"ccproxy listens only on {settings.server.host}",
                f"{why}, so they need a tunnel with TLS to reach it",
                "start a tunnel to this port (cloudflared, ngrok, or ssh -R behind TLS) and add its name to server.allowed_hosts",
            )
        )
    return findings
