"""One file per provider. `providers.registry` discovers them: no code imports them by name."""

from __future__ import annotations
