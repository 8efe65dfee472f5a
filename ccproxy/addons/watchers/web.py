"""mitmweb around the same chain, behind a token on every supported version, keeping a bounded number of exchanges."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, Final

import tornado.httpserver
import tornado.web
from mitmproxy import http, options

from ccproxy.addons.transport.mitmproxy_internals import WebMaster, web_app, webaddons
from ccproxy.addons.transport.upstream_tls import UpstreamTls
from ccproxy.addons.watchers.traffic import is_own_endpoint, path_of

MAX_BYTES: Final = 128 << 20
"""Bytes of the bodies of all exchanges that mitmweb shows; `server.web_max_flows` is their number."""
MAX_OWN: Final = 20
"""Requests to ccproxy's own endpoints that are shown besides."""
_FLOW_BYTES: Final = 8 << 10
"""Bytes of a flow without its bodies, about."""


def web_master(
    opts: options.Options, *, port: int, max_flows: int, open_browser: bool
) -> tuple[WebMaster, Bounded, str]:
    """A WebMaster that listens on 127.0.0.1 only, what shows exchanges in it, and the URL to open, token included."""
    master = ClosingWebMaster(opts, with_termlog=False)
    master.addons.remove(master.addons.get("errorcheck"))
    master.addons.remove(master.addons.get("tlsconfig"))
    bounded = Bounded(master, max_flows)
    master.addons.add(UpstreamTls(), bounded)
    opts.update(web_columns=["icon", "path", "method", "status", "size", "time", "comment"])
    opts.update(web_port=port, web_host="127.0.0.1", web_open_browser=False)
    auth = master.addons.get("webauth")
    url = str(auth.web_url) if auth else f"http://127.0.0.1:{port}/?token={_ask_for_token(master.app)}"
    if open_browser:
        master.addons.add(Browser(url))
    return master, bounded, url


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
    """Removes the oldest exchanges, by number and by bytes, so that a long-running mitmweb does not fill the memory.

    ccproxy's own endpoints (`/metrics`, …) are counted apart: a scraper does not push exchanges out.
    """

    name = "ccproxy_bounded"

    def __init__(self, master: WebMaster, max_flows: int) -> None:
        self._view = master.view
        self._max_flows = max_flows
        self._exchanges: dict[str, int] = {}  # bytes of those that are over, by flow id, the oldest first
        self._own: dict[str, None] = {}  # the same for own endpoints
        self._bytes = 0

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.live:
            self._remove_oldest()
        else:  # from a file that is opened in mitmweb
            self.show([flow])

    def show(self, flows: Sequence[http.HTTPFlow]) -> None:
        for flow in flows:
            if is_own_endpoint(path_of(flow)):
                self._own[flow.id] = None
            else:
                size = _size(flow)
                self._bytes += size - self._exchanges.pop(flow.id, 0)
                self._exchanges[flow.id] = size
        self._remove_oldest()

    def show_progress(self, flow: http.HTTPFlow) -> None:
        """Nothing has been added."""

    def _remove_oldest(self) -> None:
        """Those that were removed in mitmweb itself are not in its store any more, but still counted: they are the next to go."""
        store = self._view._store  # noqa: SLF001 - the view itself can be filtered; the store holds all
        while len(self._own) > MAX_OWN:
            self._remove(next(iter(self._own)), store)
        while self._exchanges and (len(store) - len(self._own) > self._max_flows or self._bytes > MAX_BYTES):
            self._remove(next(iter(self._exchanges)), store)

    def _remove(self, flow_id: str, store: Any) -> None:
        self._own.pop(flow_id, None)
        self._bytes -= self._exchanges.pop(flow_id, 0)
        if (flow := store.get(flow_id)) is not None:
            self._view.remove([flow])


def _size(flow: http.HTTPFlow) -> int:
    """About the bytes that a flow keeps in memory."""
    messages = (flow.request, flow.response)
    return _FLOW_BYTES + sum(len(message.raw_content or b"") for message in messages if message)


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
            sent = self.get_argument("token", "") or self.get_cookie(cookie) or ""
            if not hmac.compare_digest(sent.encode(), token.encode()):
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
