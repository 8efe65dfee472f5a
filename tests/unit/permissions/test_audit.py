from __future__ import annotations

import json
import logging
import stat
import threading
from pathlib import Path

import pytest

from ccproxy.permissions.audit import Audit


def test_a_full_file_is_put_aside_once(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "new" / "audit.jsonl", largest=100)
    for number in range(20):
        audit.put({"number": number, "text": "x" * 20})
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1"]
    rows = [json.loads(line)["number"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert rows == list(range(rows[0], 20))
    assert all(file.stat().st_size < 200 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_rows_of_many_threads_stay_whole(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", largest=10_000)
    threads = [threading.Thread(target=lambda: [audit.put({"text": "x" * 500}) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in tmp_path.iterdir():
        assert {len(json.loads(line)["text"]) for line in file.read_text().splitlines()} <= {500}


def test_what_cannot_be_written_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    audit = Audit(tmp_path / "file" / "audit.jsonl")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            audit.put({})
    assert caplog.text.count("cannot be recorded") == 1
