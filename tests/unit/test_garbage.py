"""The collector during a start, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

COUNT = "gc.get_freeze_count()"  # Python itself may begin with some


def run(code: str) -> str:
    command = [sys.executable, "-c", f"import gc\nfrom ccproxy import garbage\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_it_rests_until_all_is_loaded_and_then_passes_over_it() -> None:
    code = f"garbage.pause()\nresting = not gc.isenabled()\nbefore = {COUNT}\ngarbage.resume()\n"
    assert run(f"{code}print(resting, gc.isenabled(), {COUNT} > before)") == "True True True"


def test_it_is_left_alone_where_it_was_not_paused() -> None:
    assert run(f"before = {COUNT}\ngarbage.resume()\nprint({COUNT} == before)") == "True"
