"""The generated pages of docs/reference. `python -m ccproxy.cli.reference FOLDER` writes them, and a test compares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ccproxy.cli.reference.commands import commands
from ccproxy.cli.reference.errors import errors
from ccproxy.cli.reference.routes import routes
from ccproxy.cli.reference.settings import settings
from ccproxy.translate.reference import render_markdown as translation

PAGES: Final[dict[str, Callable[[], str]]] = {
    "commands.md": commands,
    "settings.md": settings,
    "routes.md": routes,
    "errors.md": errors,
    "translation.md": translation,
}
"""The function that renders each file."""
