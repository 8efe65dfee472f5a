"""Logins: who ccproxy is at a provider, kept safely and renewed once.

clients       an OAuth client as a value: addresses, scopes and quirks of one vendor
credentials   a stored login as a value
store         logins on disk: owner-only, atomic, locked
answers       what a vendor's OAuth server says, as values and errors
oauth         the only door to requests-oauthlib: exchange, refresh, revoke, device codes, limits
callback      the loopback listener that a browser comes back to
login         the sign-in flows: browser, pasted code, device code
renewal       one refresh, for all processes
sources       which credential a request gets, and why
wire          a credential as headers on the wire copy of a request
broker        what the gateway asks: a valid credential, now
status        what there is to say about a login, without its secrets
"""

from __future__ import annotations
