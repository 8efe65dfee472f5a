from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccproxy.providers.claude_sdk import cleanup
from ccproxy.providers.claude_sdk.cleanup import descendants, kill_survivors, note_down, sweep, sweep_noted

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["proc", "ps"])
def family(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A process and its child, which has a session of its own; seen through /proc and through ps."""
    if request.param == "ps":
        monkeypatch.setattr(cleanup, "PROC", Path("/nowhere"))
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    yield parent.pid, child
    parent.kill()
    parent.wait()
    parent.stdout.close()


def test_the_family_is_found_and_ended(family: tuple[int, int]) -> None:
    parent, child = family
    below = descendants(parent)
    assert [pid for pid, _ in below] == [child]
    assert (parent, child) not in below
    kill_survivors([(pid, "another start") for pid, _ in below])
    assert [pid for pid, _ in descendants(parent)] == [child], "a later process of the same number is another one"
    kill_survivors(below)
    end = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
    kill_survivors(below)
    kill_survivors([])


def test_what_a_killed_process_leaves_is_removed(tmp_path: Path) -> None:
    sessions, folder = tmp_path / "conf" / "sessions", tmp_path / "p1"
    for path in (sessions, folder / "deep"):
        path.mkdir(parents=True)
    for name in ("77.json", "77.abc.key", "777.json", "7.json"):
        (sessions / name).write_text("")
    sweep(77, tmp_path / "conf", folder)
    assert sorted(path.name for path in sessions.iterdir()) == ["7.json", "777.json"]
    assert not folder.exists()
    sweep(None, tmp_path / "conf", folder)


def test_notes_of_the_living_are_left_alone(family: tuple[int, int], tmp_path: Path) -> None:
    parent, child = family
    sessions, folder = tmp_path / "sessions", tmp_path / "p1"
    sessions.mkdir()
    folder.mkdir()
    (sessions / f"{parent}.json").write_text("")
    note_down(parent, tmp_path, folder)
    sweep_noted(folder)
    assert folder.exists()
    os.kill(parent, 9)
    os.kill(child, 9)
    end = time.monotonic() + 5
    while folder.exists():
        sweep_noted(folder)
        assert time.monotonic() < end
    assert list(sessions.iterdir()) == []


def test_a_folder_without_a_note_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="process"):
        sweep_noted(tmp_path)
    (tmp_path / "process").write_text("x")
    with pytest.raises(ValueError, match="values to unpack"):
        sweep_noted(tmp_path)
