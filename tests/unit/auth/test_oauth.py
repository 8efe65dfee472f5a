from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from ccproxy import __version__
from ccproxy.auth import oauth
from ccproxy.auth.clients import CLAUDE, CODEX, OAuthClient
from ccproxy.auth.credentials import ClaudeLogin, CodexLogin, Login
from ccproxy.auth.token_responses import OAuthRefused, OAuthUnreachable
from ccproxy.errors import LoginError
from ccproxy.network import Network
from tests.fakes.oauth import FakeOAuth, Reply
from tests.fakes.ports import free_port

QUICK = Network(connect_timeout=30, read_timeout=30)


def begun(server: FakeOAuth, client: OAuthClient, redirect_uri: str) -> tuple[oauth.Authorization, SecretStr]:
    """A sign-in that the person has allowed, and its code."""
    started = oauth.authorize(client, redirect_uri)
    query = {name: values[0] for name, values in parse_qs(urlsplit(started.url).query).items()}
    code = server.secret("code-of-test")
    server.codes[code] = query
    server.secrets |= {started.code_verifier.get_secret_value()}
    return started, SecretStr(code)


def login_of(server: FakeOAuth, client: OAuthClient, **fields: object) -> Login:
    token = server.issue("test")
    return client.login.model_validate(
        {"access_token": server.secret("access-of-test"), "refresh_token": token, **fields}
    )


def test_claude_sends_json_that_repeats_the_state(server: FakeOAuth) -> None:
    started, code = begun(server, server.claude, "http://localhost:1/callback")
    answer = oauth.exchange(server.claude, started, code, QUICK)
    sent = server.requests[-1]
    assert sent.path == "/v1/oauth/token"
    assert sent.json == {
        "grant_type": "authorization_code",
        "client_id": CLAUDE.client_id,
        "code": code.get_secret_value(),
        "code_verifier": started.code_verifier.get_secret_value(),
        "redirect_uri": "http://localhost:1/callback",
        "state": started.state.get_secret_value(),
    }
    assert sent.headers["user-agent"] == f"ccproxy/{__version__}"
    assert "authorization" not in sent.headers
    assert answer.access_token is not None
    assert answer.refresh_token is not None
    assert answer.expires_in == 28_800


def test_codex_sends_a_form(server: FakeOAuth) -> None:
    started, code = begun(server, server.codex, "http://127.0.0.1:1455/auth/callback")
    answer = oauth.exchange(server.codex, started, code, QUICK)
    sent = server.requests[-1]
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert sent.form == {
        "grant_type": "authorization_code",
        "client_id": CODEX.client_id,
        "code": code.get_secret_value(),
        "code_verifier": started.code_verifier.get_secret_value(),
        "redirect_uri": "http://127.0.0.1:1455/auth/callback",
    }
    assert "authorization" not in sent.headers
    assert answer.id_token is not None


def test_the_page_to_open() -> None:
    started = oauth.authorize(CODEX, "http://127.0.0.1:1455/auth/callback")
    address, _, query = started.url.partition("?")
    sent = {name: values[0] for name, values in parse_qs(query).items()}
    assert address == CODEX.authorize_url
    assert len(sent.pop("state")) == 43
    assert len(sent.pop("code_challenge")) == 43
    assert sent == {
        "response_type": "code",
        "client_id": CODEX.client_id,
        "redirect_uri": "http://127.0.0.1:1455/auth/callback",
        "scope": "openid profile email offline_access",
        "code_challenge_method": "S256",
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "originator": "ccproxy",
    }
    assert parse_qs(urlsplit(oauth.authorize(CLAUDE, "http://localhost:1/callback").url).query)["code"] == ["true"]
    assert oauth.authorize(CLAUDE, "x").state != oauth.authorize(CLAUDE, "x").state
    assert started.code_verifier.get_secret_value() not in started.url
    assert started.state.get_secret_value() not in repr(started).replace(started.url, "")


