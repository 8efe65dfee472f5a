"""One file per provider. Nobody imports them by name: `providers.registry` finds them."""

from __future__ import annotations
