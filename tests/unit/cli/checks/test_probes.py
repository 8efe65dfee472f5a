"""Finding facts: connections to upstreams, through proxies and TLS; files; programs."""

from __future__ import annotations

import contextlib
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server, socket

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ccproxy.cli.checks import probes
from ccproxy.providers.endpoints import table
from ccproxy.providers.profiles import chat_profiles
from ccproxy.providers.spec import Provider, Upstream
from ccproxy.settings import load
from ccproxy.translate.formats import Format
from tests.fakes.ports import free_port

NAME = "upstream.invalid"
DATE = "Sun, 22 Nov 2026 12:00:00 GMT"


def provider(url: str) -> Provider:
    return Provider(
        name="p",
        prefix="/p",
        format=Format.ANTHROPIC,
        endpoints=table(Format.ANTHROPIC),
        upstream=Upstream.parse(url),
        profile_for=chat_profiles(),
    )


@contextlib.contextmanager
def listening(answer: Callable[[socket], None]) -> Iterator[int]:
    """A server for one connection."""
    server = create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError, ssl.SSLError):
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(10)  # it ends with its connection
        server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Makes a self-signed certificate for NAME and 127.0.0.1 that is valid from this many days on."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(days: int) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        begin = datetime.now(UTC) + timedelta(days=days)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(begin).not_valid_after(begin + timedelta(days=3))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        path = folder / f"{days}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return path

    return make


def speaking_tls(certificate: Path, before: Callable[[socket], None] = lambda _: None) -> Callable[[socket], None]:
    def answer(connection: socket) -> None:
        before(connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.wrap_socket(connection, server_side=True).close()

    return answer


def accepting(connection: socket, status: str = "200 OK") -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    connection.sendall(f"HTTP/1.1 {status}\r\nDate: {DATE}\r\n\r\n".encode())
    return head


def test_a_plain_upstream_is_reached_and_not_asked_anything() -> None:
    seen: list[bytes] = []
    with listening(lambda connection: seen.append(connection.recv(100))) as port:
        reached = probes.reach(provider(f"http://127.0.0.1:{port}"), 5)
    assert (reached.step, reached.error) == ("", "")
    assert seen == [b""]


def test_nobody_there() -> None:
    reached = probes.reach(provider(f"http://127.0.0.1:{free_port()}"), 5)
    assert (reached.step, reached.error) == ("connect", "Connection refused")


def test_a_certificate_that_nobody_vouches_for(certificates: Callable[[int], Path]) -> None:
    with listening(speaking_tls(certificates(-1))) as port:
        reached = probes.reach(provider(f"https://localhost:{port}"), 5)
    assert (reached.step, reached.clock) == ("tls", "")
    assert "self" in reached.error


@pytest.mark.parametrize(("days", "says"), [(-10, "has expired"), (5, "is not valid yet")])
def test_a_certificate_whose_dates_contradict_the_clock(
    days: int, says: str, certificates: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificates(days)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with listening(speaking_tls(certificate)) as port:
        reached = probes.reach(provider(f"https://localhost:{port}"), 5)
    assert reached.step == "tls"
    assert reached.clock == f"the certificate of localhost {says}"


def test_through_the_companys_proxy_with_its_login_and_its_ca(
    certificates: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificates(-1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    heads: list[bytes] = []
    with listening(speaking_tls(certificate, lambda connection: heads.append(accepting(connection)))) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@127.0.0.1:{port}")
        reached = probes.reach(provider(f"https://{NAME}"), 5)
    assert (reached.step, reached.error) == ("", "")
    assert heads[0].startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in heads[0]
    assert reached.date == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert "pass" not in str(reached)


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda connection: accepting(connection, "407 Proxy Authentication Required") and None) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        reached = probes.reach(provider(f"https://{NAME}"), 5)
    assert (reached.step, reached.error) == ("proxy", "the proxy responded with 407 Proxy Authentication Required")


def test_a_proxy_for_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda connection: connection.recv(1) and None) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        reached = probes.reach(provider(f"http://{NAME}"), 5)
    assert (reached.step, reached.via) == ("", f"http://127.0.0.1:{port}")


def test_what_programs_print() -> None:
    assert probes.output_of(sys.executable, "-c", "print('1.2.3')") == "1.2.3\n"
    assert probes.output_of(sys.executable, "-c", "import sys; print('told', file=sys.stderr); sys.exit(3)") == "told\n"
    assert probes.output_of("/nonexistent/program") is None


@pytest.mark.parametrize(
    ("prints", "logged_in"),
    [('{"loggedIn": true}', True), ('{"loggedIn": false}', False), ("error: unknown command", None), ("[]", None)],
)
def test_claude_codes_login(prints: str, logged_in: bool | None, tmp_path: Path) -> None:
    path = tmp_path / "claude"
    path.write_text(f"#!/bin/sh\n[ \"$*\" = 'auth status' ] && echo '{prints}'\n")
    path.chmod(0o755)
    assert probes.claude_logged_in(str(path)) is logged_in


def test_which_claude_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    assert probes.claude_program(str(path)) == str(path)
    assert probes.claude_program(str(tmp_path / "missing")) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert probes.claude_program("") == str(path)


def test_what_has_to_be_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "auth").mkdir(mode=0o700)
    (tmp_path / "auth" / "codex.json").write_text("{}")
    config = tmp_path / "c.toml"
    config.write_text('[providers.codex]\napi_key = "k"\n')
    loaded = load(environ={"AUTH__DIR": str(tmp_path / "auth")}, config=config, folder=tmp_path)
    names = [file.path.name for file in probes.private_files(loaded)]
    assert names[:2] == ["auth", "codex.json"]
    assert names[-1] == "c.toml"
    config.write_text("[server]\nport = 9000\n")
    assert "c.toml" not in [
        file.path.name for file in probes.private_files(load(environ={}, config=config, folder=tmp_path))
    ]


def test_files_of_clients_that_are_missing_or_broken(tmp_path: Path) -> None:
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path), "CODEX_HOME": str(tmp_path)}
    assert probes.settings_env_of_claude(environ) == probes.config_of_codex(environ) == {}
    (tmp_path / "settings.json").write_text("[]")
    (tmp_path / "config.toml").write_text("= no")
    assert probes.settings_env_of_claude(environ) == probes.config_of_codex(environ) == {}
    (tmp_path / "settings.json").write_text('{"env": {"A": "b"}}')
    (tmp_path / "config.toml").write_text('model = "m"')
    assert probes.settings_env_of_claude(environ) == {"A": "b"}
    assert probes.config_of_codex(environ) == {"model": "m"}