@pytest.mark.parametrize("kind", ["claude", "codex"])
def test_refresh(server: FakeOAuth, kind: str) -> None:
    client: OAuthClient = getattr(server, kind)
    old = login_of(server, client, scopes=["a:b", "c"])
    answer = oauth.refresh(client, old, QUICK)
    sent = server.requests[-1]
    assert old.refresh_token is not None
    expected = {
        "grant_type": "refresh_token",
        "client_id": client.client_id,
        "refresh_token": old.refresh_token.get_secret_value(),
    }
    assert sent.headers["content-type"] == "application/json"
    assert sent.json == (expected | {"scope": "a:b c"} if kind == "claude" else expected)
    assert answer.refresh_token is not None
    assert answer.refresh_token != old.refresh_token


def test_a_scope_that_the_server_forgot_is_left_out_once(server: FakeOAuth) -> None:
    server.answers["/v1/oauth/token"] = [Reply(400, {"error": "invalid_scope"})]
    oauth.refresh(server.claude, login_of(server, server.claude, scopes=["old"]), QUICK)
    assert ["scope" in request.json for request in server.requests] == [True, False]
    server.answers["/v1/oauth/token"] = [Reply(400, {"error": "invalid_scope"})] * 3
    with pytest.raises(OAuthRefused):
        oauth.refresh(server.claude, login_of(server, server.claude, scopes=["old"]), QUICK)
    assert len(server.requests) == 4


def test_another_scope_than_asked_for_is_no_failure(server: FakeOAuth) -> None:
    server.answers["/v1/oauth/token"] = [
        Reply(200, {"access_token": server.secret("t-1"), "scope": "less", "token_type": "Bearer"})
    ]
    answer = oauth.refresh(server.claude, login_of(server, server.claude, scopes=["much", "more"]), QUICK)
    assert answer.scopes == ("less",)


def test_an_answer_without_any_token_is_a_failure_only_after_a_code(server: FakeOAuth) -> None:
    server.answers["/oauth/token"] = [Reply(200, {}), Reply(200, {})]
    assert oauth.refresh(server.codex, login_of(server, server.codex), QUICK).access_token is None
    started, code = begun(server, server.codex, "http://127.0.0.1:1/x")
    with pytest.raises(OAuthUnreachable, match="no access token"):
        oauth.exchange(server.codex, started, code, QUICK)


@pytest.mark.parametrize(
    ("reply", "code", "permanent"),
    [
        (Reply(400, {"error": "invalid_grant", "error_description": "no"}), "invalid_grant", True),
        (Reply(200, {"error": "invalid_grant"}), "invalid_grant", True),
        (Reply(401, {"error": {"message": "no", "code": "refresh_token_reused"}}), "refresh_token_reused", True),
        (Reply(401, {"error": {"message": "no", "code": "refresh_token_expired"}}), "refresh_token_expired", True),
        (
            Reply(401, {"error": {"message": "no", "code": "refresh_token_invalidated"}}),
            "refresh_token_invalidated",
            True,
        ),
        (
            Reply(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}),
            "invalid_request_error",
            False,
        ),
        (Reply(403, b"<html>blocked</html>"), "", False),
        (Reply(400, b"[]"), "", False),
        (Reply(400, {"error": ["?"]}), "", False),
    ],
)
def test_a_refusal_keeps_status_and_code(server: FakeOAuth, reply: Reply, code: str, permanent: bool) -> None:
    server.answers["/oauth/token"] = [reply]
    with pytest.raises(OAuthRefused) as caught:
        oauth.refresh(server.codex, login_of(server, server.codex), QUICK)
    assert (caught.value.status, caught.value.code, caught.value.permanent) == (reply.status, code, permanent)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply(429, {"error": "slow_down"}, {"Retry-After": "17"}), 17.0),
        (Reply(429, {}, {"Retry-After": "soon"}), None),
        (Reply(429, {}, {"Retry-After": "9" * 400}), None),
        (Reply(429, {}, {"Retry-After": "\xb2"}), None),
        (Reply(429, {}, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}), None),
        (Reply(503, b"", {"Retry-After": format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)}), 0.0),
        (Reply(500, {"error": "invalid_grant"}), None),
    ],
)
def test_overload_is_no_refusal(server: FakeOAuth, reply: Reply, seconds: float | None) -> None:
    server.answers["/v1/oauth/token"] = [reply]
    with pytest.raises(OAuthUnreachable) as caught:
        oauth.refresh(server.claude, login_of(server, server.claude), QUICK)
    assert caught.value.retry_after == seconds


