"""Requests and answers that say much, in each format."""

from __future__ import annotations
