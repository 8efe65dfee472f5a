from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from ccproxy.auth.callback import LoginRefused, PortBusy
from ccproxy.auth.clients import OAuthClient
from ccproxy.auth.login import LoginTimeout, NoBrowser, browser_login, device_login, manual_login
from ccproxy.errors import LoginError
from ccproxy.network import Network
from tests.fakes.oauth import FakeOAuth, Reply
from tests.unit.auth.people import Browser, Person, Watch, get

QUICK = Network(connect_timeout=30, read_timeout=30)


@pytest.mark.parametrize("kind", ["claude", "codex"])
def test_a_browser_signs_in(server: FakeOAuth, kind: str) -> None:
    client: OAuthClient = getattr(server, kind)
    browser = Browser()
    login = browser_login(client, QUICK, Person(browser), Watch().pace())
    assert login.account == "someone@example.invalid"
    assert login.refresh_token is not None
    assert login.expires_at is not None
    assert browser.arrived.wait(10)
    assert browser.pages[0][0] == 200
    assert "You can close this page" in browser.pages[0][1]
    assert server.count(urlsplit(client.token_url).path, grant_type="authorization_code") == 1


def test_the_redirect_is_what_the_vendor_allows(server: FakeOAuth) -> None:
    browser_login(server.claude, QUICK, Person(Browser()), Watch().pace())
    redirect = urlsplit(server.requests[0].query["redirect_uri"])
    assert (redirect.scheme, redirect.hostname, redirect.path) == ("http", "localhost", "/callback")
    assert redirect.port


@pytest.mark.parametrize(
    ("consent", "description", "words"),
    [
        ("access_denied", "", "You refused the access"),
        ("access_denied", "missing_codex_entitlement", "has no access to Codex"),
        ("server_error", "<b>later</b>", "The sign-in failed"),
    ],
)
def test_a_refusal_is_told_in_both_places(server: FakeOAuth, consent: str, description: str, words: str) -> None:
    server.consent, server.consent_description = consent, description
    browser = Browser()
    with pytest.raises(LoginRefused, match=words):
        browser_login(server.codex, QUICK, Person(browser), Watch().pace())
    assert browser.arrived.wait(10)
    status, page = browser.pages[0]
    assert status == 400
    assert words in page
    assert "<b>" not in page
    assert not server.count("/oauth/token")


def test_an_answer_with_a_wrong_state_is_ignored_and_counted(server: FakeOAuth) -> None:
    server.wrong_state = True
    browser, watch = Browser(), Watch()

    class Gone(Person):
        def pasted(self) -> str | None:
            browser(self.url)
            watch.seconds = 10_000
            return None

    with pytest.raises(LoginTimeout, match="1 answer of other sign-ins ignored"):
        browser_login(server.claude, QUICK, Gone(), watch.pace(), open_browser=False)
    assert browser.pages[0][0] == 400
    assert "still waits" in browser.pages[0][1]
    assert not server.count("/v1/oauth/token")


def test_a_web_page_cannot_end_a_sign_in(server: FakeOAuth) -> None:
    """It knows the port and not the state."""

    def browse(url: str) -> bool:
        redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for query in ("code=c&state=guess", "error=access_denied", "error=access_denied&state=x", "state=x", ""):
            assert get(f"{redirect}?{query}")[0] == 400
        return Browser()(url)

    login = browser_login(server.codex, QUICK, Person(browse), Watch().pace())
    assert login.account_id == "acct-1"


def test_an_expired_code(server: FakeOAuth) -> None:
    server.answers["/v1/oauth/token"] = [Reply(400, {"error": "invalid_grant", "error_description": "expired"})]
    with pytest.raises(LoginRefused, match=r"The code was not accepted.*expired.*run `ccproxy auth login` again"):
        browser_login(server.claude, QUICK, Person(Browser()), Watch().pace())


def test_no_browser(server: FakeOAuth) -> None:
    with pytest.raises(NoBrowser, match="`ccproxy auth login --no-browser`"):
        browser_login(server.claude, QUICK, Person(lambda _: False), Watch().pace())


def test_nobody_comes_back(server: FakeOAuth) -> None:
    watch = Watch()

    class Gone(Person):
        def pasted(self) -> str | None:
            watch.seconds = 10_000
            return None

    with pytest.raises(LoginTimeout, match="within 5 minutes"):
        browser_login(server.codex, QUICK, Gone(), watch.pace(), open_browser=False)


def test_no_network_at_the_end(server: FakeOAuth) -> None:
    server.answers["/oauth/token"] = [Reply(503)]
    with pytest.raises(LoginRefused, match=r"could not be finished.*no capacity"):
        browser_login(server.codex, QUICK, Person(Browser()), Watch().pace())


def test_ctrl_c_leaves_nothing_behind(server: FakeOAuth) -> None:
    seen: list[int] = []

    class Impatient(Person):
        def pasted(self) -> str | None:
            seen.append(urlsplit(parse_qs(urlsplit(self.url).query)["redirect_uri"][0]).port or 0)
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        browser_login(server.codex, QUICK, Impatient(), Watch().pace(), open_browser=False)
    with socket.create_server(("127.0.0.1", seen[0])):
        pass
    assert threading.active_count() == before


