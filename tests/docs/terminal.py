"""Pictures of a terminal, drawn from what ccproxy prints."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

WIDTH = 104
NAMESPACES = {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def svg(name: str, title: str, draw: Callable[[Console], None]) -> str:
    """Return the output of `draw` as SVG. Its fonts are those of the reader's machine, so that nothing is fetched."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, highlight=False)
    draw(console)
    local = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title=title, code_format=local, unique_id=name)


def words(picture: str) -> list[str]:
    """Return the words in a picture, without its drawing instructions."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", picture, flags=re.DOTALL)).split()


def fetches_nothing(picture: str) -> bool:
    """Return whether a browser can show a picture without a request."""
    urls = set(re.findall(r"https?://[^\s\"')]+", picture))
    loads = re.search(r"url\((?!#)|<(?:image|use|script)|href=", picture)
    return "font-face" not in picture and urls <= NAMESPACES and loads is None
