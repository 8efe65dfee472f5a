"""Accounting: what every exchange used, took and cost. Watches, never alters.

records     one exchange as plain values         clients   who asked: user agent family, session, agent
usage       usage objects of the three formats   quota     quota windows out of the upstreams' headers
tap         reads usage off a native byte stream pricing   list prices (genai-prices) and the user's own
database    the writer, off the event loop       report    sums for `ccproxy usage` and `GET /usage`
metrics     Prometheus                           raw_log   requests and responses as on the wire, redacted

SQLAlchemy, genai-prices and prometheus-client are imported when first needed: importing these modules stays cheap.
"""

from __future__ import annotations