def test_the_end_address_can_be_pasted_from_another_machine(server: FakeOAuth) -> None:
    def ended_at(url: str) -> str:
        status, headers, _ = get(url)
        assert status == 302
        return headers["Location"]

    person = Person(types=ended_at)
    login = browser_login(server.codex, QUICK, person, Watch().pace(), open_browser=False)
    assert login.account_id == "acct-1"
    assert "paste that address here" in " ".join(person.told)


def shown_code(url: str) -> str:
    status, _, page = get(url)
    assert status == 200
    return page.removeprefix("Paste: ")


def test_a_pasted_code(server: FakeOAuth) -> None:
    login = manual_login(server.claude, QUICK, Person(types=lambda url: f"  {shown_code(url)}\n"), Watch().pace())
    assert login.account == "someone@example.invalid"
    assert server.requests[0].query["redirect_uri"] == "https://platform.claude.com/oauth/code/callback"
    assert server.requests[1].json["state"] == server.requests[0].query["state"]


@pytest.mark.parametrize(
    ("pasted", "words"),
    [
        (lambda code: code.partition("#")[0], "not the whole code"),
        (lambda code: "#" + code.partition("#")[2], "not the whole code"),
        (lambda code: code.partition("#")[0] + "#another", "wrong state"),
        (lambda code: "", "not the whole code"),
        (lambda code: "https://page.invalid/?code=1&state=2", "wrong state"),
        (lambda code: None, "No code was pasted"),
    ],
    ids=["no state", "no code", "another state", "nothing", "an address", "no input"],
)
def test_a_wrong_paste(server: FakeOAuth, pasted: object, words: str) -> None:
    with pytest.raises(LoginRefused, match=words):
        manual_login(server.claude, QUICK, Person(types=lambda url: pasted(shown_code(url))), Watch().pace())  # type: ignore[operator]
    assert not server.count("/v1/oauth/token")


def test_a_device_code(server: FakeOAuth) -> None:
    server.pending_polls = 2
    watch, person = Watch(), Person()
    login = device_login(server.codex, QUICK, person, watch.pace())
    assert login.account_id == "acct-1"
    assert watch.slept == [5.0, 5.0, 5.0]
    assert "ABCD-12345" in person.told[0]
    assert f"{server.url}/codex/device" in person.told[0]
    assert server.requests[-1].form["redirect_uri"] == f"{server.url}/deviceauth/callback"


def test_a_device_code_that_nobody_types(server: FakeOAuth) -> None:
    server.pending_polls = 10_000
    with pytest.raises(LoginTimeout, match=r"within 15 minutes \(the code was not typed\)"):
        device_login(server.codex, QUICK, Person(), Watch().pace())


def test_a_lost_poll_is_no_failure(server: FakeOAuth) -> None:
    server.answers["/api/accounts/deviceauth/token"] = [Reply(500), Reply(429, {}, {"Retry-After": "30"}), Reply(403)]
    watch = Watch()
    assert device_login(server.codex, QUICK, Person(), watch.pace()).account_id
    assert watch.slept == [5.0, 5.0, 30.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("path", "reply", "words"),
    [
        ("usercode", Reply(404, {"error": "not_found"}), "No device login"),
        ("usercode", Reply(200, {"user_code": "X"}), "sent no device code"),
        ("usercode", Reply(500), "no capacity"),
        ("token", Reply(400, {"error": {"code": "expired_token"}}), "The sign-in failed.*expired_token"),
        ("token", Reply(200, {}), "not finished within"),
    ],
)
def test_a_device_login_that_fails(server: FakeOAuth, path: str, reply: Reply, words: str) -> None:
    server.answers[f"/api/accounts/deviceauth/{path}"] = [reply] * 1000
    with pytest.raises(LoginError, match=words):
        device_login(server.codex, QUICK, Person(), Watch().pace())


def test_claude_has_no_device_login(server: FakeOAuth) -> None:
    with pytest.raises(LoginRefused, match="Claude has no device login"):
        device_login(server.claude, QUICK, Person(), Watch().pace())


@pytest.fixture
def two_ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        yield first, second


def test_a_busy_port_has_a_second_one(server: FakeOAuth, two_ports: tuple[socket.socket, socket.socket]) -> None:
    first, second = two_ports
    ports = [each.getsockname()[1] for each in two_ports]
    client = replace(
        server.codex, redirect_uri=f"http://127.0.0.1:{ports[0]}/auth/callback", fallback_ports=(ports[1],)
    )
    with pytest.raises(PortBusy, match=f"port {ports[0]} and {ports[1]}"):
        browser_login(client, QUICK, Person(Browser()), Watch().pace())
    assert not server.requests
    second.close()
    browser_login(client, QUICK, Person(Browser()), Watch().pace())
    assert server.requests[0].query["redirect_uri"] == f"http://127.0.0.1:{ports[1]}/auth/callback"
    first.close()
