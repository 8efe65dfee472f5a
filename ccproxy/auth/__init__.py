"""Logins at the vendors: sign in, store, renew, and authenticate requests.

clients          an OAuth client as a value: addresses, scopes and quirks of one vendor
credentials      a stored login as a value
store            logins on disk: owner-only, atomic, locked
login_file       one file of the store, which may be a link or a mount point
token_responses  responses of a vendor's OAuth server, as values and errors
oauth            every request to an OAuth server: exchange, refresh, revoke, device codes, limits
oauth_session    the only door to requests-oauthlib
callback         the loopback listener that a browser comes back to
login            the sign-in flows: browser, pasted code, device code
renewal          one refresh, for all processes
sources          the choice of the credential for a request, with its reason
wire             a credential as headers on the wire copy of a request
broker           valid credentials for the gateway
status           a login described without its secrets
"""

from __future__ import annotations
