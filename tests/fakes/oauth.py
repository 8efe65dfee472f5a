"""Both vendors' OAuth servers, on loopback, in threads of the test process.

Refresh tokens rotate and work once, as the real ones do. Attributes that a test sets make it fail.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from ccproxy.auth.clients import CLAUDE, CODEX, OAuthClient, is_loopback_url


def jwt(**claims: object) -> str:
    """A token with the shape of a JWT; signatures are not checked here."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return ".".join([part({"alg": "none", "typ": "JWT"}), part(claims), "c2ln"])


def codex_jwt(*, account: str = "acct-1", plan: str = "plus", **claims: object) -> str:
    auth = {"chatgpt_account_id": account, "chatgpt_plan_type": plan}
    return jwt(
        **{"https://api.openai.com/auth": auth, "email": "someone@example.invalid", "n": secrets.token_hex(4)}, **claims
    )


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)


class FakeOAuth:
    """`with FakeOAuth() as server`: its `claude` and `codex` are clients that point at it.

    consent         what the person at the authorize page does: "allow", or the error code of a refusal
    answers         replies that are given instead, by path, first one first
    before_answer   called with a token request after it was dealt with and before it is answered
    expires_in      life of the access tokens, in seconds
    secrets         everything that must never be seen anywhere
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.consent = "allow"
        self.consent_description = ""
        self.wrong_state = False
        self.expires_in: int | None = 28_800
        self.rotate = True
        self.answers: dict[str, list[Reply]] = {}
        self.before_answer: Any = None
        self.pending_polls = 1
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.secrets: set[str] = set()
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def claude(self) -> OAuthClient:
        return CLAUDE.configured(
            authorize_url=f"{self.url}/oauth/authorize", token_url=f"{self.url}/v1/oauth/token", base_url=self.url
        )

    @property
    def codex(self) -> OAuthClient:
        return CODEX.configured(
            authorize_url=f"{self.url}/oauth/authorize",
            token_url=f"{self.url}/oauth/token",
            redirect_uri="http://127.0.0.1:0/auth/callback",
            base_url=f"{self.url}/backend-api/codex",
        )

    def environment(self) -> dict[str, str]:
        """The settings that point ccproxy here."""
        return {
            "PROVIDERS__CLAUDE_API__BASE_URL": self.url,
            "PROVIDERS__CLAUDE_API__OAUTH__AUTHORIZE_URL": self.claude.authorize_url,
            "PROVIDERS__CLAUDE_API__OAUTH__TOKEN_URL": self.claude.token_url,
            "PROVIDERS__CODEX__BASE_URL": f"{self.url}/backend-api/codex",
            "PROVIDERS__CODEX__OAUTH__AUTHORIZE_URL": self.codex.authorize_url,
            "PROVIDERS__CODEX__OAUTH__TOKEN_URL": self.codex.token_url,
            "PROVIDERS__CODEX__OAUTH__REDIRECT_URI": self.codex.redirect_uri,
        }

    def secret(self, value: str) -> str:
        self.secrets.add(value)
        return value

    def issue(self, kind: str) -> str:
        """A refresh token that works once."""
        token = self.secret(f"{kind}-refresh-{secrets.token_hex(12)}")
        self.refresh_tokens[token] = "live"
        return token

    def count(self, path: str, **fields: str) -> int:
        return sum(1 for r in self.requests if r.path == path and fields.items() <= _fields(r).items())

    def reply(self, request: Request) -> Reply:
        with self.lock:
            self.requests.append(request)
            if queued := self.answers.get(request.path):
                return queued.pop(0)
            match request.path:
                case "/oauth/authorize":
                    return self._authorize(request.query)
                case "/v1/oauth/token":
                    return self._claude_token(request)
                case "/oauth/token":
                    return self._codex_token(request)
                case "/api/accounts/deviceauth/usercode":
                    return Reply(
                        200,
                        {
                            "device_auth_id": self.secret("dev-" + secrets.token_hex(8)),
                            "user_code": "ABCD-12345",
                            "interval": "5",
                        },
                    )
                case "/api/accounts/deviceauth/token":
                    return self._device_token()
                case "/oauth/revoke" | "/v1/oauth/revoke":
                    self.refresh_tokens[request.json["token"]] = "revoked"
                    return Reply(200, {})
                case "/api/oauth/profile":
                    return Reply(200, {"organization": {"organization_type": "claude_max"}})
                case "/api/oauth/usage":
                    return Reply(
                        200,
                        {
                            "five_hour": {"utilization": 12.5, "resets_at": "2026-11-22T15:00:00+00:00"},
                            "seven_day": {"utilization": 40, "resets_at": None},
                            "seven_day_opus": {"utilization": 0, "resets_at": None},
                            "extra_usage": {"is_enabled": False},
                        },
                    )
                case "/backend-api/wham/usage":
                    return Reply(
                        200,
                        {
                            "rate_limit": {
                                "primary_window": {
                                    "used_percent": 7,
                                    "limit_window_seconds": 18000,
                                    "reset_at": 1795000000,
                                },
                                "secondary_window": {
                                    "used_percent": 61,
                                    "limit_window_seconds": 604800,
                                    "reset_at": 1795100000,
                                },
                            }
                        },
                    )
            return Reply(404, {"error": "not_found"})

    def _authorize(self, query: dict[str, str]) -> Reply:
        missing = {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge"} - set(query)
        if missing or query["code_challenge_method"] != "S256":
            return Reply(400, {"error": "invalid_request", "missing": sorted(missing)})
        state = "another" if self.wrong_state else query["state"]
        if self.consent != "allow":
            answer = {"error": self.consent, "error_description": self.consent_description, "state": state}
            return Reply(302, headers={"Location": query["redirect_uri"] + "?" + urlencode(answer)})
        code = self.secret("code-" + secrets.token_hex(8))
        self.codes[code] = query
        if not is_loopback_url(query["redirect_uri"]):
            return Reply(200, f"Paste: {code}#{state}".encode())
        return Reply(302, headers={"Location": query["redirect_uri"] + "?" + urlencode({"code": code, "state": state})})

    def _claude_token(self, request: Request) -> Reply:
        if request.headers["content-type"] != "application/json":
            return Reply(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "JSON, please"}})
        body = request.json
        if body["grant_type"] == "authorization_code":
            asked = self.codes.pop(body["code"], None)
            if asked is None or body["state"] != asked["state"] or not _fits(asked, body):
                return Reply(400, {"error": "invalid_grant", "error_description": "Invalid 'code' in request."})
        elif not self._spend(body):
            return Reply(400, {"error": "invalid_grant", "error_description": "Refresh token not found or invalid"})
        answer = {
            "token_type": "Bearer",
            "access_token": self.secret("claude-access-" + secrets.token_hex(12)),
            "scope": body.get("scope") or "user:profile user:inference",
            "account": {"uuid": "account-1", "email_address": "someone@example.invalid"},
            "organization": {"uuid": "organization-1", "name": "A person's"},
        }
        return self._tokens(answer, "claude")

    def _codex_token(self, request: Request) -> Reply:
        is_form = request.headers["content-type"] == "application/x-www-form-urlencoded"
        body = request.form if is_form else request.json
        if body["grant_type"] == "authorization_code":
            asked = self.codes.pop(body["code"], None)
            if not is_form or asked is None or not _fits(asked, body):
                return Reply(
                    400, _openai_error("token_exchange_user_error", "Invalid request. Please try again later.")
                )
        elif not self._spend(body):
            return Reply(401, _openai_error("refresh_token_reused", "Your refresh token has already been used."))
        answer = {
            "token_type": "Bearer",
            "access_token": self.secret(codex_jwt()),
            "id_token": self.secret(codex_jwt(aud="x")),
        }
        return self._tokens(answer, "codex")

    def _tokens(self, answer: dict[str, Any], kind: str) -> Reply:
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if self.rotate:
            answer["refresh_token"] = self.issue(kind)
        return Reply(200, answer)

    def _spend(self, body: dict[str, str]) -> bool:
        if self.refresh_tokens.get(body["refresh_token"]) != "live" or not body.get("client_id"):
            return False
        self.refresh_tokens[body["refresh_token"]] = "used" if self.rotate else "live"
        return True

    def _device_token(self) -> Reply:
        if self.pending_polls > 0:
            self.pending_polls -= 1
            return Reply(403, {"error": {"code": "deviceauth_authorization_pending"}})
        code, verifier = self.secret("code-" + secrets.token_hex(8)), self.secret(secrets.token_urlsafe(40))
        self.codes[code] = {
            "client_id": CODEX.client_id,
            "code_challenge": _s256(verifier),
            "redirect_uri": f"{self.url}/deviceauth/callback",
        }
        return Reply(200, {"authorization_code": code, "code_verifier": verifier, "code_challenge": _s256(verifier)})


def _openai_error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


def _fields(request: Request) -> dict[str, str]:
    return request.json if request.headers.get("content-type") == "application/json" else request.form


def _fits(asked: dict[str, str], body: dict[str, str]) -> bool:
    return (
        body["client_id"] == asked["client_id"]
        and body["redirect_uri"] == asked["redirect_uri"]
        and _s256(body["code_verifier"]) == asked["code_challenge"]
    )


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class _Server(ThreadingHTTPServer):
    fake: FakeOAuth
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 20

    def _any(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, parts.path, query, headers, body)
        reply = self.server.fake.reply(request)
        if self.server.fake.before_answer is not None and parts.path.endswith("/oauth/token"):
            self.server.fake.before_answer(request)
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _any  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        """Quiet."""
