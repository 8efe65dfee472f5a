"""The network of a company: a proxy with a login, CAs of its own. And TLS to upstreams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccproxy.errors import StartError
from ccproxy.server.proxy_server import ProxyServer
from ccproxy.settings import Settings
from tests.conftest import Serve
from tests.fakes.certificates import Authority
from tests.fakes.client import message, request
from tests.fakes.company_proxy import CompanyProxy
from tests.fakes.pace import Pace, within
from tests.fakes.proxy import ANTHROPIC_KEY, Proxy
from tests.fakes.upstream import PATIENCE, Received, Upstream, Wire, chunk

LOGIN = "jane:p%40ss%20word"  # as it stands in a URL
PASSWORD = "p@ss word"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[Upstream]:
    """An upstream that calls itself api.test and speaks TLS."""
    async with Upstream(tls=authority.server("api.test")) as made:
        yield made
    assert not made.broken


def at(url: str) -> dict[str, dict[str, str]]:
    return {"claude_api": {"base_url": url}}


# ---- TLS


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_a_ca_of_the_environment_is_trusted(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority.file))
    for name, host in (("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")):
        async with Upstream(tls=authority.server(name)) as upstream:
            proxy: Proxy = await serve(providers=at(f"https://{host}:{upstream.port}"))
            async with proxy.connect() as client:
                for _ in range(2):
                    assert (await client.ask(request(body=message()))).status == 200
            assert upstream.last.values("host") == [f"{host}:{upstream.port}".encode()]
            assert upstream.last.line == b"POST /v1/messages HTTP/1.1"
            assert upstream.connections == 1


async def test_no_other_is(serve: Serve, authority: Authority) -> None:
    async with Upstream(tls=authority.server("localhost")) as upstream:
        proxy: Proxy = await serve(providers=at(f"https://localhost:{upstream.port}"))
        answer = await proxy.post("/api/v1/messages", message())
        assert answer.status == 502
        assert "certificate" in answer.message.lower()
        assert upstream.requests == []


async def test_a_certificate_for_another_name(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with Upstream(tls=authority.server("other.test")) as upstream:
        proxy: Proxy = await serve(providers=at(f"https://localhost:{upstream.port}"))
        answer = await proxy.post("/api/v1/messages", message())
        assert answer.status == 502
        assert upstream.requests == []


async def test_a_ca_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    with pytest.raises(StartError, match="SSL_CERT_FILE"):
        async with asyncio.timeout(PATIENCE):
            await ProxyServer(Settings(server={"port": 0})).run()


async def test_a_stream_over_tls_that_breaks(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(b"data: 1\n\n", end=False)
        wire.reset()

    async with Upstream(script, tls=authority.server("localhost")) as upstream:
        proxy: Proxy = await serve(providers=at(f"https://localhost:{upstream.port}"))
        answer = await proxy.post("/api/v1/messages", message())
        assert answer.body.startswith(b"data: 1\n\nevent: error\n")


# ---- a proxy on the way


async def test_an_upstream_is_reached_through_the_proxy_with_its_login(
    serve: Serve,
    secure: Upstream,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with CompanyProxy({"api.test:443": ("127.0.0.1", secure.port)}, login=f"jane:{PASSWORD}") as company:
        monkeypatch.setenv("HTTPS_PROXY", company.url(LOGIN))
        proxy: Proxy = await serve(providers=at("https://api.test"))
        async with proxy.connect() as client:
            for _ in range(2):
                assert (await client.ask(request(body=message()))).status == 200
        assert [line for line, _ in company.asked] == ["CONNECT api.test:443 HTTP/1.1"]  # one tunnel, used twice
        assert ANTHROPIC_KEY.encode() not in str(company.asked).encode()
    assert secure.last.values("host") == [b"api.test"]
    assert secure.last.values("x-api-key") == [ANTHROPIC_KEY.encode()]
    assert secure.last.values("proxy-authorization") == []
    for secret in ("jane", PASSWORD, LOGIN):
        assert secret not in caplog.text


async def test_plain_http_goes_through_http_proxy(
    serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with CompanyProxy({"api.test:8080": ("127.0.0.1", upstream.port)}) as company:
        monkeypatch.setenv("http_proxy", company.url())
        monkeypatch.setenv("HTTPS_PROXY", "http://localhost:1")
        proxy: Proxy = await serve(providers=at("http://api.test:8080"))
        assert (await proxy.post("/api/v1/messages", message())).status == 200
    assert upstream.last.values("host") == [b"api.test:8080"]


async def test_all_proxy(serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    async with CompanyProxy({"api.test:80": ("127.0.0.1", upstream.port)}) as company:
        monkeypatch.setenv("ALL_PROXY", company.url())
        proxy: Proxy = await serve(providers=at("http://api.test"))
        assert (await proxy.post("/api/v1/messages", message())).status == 200


async def test_a_proxy_that_speaks_tls(
    serve: Serve, secure: Upstream, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with CompanyProxy({"api.test:443": ("127.0.0.1", secure.port)}, tls=authority.server("localhost")) as company:
        monkeypatch.setenv("HTTPS_PROXY", company.url())
        proxy: Proxy = await serve(providers=at("https://api.test"))
        assert (await proxy.post("/api/v1/messages", message())).status == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://localhost:{port}"])
async def test_this_machine_is_never_reached_through_a_proxy(
    serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://localhost:1")
    proxy: Proxy = await serve(providers=at(url.format(port=upstream.port)))
    assert (await proxy.post("/api/v1/messages", message())).status == 200


@pytest.mark.parametrize("names", ["api.test", ".test", "other,api.test", "*", "API.TEST", "api.test:80"])
async def test_no_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    async with CompanyProxy({}) as company:
        monkeypatch.setenv("HTTP_PROXY", company.url())
        monkeypatch.setenv("NO_PROXY", names)
        proxy: Proxy = await serve(server={"connect_timeout": 2}, providers=at("http://api.test"))
        assert (await proxy.post("/api/v1/messages", message())).status == 502  # the name does not exist
        assert company.asked == []


@pytest.mark.parametrize("names", ["other.test", "pi.test", ""])
async def test_no_proxy_for_others(serve: Serve, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    async with CompanyProxy({}) as company:
        monkeypatch.setenv("HTTP_PROXY", company.url())
        monkeypatch.setenv("NO_PROXY", names)
        proxy: Proxy = await serve(providers=at("http://api.test"))
        assert (await proxy.post("/api/v1/messages", message())).status == 502
        assert company.asked


async def test_a_login_that_is_wrong(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with CompanyProxy({"api.test:80": ("127.0.0.1", 1)}, login="jane:other") as company:
        monkeypatch.setenv("HTTP_PROXY", company.url(LOGIN))
        proxy: Proxy = await serve(providers=at("http://api.test"))
        answer = await proxy.post("/api/v1/messages", message())
        assert (answer.status, answer["content-type"]) == (502, "application/json")
        assert "407" in answer.message
        for secret in ("jane", PASSWORD):
            assert secret not in answer.message


async def test_a_proxy_that_is_not_there(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://jane:secret@localhost:1")
    proxy: Proxy = await serve(providers=at("http://api.test"))
    answer = await proxy.post("/api/v1/messages", message())
    assert answer.status == 502
    assert "secret" not in answer.message


async def test_a_proxy_that_never_answers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with CompanyProxy({}, silent=True) as company:
        monkeypatch.setenv("HTTP_PROXY", company.url())
        proxy: Proxy = await serve(server={"connect_timeout": 0.3}, providers=at("http://api.test"))
        pace = Pace()
        answer = await proxy.post("/api/v1/messages", message())
        assert answer.status == 502
        assert "server.connect_timeout" in answer.message
        assert pace.stop() < 1
        assert len(company.asked) == 1


async def test_a_client_that_leaves_closes_the_tunnel(
    serve: Serve, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()

    async def script(wire: Wire, _: Received) -> None:
        await wire.stream(end=False)
        await wire.send(chunk(b"data: 1\n\n"))
        await wire.left()
        gone.set()

    upstream.script = script
    async with CompanyProxy({"api.test:80": ("127.0.0.1", upstream.port)}) as company:
        monkeypatch.setenv("HTTP_PROXY", company.url())
        proxy: Proxy = await serve(providers=at("http://api.test"))
        async with proxy.connect() as client:
            await client.send(request(body=message()))
            await client.until(b"data: 1\n\n")
        async with within(0.5):
            await gone.wait()


@pytest.mark.parametrize("value", ["socks5://localhost:1", "nonsense://", "http://"])
async def test_a_proxy_of_another_kind_is_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    proxy: Proxy = await serve(server={"connect_timeout": 2}, providers=at("http://api.test"))
    assert (await proxy.post("/api/v1/messages", message())).status == 502
    assert "proxy" in caplog.text
