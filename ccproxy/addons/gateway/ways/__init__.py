"""The ways an exchange can be served: one module per way, each owning the state of its exchanges."""

from __future__ import annotations
