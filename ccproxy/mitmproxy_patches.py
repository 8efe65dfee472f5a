"""Every change that ccproxy makes to mitmproxy's own objects, in one table.

`CCPROXY_PATCHES=off` turns all of them off: to find out whether a patch causes a problem, or for a release of mitmproxy that one no longer fits. ccproxy
then works as before, but starts and responds more slowly. In a stock mitmproxy (`mitmdump -s "$(ccproxy addon-path)"`) only `client_timeout` is applied.

Extensions by subclassing (streams, HTTP/1, TLS to upstreams) do not count as patches; they are in `ccproxy.addons.transport`. The hooks that
`ccproxy.addons.watchers.mitmproxy_sinks` puts in front of mitmproxy's own sinks keep secrets out of them, so they cannot be turned off.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Patch:
    """One change, with what a maintainer needs to know about it."""

    name: str
    what: str
    why: str
    versions: str
    """The releases of mitmproxy that it was tried with."""
    gain: str
    """As measured on two cores, Python 3.13."""
    test: str


PATCHES: Final = (
    Patch(
        name="addons_on_demand",
        what="`mitmproxy.addons` is imported without the thirty addons that it lists; `default_addons` still loads them.",
        why="They bring a Flask application and an LDAP client, which a gateway does not use.",
        versions="11.0.2, 12.2.3, 12.3.1",
        gain="A third of the time from the start to the first response",
        test="tests/unit/test_mitmproxy_patches.py::test_only_the_addons_that_are_used_are_imported",
    ),
    Patch(
        name="no_type_checks",
        what="`http.MessageData.__post_init__` does nothing, as under `python -O`.",
        why="mitmproxy checks the types of all fields of each message for the authors of addons.",
        versions="11.0.2, 12.2.3, 12.3.1",
        gain="30 µs per message, of which an exchange makes six; the check also leaves tracebacks that keep finished exchanges in memory",
        test="tests/unit/test_mitmproxy_patches.py::test_messages_are_made_without_a_look_at_their_types",
    ),
    Patch(
        name="quick_headers",
        what="The headers of a message that was read from the wire get the class `transport.http1_heads.QuickHeaders`.",
        why="mitmproxy decodes and joins the name of every field for each look-up; an exchange needs about fifteen.",
        versions="11.0.2, 12.2.3, 12.3.1",
        gain="Two thirds of each look-up, some 60 µs per exchange",
        test="tests/unit/test_mitmproxy_patches.py::test_headers_are_looked_up_alike_with_and_without",
    ),
    Patch(
        name="hook_table",
        what="`Master.addons` is a `transport.hook_table.FixedChain`.",
        why="mitmproxy asks every addon at every event, and makes a task for each hook that a layer waits for.",
        versions="11.0.2, 12.2.3, 12.3.1",
        gain="A quarter of a small exchange",
        test="tests/unit/test_mitmproxy_patches.py::test_a_proxy_works_without_any_patch",
    ),
    Patch(
        name="no_legacy_log",
        what="The handler for the hook `add_log` is uninstalled.",
        why="No addon of the chain has that hook, and each record of the log would become an event of the loop.",
        versions="11.0.2, 12.2.3, 12.3.1",
        gain="Not measured apart from `hook_table`",
        test="tests/unit/test_mitmproxy_patches.py::test_a_proxy_works_without_any_patch",
    ),
    Patch(
        name="client_timeout",
        what="`proxy.server.TCP_TIMEOUT` is set to `server.idle_timeout`.",
        why="In mitmproxy 11.0 it is a constant of ten minutes; 12 has the option `tcp_timeout`, where nothing is patched.",
        versions="11.0.2",
        gain="None: without it `server.idle_timeout` does not hold for clients that are silent",
        test="tests/faults/test_clients.py::test_the_idle_timeout_is_a_setting",
    ),
)


def enabled() -> bool:
    """Whether the patches are on: unless `CCPROXY_PATCHES=off`."""
    return os.environ.get("CCPROXY_PATCHES", "").strip().lower() != "off"


class _OnDemand(ModuleType):
    """A package whose submodules can be imported alone; its own code runs when the one thing that it defines is used."""

    def __getattr__(self, name: str) -> Any:
        if name != "default_addons":  # the import system asks for a submodule before it loads it
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # an ordinary module from here on
        spec = self.__spec__
        assert spec
        assert spec.loader
        spec.loader.exec_module(self)
        return getattr(self, name)


def load_addons_on_demand() -> None:
    """Apply `addons_on_demand`. Only before mitmproxy's addons are imported: `from mitmproxy.addons import core` then loads that one alone."""
    if "mitmproxy.addons" in sys.modules or not enabled():
        return
    spec = importlib.util.find_spec("mitmproxy.addons")
    assert isinstance(spec, ModuleSpec)
    package = _OnDemand(spec.name)
    package.__spec__, package.__loader__, package.__package__ = spec, spec.loader, spec.name
    package.__file__, package.__path__ = spec.origin, list(spec.submodule_search_locations or ())
    sys.modules[spec.name] = package
    sys.modules["mitmproxy"].addons = package  # type: ignore[attr-defined]  # as the import system does it


def skip_type_checks() -> None:
    """Apply `no_type_checks` (https://github.com/mitmproxy/mitmproxy/blob/main/mitmproxy/http.py, MessageData)."""
    from mitmproxy import http

    if enabled():
        http.MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]


def set_client_timeout(seconds: int) -> int | None:
    """Apply `client_timeout`. Returns the value from before, or None where there is nothing to patch."""
    from mitmproxy.proxy import server

    before: int | None = getattr(server, "TCP_TIMEOUT", None)
    if before is not None and enabled():
        server.TCP_TIMEOUT = seconds  # type: ignore[attr-defined]
        return before
    return None
