"""Attachments in data URIs."""

from __future__ import annotations

from ccproxy.translate import attachments


def test_data_uris() -> None:
    assert attachments.data_uri("https://example.com") is None
    assert attachments.data_uri("data:nothing") is None
    assert attachments.data_uri("data:,hi") == ("text/plain", "aGk=")
