"""One reading of the environment's network, for logins, upstreams, model lists, doctor and the Claude SDK."""

from __future__ import annotations

import itertools
import logging
import ssl
from pathlib import Path

import pytest

from ccproxy.errors import StartError
from ccproxy.network import (
    CA_VARIABLES,
    CorporateProxy,
    Network,
    UnusableCertificates,
    corporate_proxy,
    extra_certificates,
    is_loopback,
)
from ccproxy.server.masters import ca_bundle
from tests.fakes.certificates import Authority


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CA_VARIABLES, "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def authorities(tmp_path: Path) -> list[Authority]:
    folders = [tmp_path / f"ca-{number}" for number in range(2)]
    for folder in folders:
        folder.mkdir()
    return [Authority(folder) for folder in folders]


# --- loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.2", "127.255.255.255", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_addresses_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.test", "127.evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0", "::", "192.168.1.1", "::ffff:192.168.1.1"],
)  # fmt: skip
def test_addresses_of_others(host: str) -> None:
    assert not is_loopback(host)


# --- the proxy


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.test:3128", CorporateProxy("http", "proxy.test", 3128)),
        ("proxy.test:3128", CorporateProxy("http", "proxy.test", 3128)),
        ("https://proxy.test", CorporateProxy("https", "proxy.test", 443)),
        ("http://jane:p%40ss%20word@proxy.test:1", CorporateProxy("http", "proxy.test", 1, "jane", "p@ss word")),
        ("http://[2001:db8::1]:1", CorporateProxy("http", "2001:db8::1", 1)),
    ],
)
def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch, url: str, proxy: CorporateProxy) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert corporate_proxy("https", "api.test", 443) == proxy
    assert corporate_proxy("http", "api.test", 80) is None


def test_a_login_is_encoded_for_a_url() -> None:
    proxy = CorporateProxy("http", "2001:db8::1", 1, "ja:ne", "p@ss/word")
    assert (proxy.url, proxy.url_with_login) == (
        "http://[2001:db8::1]:1",
        "http://ja%3Ane:p%40ss%2Fword@[2001:db8::1]:1",
    )


@pytest.mark.parametrize(
    "url", ["socks5://proxy.test:1", "http://", "http://:1", "http://proxy.test:99999", "http://proxy.test:x", "http://[::1"]
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", url)
    with caplog.at_level(logging.WARNING):
        assert corporate_proxy("https", "api.test", 443) is None
    assert "HTTPS_PROXY or ALL_PROXY is not used" in caplog.text


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("api.test", "api.test"),
        (".test", "api.test"),
        ("other, API.test ", "api.test"),
        ("api.test:443", "api.test"),
        ("*", "api.test"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8::/32", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_exceptions_of_the_proxy(monkeypatch: pytest.MonkeyPatch, entry: str, host: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    monkeypatch.setenv("NO_PROXY", entry)
    assert corporate_proxy("https", host, 443) is None
    assert corporate_proxy("https", "api.other", 443) is None if entry == "*" else True
    monkeypatch.setenv("NO_PROXY", "pi.test,api.test:80,10.2.0.0/16,2001:db9::/32,/8,nonsense")
    assert corporate_proxy("https", host, 443)


@pytest.mark.parametrize("own", ["http://127.0.0.1:8000", "localhost:8000", "http://[::1]:8000"])
def test_ccproxy_itself_is_never_the_proxy(monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", own)
    assert Network(own_ports=frozenset({8000})).proxy_for("https", "api.test", 443) is None
    assert Network(own_ports=frozenset({8001})).proxy_for("https", "api.test", 443)


# --- certificate authorities


def trusted(context: ssl.SSLContext) -> set[bytes]:
    return set(context.get_ca_certs(binary_form=True))


def certificate_of(authority: Authority) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.file.read_text())


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_every_variable_counts_everywhere(
    authorities: list[Authority], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A machine that had only CURL_CA_BUNDLE could sign in and failed on requests."""
    usual = trusted(Network().ssl_context())
    monkeypatch.setenv(variable, str(authorities[0].file))
    assert trusted(Network().ssl_context()) == usual | {certificate_of(authorities[0])}
    bundle = ca_bundle()
    assert bundle is not None
    assert authorities[0].file.read_bytes() in bundle.read_bytes()


def test_of_two_variables_the_first_counts_everywhere(
    authorities: list[Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logins and requests trusted different files."""
    for stronger, weaker in itertools.pairwise(CA_VARIABLES):
        with monkeypatch.context() as patch:
            patch.setenv(stronger, str(authorities[0].file))
            patch.setenv(weaker, str(authorities[1].file))
            extra = extra_certificates()
            assert extra is not None
            assert (extra.variable, extra.path) == (stronger, authorities[0].file)


def test_an_empty_variable_is_unset(authorities: list[Authority], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")
    assert extra_certificates() is None
    assert ca_bundle() is None
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authorities[0].file))
    extra = extra_certificates()
    assert extra is not None
    assert extra.variable == "CURL_CA_BUNDLE"


@pytest.mark.parametrize("names", [("one.pem", "two.crt", "notes.txt"), ("0a1b2c3d.0", "0a1b2c3d.1", "notes.pem")])
def test_a_folder_of_certificates(
    authorities: list[Authority], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    for name, authority in zip(names, authorities, strict=False):
        (folder / name).write_bytes(authority.file.read_bytes())
    (folder / names[-1]).write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert trusted(Network().ssl_context()) >= {certificate_of(authority) for authority in authorities}


@pytest.mark.parametrize("content", ["absent", "empty", "nonsense", "empty folder", "large"])
def test_what_cannot_be_used_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    path = tmp_path / "ca.pem"
    if content == "empty folder":
        path.mkdir()
    elif content == "large":
        with path.open("wb") as file:
            file.truncate(2**30)
    elif content != "absent":
        path.write_text(content * (content != "empty"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(path))
    for use in (lambda: Network().ssl_context(), ca_bundle):
        with pytest.raises(StartError, match=f"CURL_CA_BUNDLE names {path}, which .*Correct or unset it"):
            use()
    with pytest.raises(UnusableCertificates):
        Network().ssl_context()


def test_a_read_only_home_still_trusts_the_authority(
    authorities: list[Authority], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("ccproxy.server.masters.data_dir", lambda: tmp_path / "file" / "ccproxy")
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities[0].file))
    bundle = ca_bundle()
    assert bundle is not None
    assert authorities[0].file.read_bytes() in bundle.read_bytes()
    bundle.unlink()
