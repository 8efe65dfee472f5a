"""Every name of mitmproxy that is not part of its public API (https://docs.mitmproxy.org/stable/api/events.html), imported in one place.

A release of mitmproxy may move or remove any of them without notice: then this file has to change, and no other. `tests/mitmproxy_names.py` lists what a
release lacks. Names that few need are loaded when they are first used: mitmweb imports Tornado.

Two things differ between the supported branches:

- mitmproxy 11.0 has numbers where 11.1 introduced `ErrorCode` for protocol errors: see `CUT`.
- mitmproxy 11.0 has the constant `TCP_TIMEOUT` where 12 has the option `tcp_timeout`: see `ccproxy.mitmproxy_patches`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.addons import core, next_layer, proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.hooks import Hook, UpdateHook
from mitmproxy.io import FlowWriter
from mitmproxy.log import MitmLogHandler
from mitmproxy.master import Master
from mitmproxy.net.http import http1, status_codes
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import commands, events, layer, server as proxy_server, tunnel
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layer import CommandGenerator, Layer, NextLayer
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpErrorHook,
    HttpLayer,
    HTTPMode,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    HttpStream,
    RegisterHttpConnection,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
    _upstream_proxy as upstream_proxy,
)
from mitmproxy.proxy.layers.http._base import HttpConnection, HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.modes import ReverseProxy
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.utils import expect

if TYPE_CHECKING:
    from mitmproxy.addons.savehar import SaveHar
    from mitmproxy.tools.web import app as web_app, webaddons
    from mitmproxy.tools.web.master import WebMaster

__all__ = [
    "CUT",
    "AddonManager",
    "CommandGenerator",
    "ConnectionHandler",
    "DropStream",
    "FlowWriter",
    "GetHttpConnection",
    "GetHttpConnectionCompleted",
    "HTTPMode",
    "Hook",
    "HttpConnection",
    "HttpErrorHook",
    "HttpEvent",
    "HttpLayer",
    "HttpRequestHeadersHook",
    "HttpRequestHook",
    "HttpResponseHeadersHook",
    "HttpResponseHook",
    "HttpStream",
    "Layer",
    "Master",
    "MitmLogHandler",
    "NextLayer",
    "ReceiveHttp",
    "RegisterHttpConnection",
    "RequestData",
    "RequestEndOfMessage",
    "RequestHeaders",
    "RequestProtocolError",
    "RequestTrailers",
    "ResponseData",
    "ResponseEndOfMessage",
    "ResponseHeaders",
    "ResponseProtocolError",
    "ResponseTrailers",
    "ReverseProxy",
    "SaveHar",
    "SendHttp",
    "StartHook",
    "TlsConfig",
    "UpdateHook",
    "WebMaster",
    "commands",
    "core",
    "events",
    "expect",
    "expected_http_body_size",
    "http1",
    "layer",
    "next_layer",
    "proxy_server",
    "proxyserver",
    "safecall",
    "status_codes",
    "tls",
    "tunnel",
    "upstream_proxy",
    "web_app",
    "webaddons",
]

LATE: Final = {
    "SaveHar": ("mitmproxy.addons.savehar", "SaveHar"),
    "web_app": ("mitmproxy.tools.web.app", ""),
    "webaddons": ("mitmproxy.tools.web.webaddons", ""),
    "WebMaster": ("mitmproxy.tools.web.master", "WebMaster"),
}
"""Names that are loaded when they are first used: module, and attribute unless it is the module itself."""

# What closes a client's connection without a response.
try:
    from mitmproxy.proxy.layers.http import ErrorCode

    CUT: Any = ErrorCode.KILL
except ImportError:
    from mitmproxy.net.http.status_codes import NO_RESPONSE as CUT  # mitmproxy 11.0


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = LATE[name]
    value = importlib.import_module(module)
    return getattr(value, attribute) if attribute else value
