"""`python -m ccproxy`."""

from __future__ import annotations

from ccproxy.cli import main

main()
