"""Write the pages: `python -m ccproxy.cli.reference docs/reference`."""

from __future__ import annotations

import sys
from pathlib import Path

from ccproxy.cli.reference import PAGES

for name, render in PAGES.items():
    Path(sys.argv[1], name).write_text(render(), encoding="utf-8")
