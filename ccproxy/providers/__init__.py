"""What each upstream is, which path leads to it, and what is sent there."""

from __future__ import annotations
