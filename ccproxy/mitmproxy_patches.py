"""mitmproxy without what a gateway has no use for. Measured on Python 3.13: a third of the start and a tenth of each small exchange.

Only `ccproxy serve` does this, before it imports mitmproxy: in a stock mitmproxy nothing is touched.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_for_good = False


class _OnDemand(ModuleType):
    """A package whose submodules can be imported alone; its own code is run for the one thing that it defines itself."""

    def __getattr__(self, name: str) -> Any:
        if name != "default_addons":  # the import system asks for a submodule before it loads it
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]  # an ordinary module from here on
        spec = self.__spec__
        assert spec
        assert spec.loader
        spec.loader.exec_module(self)
        return getattr(self, name)


def without_unused_addons() -> None:
    """Let `mitmproxy.addons` be imported without its thirty addons, among them a Flask application and an LDAP client.

    `from mitmproxy.addons import core` loads that one alone; `default_addons` loads them all, for mitmweb and scripts.
    """
    if "mitmproxy.addons" in sys.modules:
        return
    spec = importlib.util.find_spec("mitmproxy.addons")
    assert isinstance(spec, ModuleSpec)
    package = _OnDemand(spec.name)
    package.__spec__, package.__loader__, package.__package__ = spec, spec.loader, spec.name
    package.__file__, package.__path__ = spec.origin, list(spec.submodule_search_locations or ())
    sys.modules[spec.name] = package
    sys.modules["mitmproxy"].addons = package  # type: ignore[attr-defined]  # as the import system does it


def without_type_checks() -> None:
    """Let a message be made without a check of the types of all its fields, as under `python -O`: about 30 µs each, six an exchange.

    mitmproxy checks them for authors of addons (https://github.com/mitmproxy/mitmproxy/blob/main/mitmproxy/http.py, MessageData).
    """
    from mitmproxy import http

    http.MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]


def without_collecting() -> None:
    """Let Python's garbage collector rest until `settled` is called: nothing that a start makes is garbage."""
    global _for_good  # noqa: PLW0603 - of the process, as what it says is
    _for_good = True
    gc.disable()


def settled() -> None:
    """What has been loaded stays for good: half a million objects, over which the collector need not go again and again, for 70 ms each time."""
    if _for_good:
        gc.freeze()
        gc.enable()