def test_no_secret_in_what_is_raised(server: FakeOAuth) -> None:
    old = login_of(server, server.codex)
    assert old.refresh_token is not None
    echo = f"bad token {old.refresh_token.get_secret_value()}\n\x1b[31m"
    server.answers["/oauth/token"] = [Reply(400, {"error": "odd", "error_description": echo})]
    with pytest.raises(OAuthRefused) as caught:
        oauth.refresh(server.codex, old, QUICK)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert not [secret for secret in server.secrets if secret in shown]
    assert "\x1b" not in shown


def test_a_redirect_is_not_followed(server: FakeOAuth) -> None:
    with FakeOAuth() as elsewhere:
        for status in (301, 302, 307, 308):
            server.answers["/oauth/token"] = [Reply(status, headers={"Location": f"{elsewhere.url}/oauth/token"})]
            with pytest.raises(OAuthUnreachable, match="redirect"):
                oauth.refresh(server.codex, login_of(server, server.codex), QUICK)
        assert not elsewhere.requests


def test_revoke(server: FakeOAuth) -> None:
    login = login_of(server, server.codex)
    oauth.revoke(server.codex, login, QUICK)
    assert login.refresh_token is not None
    assert server.requests[-1].json == {
        "token": login.refresh_token.get_secret_value(),
        "token_type_hint": "refresh_token",
        "client_id": CODEX.client_id,
    }


def test_query_sends_the_headers(server: FakeOAuth) -> None:
    body = oauth.query(server.claude, server.claude.limits_url, {"authorization": SecretStr("Bearer t")}, QUICK)
    assert "five_hour" in body
    assert server.requests[-1].headers["authorization"] == "Bearer t"


def test_loopback_over_http_needs_no_switch_for_the_whole_process(server: FakeOAuth) -> None:
    oauth.refresh(server.codex, login_of(server, server.codex), QUICK)
    assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ
    assert "OAUTHLIB_RELAX_TOKEN_SCOPE" not in os.environ


@pytest.fixture
def proxy() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that refuses every tunnel and keeps what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def elsewhere(login: type[Login]) -> tuple[OAuthClient, Login]:
    client = (CLAUDE if login is ClaudeLogin else CODEX).configured(token_url="https://login.invalid/oauth/token")
    return client, login.model_validate({"access_token": "a", "refresh_token": "r-1234"})


