"""The clients that ccproxy knows how to point at itself, as data: variables, arguments, and why each is there."""

from __future__ import annotations

from ccproxy.cli.clients.connection import Connection, Dialect
from ccproxy.cli.clients.known import CLIENTS, generic
from ccproxy.cli.clients.spec import Client, Variable

__all__ = ["CLIENTS", "Client", "Connection", "Dialect", "Variable", "generic"]
