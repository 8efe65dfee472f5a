"""Accounting: what every exchange used, took and cost. Watches, never alters.

records     one exchange as plain values          clients   client family by user agent, session, agent
tap         reads usage off a native byte stream  quota     quota windows in the upstreams' headers
database    the writer, off the event loop        pricing   list prices (genai-prices) and the user's own
metrics     Prometheus                            report    sums for `ccproxy usage` and `GET /usage`
raw_log     requests and responses as on the wire, redacted

SQLAlchemy, genai-prices and prometheus-client are imported when first needed: importing these modules stays cheap.
"""

from __future__ import annotations
