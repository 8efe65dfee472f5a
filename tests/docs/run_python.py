"""Runs blocks of Python, given as JSON on stdin, each with a namespace of its own; writes what they printed as JSON."""

from __future__ import annotations

import functools
import io
import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor


def run(name: str, code: str) -> tuple[str, str]:
    """What it printed, and its traceback if it failed."""
    said = io.StringIO()
    try:
        exec(compile(code, name, "exec"), {"__name__": "__main__", "print": functools.partial(print, file=said)})
    except BaseException:  # noqa: BLE001 - as the interpreter does
        return said.getvalue(), traceback.format_exc()
    return said.getvalue(), ""


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with ThreadPoolExecutor(4) as pool:
        json.dump(dict(zip(asked, pool.map(run, asked.keys(), asked.values()), strict=True)), sys.stdout)