def test_a_company_proxy_is_used_with_its_login_which_is_not_told(
    proxy: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", f"http://somebody:pass-word@127.0.0.1:{port}")
    client, login = elsewhere(CodexLogin)
    with pytest.raises(OAuthUnreachable, match=r"the proxy on the way to login\.invalid") as caught:
        oauth.refresh(client, login, QUICK)
    assert asked[0].startswith(b"CONNECT login.invalid:443 ")
    assert b"Proxy-Authorization: Basic c29tZWJvZHk6cGFzcy13b3Jk" in asked[0]
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


def test_no_proxy_is_honoured(proxy: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    port, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "login.invalid")
    client, login = elsewhere(CodexLogin)
    with pytest.raises(OAuthUnreachable, match=r"login\.invalid could not be reached"):
        oauth.refresh(client, login, QUICK)
    assert not asked


def test_ccproxy_itself_is_no_proxy(proxy: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    port, asked = proxy
    client, login = elsewhere(ClaudeLogin)
    for value in (f"http://127.0.0.1:{port}", f"localhost:{port}"):
        monkeypatch.setenv("https_proxy", value)
        with pytest.raises(OAuthUnreachable, match=r"login\.invalid could not be reached"):
            oauth.refresh(client, login, Network(connect_timeout=2, read_timeout=2, own_ports=frozenset({port})))
    assert not asked


def test_loopback_goes_through_no_proxy(
    server: FakeOAuth, proxy: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy[0]}")
    oauth.refresh(server.codex, login_of(server, server.codex), QUICK)
    assert not proxy[1]


@pytest.fixture
def company(tmp_path: Path, server: FakeOAuth) -> Path:
    """The server behind a certificate of a company's own CA; the file of that CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    both = tmp_path / "server.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + file.read_bytes()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server.wrap(context)
    return file


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_companys_ca_is_trusted(
    server: FakeOAuth, company: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(company))
    client = CODEX.configured(token_url=f"https://127.0.0.1:{server.port}/oauth/token")
    assert oauth.refresh(client, login_of(server, client), QUICK).access_token is not None
    oauth.revoke(client, login_of(server, client), QUICK)


def test_an_unknown_ca_is_not_trusted(server: FakeOAuth, company: Path) -> None:
    client = CODEX.configured(token_url=f"https://127.0.0.1:{server.port}/oauth/token")
    with pytest.raises(OAuthUnreachable, match=r"the certificate of 127\.0\.0\.1 is not trusted.*SSL_CERT_FILE"):
        oauth.refresh(client, login_of(server, client), QUICK)
    assert not server.requests


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("no certificates", "is not a file of certif")]
)
def test_a_ca_file_that_is_none_is_named(
    server: FakeOAuth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, words: str
) -> None:
    path = tmp_path / "company.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    client = CODEX.configured(token_url=f"https://127.0.0.1:{server.port}/oauth/token")
    with pytest.raises(OAuthUnreachable, match=f"SSL_CERT_FILE names {path}, which {words}"):
        oauth.refresh(client, login_of(server, client), QUICK)


def test_no_netrc(server: FakeOAuth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    oauth.revoke(server.codex, login_of(server, server.codex), QUICK)
    oauth.refresh(server.codex, login_of(server, server.codex), QUICK)
    assert not [request for request in server.requests if "authorization" in request.headers]


def silent(listener: socket.socket) -> None:
    """Connections are taken by the kernel; nobody answers."""


def reset(listener: socket.socket) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()


@pytest.mark.parametrize(("behaviour", "words"), [(silent, "did not answer in time"), (reset, "could not be reached")])
def test_a_server_that_does_not_answer(behaviour: Callable[[socket.socket], None], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        behaviour(listener)
        client = CODEX.configured(token_url=f"http://127.0.0.1:{listener.getsockname()[1]}/oauth/token")
        login = CodexLogin.model_validate({"access_token": "a", "refresh_token": "r-1234"})
        with pytest.raises(LoginError, match=words):
            oauth.refresh(client, login, Network(connect_timeout=1, read_timeout=0.3))


@pytest.mark.parametrize(("pause", "words"), [(0.0, "sent more than 1024 KB"), (0.05, "did not answer in time")])
def test_an_answer_without_end(pause: float, words: str) -> None:
    """It would hold the login's lock, and fill the memory."""
    stopped = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with suppress(OSError):
            while not stopped.wait(pause):
                connection.sendall(b" " * (1 if pause else 65536))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        client = CODEX.configured(token_url=f"http://127.0.0.1:{listener.getsockname()[1]}/oauth/token")
        login = CodexLogin.model_validate({"access_token": "a", "refresh_token": "r-1234"})
        with pytest.raises(OAuthUnreachable, match=words):
            oauth.refresh(client, login, Network(connect_timeout=0.5, read_timeout=0.5))
        stopped.set()
        thread.join()


def test_nobody_listens() -> None:
    client = CODEX.configured(token_url=f"http://127.0.0.1:{free_port()}/oauth/token")
    with pytest.raises(OAuthUnreachable, match=r"127\.0\.0\.1 could not be reached"):
        oauth.refresh(client, CodexLogin.model_validate({"access_token": "a", "refresh_token": "r"}), QUICK)
