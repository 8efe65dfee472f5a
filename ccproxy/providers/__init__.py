"""What each upstream is."""

from __future__ import annotations
