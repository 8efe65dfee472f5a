"""What `ccproxy doctor` looks at. `probes` finds facts; the other modules judge facts and are pure."""

from __future__ import annotations
