"""The known clients as data: the variables and arguments that point each of them at ccproxy, with the reason for each."""

from __future__ import annotations

from ccproxy.cli.clients.connection import Connection, Dialect
from ccproxy.cli.clients.known import CLIENTS, generic
from ccproxy.cli.clients.spec import Client, Variable

__all__ = ["CLIENTS", "Client", "Connection", "Dialect", "Variable", "generic"]
