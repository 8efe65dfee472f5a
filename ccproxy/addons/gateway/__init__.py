"""The gateway addon: it guards, routes, and hands each exchange to the way that serves it (`ways/`)."""

from __future__ import annotations
