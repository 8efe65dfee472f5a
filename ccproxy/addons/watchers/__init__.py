"""Addons that observe exchanges: accounting, access log, raw HTTP log, recordings, mitmweb. They never change what is sent."""

from __future__ import annotations
