"""mitmweb around the same chain, behind a token on every supported version, keeping a bounded number of exchanges."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any

import tornado.httpserver
import tornado.web
from mitmproxy import http, options

from ccproxy.addons.transport.mitmproxy_internals import WebMaster, web_app, webaddons
from ccproxy.addons.transport.upstream_tls import UpstreamTls


def web_master(
    opts: options.Options, *, port: int, max_flows: int, open_browser: bool
) -> tuple[WebMaster, Bounded, str]:
    """A WebMaster that listens on 127.0.0.1 only, what shows exchanges in it, and the URL to open, token included."""
    made = ClosingWebMaster(opts, with_termlog=False)
    made.addons.remove(made.addons.get("errorcheck"))
    made.addons.remove(made.addons.get("tlsconfig"))
    bounded = Bounded(made, max_flows)
    made.addons.add(UpstreamTls(), bounded)
    opts.update(web_columns=["icon", "path", "method", "status", "size", "time", "comment"])
    opts.update(web_port=port, web_host="127.0.0.1", web_open_browser=False)
    auth = made.addons.get("webauth")
    url = str(auth.web_url) if auth else f"http://127.0.0.1:{port}/?token={_ask_for_token(made.app)}"
    if open_browser:
        made.addons.add(Browser(url))
    return made, bounded, url


class ClosingWebMaster(WebMaster):
    """mitmproxy's own never closes its listener, and logs its URL with the token."""

    listener: tornado.httpserver.HTTPServer | None = None

    async def running(self) -> None:
        self.listener = tornado.httpserver.HTTPServer(self.app, max_buffer_size=2**32)
        port = self.options.web_port
        try:
            self.listener.listen(port, self.options.web_host)
        except OSError as error:
            raise OSError(f"mitmweb cannot listen on port {port} ({error.strerror}): see --web-port") from error
        await super(WebMaster, self).running()

    async def done(self) -> None:
        await super().done()
        if self.listener:
            self.listener.stop()
            await self.listener.close_all_connections()


class Bounded:
    """Lets the oldest exchanges go, so that a long-running mitmweb does not fill the memory."""

    name = "ccproxy_bounded"

    def __init__(self, made: WebMaster, max_flows: int) -> None:
        self._view = made.view
        self._max = max_flows

    def requestheaders(self, flow: Any) -> None:
        del flow
        self._let_go()

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        """There is one flow more where an exchange has two legs."""
        del flows
        self._let_go()

    def _let_go(self) -> None:
        store = self._view._store  # noqa: SLF001 - the view itself can be filtered; the store holds all, in order of arrival
        if len(store) > self._max:
            ended = (found for found in store.values() if not found.live)
            self._view.remove(list(islice(ended, len(store) - self._max)))


class Browser:
    """Opens mitmweb once it listens."""

    name = "ccproxy_browser"

    def __init__(self, url: str) -> None:
        self._url = url

    def running(self) -> None:
        webaddons.open_browser(self._url)


def _ask_for_token(app: web_app.Application) -> str:
    """mitmweb up to 11.1.1 asks for nothing (CVE-2025-23217): give every one of its handlers a check of a token."""
    token = secrets.token_hex(16)
    cookie = f"ccproxy-web-{token[:8]}"

    class Checked:
        """Runs before the handler's own `prepare`."""

        def prepare(self: Any) -> Any:
            given = self.get_argument("token", "") or self.get_cookie(cookie) or ""
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise tornado.web.HTTPError(403, "open mitmweb with the URL that ccproxy printed: it has the token")
            if self.get_argument("token", ""):
                self.set_cookie(cookie, token, httponly=True, samesite="Strict")
            return super(Checked, self).prepare()  # type: ignore[misc]  # noqa: UP008 - self is a tornado handler, mixed in below

    for rules in (
        app.default_router.rules,
        *(rule.target.rules for rule in app.default_router.rules if hasattr(rule.target, "rules")),
    ):
        for rule in rules:
            target = rule.target
            if isinstance(target, type) and issubclass(target, tornado.web.RequestHandler):
                rule.target = type(target.__name__, (Checked, target), {})
    return token
