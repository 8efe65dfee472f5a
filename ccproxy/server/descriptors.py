"""Open files and sockets: as many as the system allows, and a polite refusal when there are no more.

Each exchange takes a socket for its client and one for its upstream. Many systems start programs with a soft limit of 256 or 1024.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ccproxy.addons.transport.http1_heads import target_in
from ccproxy.addons.transport.responses import last_words
from ccproxy.errors import Unavailable

logger = logging.getLogger(__name__)

MOST: Final = 65_536
"""Descriptors beyond which the limit is not raised: containers often allow a billion, and some programs that are started from here close each possible one."""
_PORTABLE: Final = 10_240
"""What macOS accepts where it names no hard limit (OPEN_MAX)."""
LOG_INTERVAL: Final = 60.0
"""Seconds between two lines of the log about refused connections."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard limit, at most to `MOST`. Windows has none."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    for limit in (MOST if hard == infinite else min(hard, MOST), _PORTABLE):
        if soft == infinite or limit <= soft:
            return
        with contextlib.suppress(ValueError, OSError):  # macOS refuses what its kernel does not support
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            logger.debug("The limit of open files was raised from %d to %d", soft, limit)
            return


def open_file_limit() -> int | None:
    """The soft limit of open files, if there is one."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


class AcceptFailures:
    """An addon that handles connections that cannot be accepted because all descriptors are in use.

    asyncio then logs a traceback for each place in the listener's backlog, a hundred times a second, and leaves the client waiting
    (https://github.com/python/cpython/blob/main/Lib/asyncio/selector_events.py, `_accept_connection`). Here a descriptor is kept in reserve: it is freed to
    accept one connection, which gets a 503.
    """

    name = "ccproxy_accept_failures"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reserve: int | None = None
        self._previous: Handler | None = None
        self._logged = -LOG_INTERVAL
        self._refused = 0

    def running(self) -> None:
        """mitmproxy's hook: the event loop has mitmproxy's exception handler now."""
        loop = asyncio.get_running_loop()
        self._previous = loop.get_exception_handler()
        loop.set_exception_handler(self.handle)
        self._keep_in_reserve()

    def done(self) -> None:
        """mitmproxy's hook: the proxy stops."""
        self._free_reserve()

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take an exception that no task handles."""
        if _is_failed_accept(context):
            self._refuse_one(context["socket"].fileno())
            self._log(context["exception"])
        elif self._previous is not None:
            self._previous(loop, context)
        else:
            loop.default_exception_handler(context)

    def _refuse_one(self, listener: int) -> None:
        """Accept one waiting connection, if there is any, and respond with an error."""
        self._free_reserve()
        shared = socket.socket(fileno=listener)  # a second object for the loop's own descriptor
        try:
            connection, _ = shared.accept()
        except OSError:  # the client has left, or another thread was faster
            return
        else:
            with connection:
                _say_unavailable(connection)
            self._refused += 1
        finally:
            shared.detach()
            self._keep_in_reserve()

    def _log(self, error: OSError) -> None:
        now = self._clock()
        if not self._refused or now - self._logged < LOG_INTERVAL:
            return
        logger.warning(
            "New connections are refused (%d since the last report): %s. The limit is %s: raise it with ulimit -n, or close idle clients",
            self._refused, error.strerror, open_file_limit() or "the system's",
        )  # fmt: skip
        self._logged, self._refused = now, 0

    def _keep_in_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _free_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None


def _is_failed_accept(context: Mapping[str, Any]) -> bool:
    error = context.get("exception")
    return isinstance(error, OSError) and error.errno in _EXHAUSTED and hasattr(context.get("socket"), "fileno")


def _say_unavailable(connection: socket.socket) -> None:
    """Respond with a 503 in the format of the request, as far as it has come. Nothing here waits."""
    connection.settimeout(0)
    request = b""
    with contextlib.suppress(OSError):
        request = connection.recv(65_536)  # a socket that is closed with unread data is reset, and the response lost
    limit = open_file_limit()
    error = Unavailable(
        f"ccproxy has no file descriptor left for this connection (the limit is {limit}): retry later, or raise it with ulimit -n",
        headers={"retry-after": "1"},
    )
    with contextlib.suppress(OSError):
        connection.send(last_words(error, target_in(request)))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65_536)
