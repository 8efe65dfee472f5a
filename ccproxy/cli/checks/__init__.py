"""The checks of `ccproxy doctor`. `probes` collects facts with I/O; the other modules judge them without I/O."""

from __future__ import annotations
