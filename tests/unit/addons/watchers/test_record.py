"""Recordings on disk: readable after each exchange, continued after a restart, whole again after a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from ccproxy.addons.watchers.record import Recorder
from tests.traffic.conftest import flows_in


def flow(body: bytes = b"{}") -> http.HTTPFlow:
    made = tflow.tflow(resp=True)
    made.comment = "client side · claude"
    made.metadata["ccproxy"] = {"provider": "mock"}
    assert made.response
    made.response.content = body
    made.response.headers["content-type"] = "application/json"
    return made


def entries(file: Path) -> list[dict[str, Any]]:
    document = json.loads(file.read_bytes())
    assert document["log"]["version"] == "1.2"
    assert document["log"]["creator"]["name"] == "mitmproxy"
    listed: list[dict[str, Any]] = document["log"]["entries"]
    return listed


def add(recorder: Recorder, *flows: http.HTTPFlow) -> None:
    recorder.show(flows)
    recorder._thread.submit(lambda: None).result()  # what was handed over before is written


def test_a_har_file_is_a_document_after_each_exchange(tmp_path: Path) -> None:
    file = tmp_path / "all.har"
    recorder = Recorder(file)
    assert entries(file) == []
    flows = [flow(b'{"n": %d}' % number) for number in range(5)]
    for number, one in enumerate(flows, 1):
        add(recorder, one)
        assert [entry["_ccproxy"]["flow"] for entry in entries(file)] == [each.id for each in flows[:number]]
    assert entries(file)[-1]["response"]["content"]["text"] == '{"n": 4}'
    assert entries(file)[-1]["comment"] == "client side · claude"
    assert entries(file)[-1]["_ccproxy"]["provider"] == "mock"
    recorder._close()
    assert len(entries(file)) == 5


@pytest.mark.parametrize("suffix", [".har", ".flow"])
def test_a_restart_continues_the_file(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"all{suffix}"
    ids = []
    for run in range(3):
        recorder = Recorder(file, append=run > 0)
        for _ in range(run):  # none at first
            one = flow()
            ids.append(one.id)
            add(recorder, one)
        recorder._close()
    found = (
        [entry["_ccproxy"]["flow"] for entry in entries(file)]
        if suffix == ".har"
        else [one.id for one in flows_in(file)]
    )
    assert found == ids
    Recorder(file)._close()
    assert not (entries(file) if suffix == ".har" else flows_in(file))  # without a restart it is emptied


@pytest.mark.parametrize("content", [b"", b"[]", b'{"log": {"entries": [', b"not JSON\n]}}\n" * 3])
def test_a_file_that_is_not_a_recording_is_not_continued(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "all.har"
    file.write_bytes(content)
    recorder = Recorder(file, append=True)
    add(recorder, flow())
    recorder._close()
    assert len(entries(file)) == 1


def test_odd_exchanges(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "all.har"
    recorder = Recorder(file)
    without = tflow.tflow(err=True)
    surrogates = flow(b"\xff\xfe\xed\xa0\x80" * 10)
    assert surrogates.response
    surrogates.response.headers["set-cookie"] = "\udcff=1"
    binary = flow(os.urandom(1000))
    add(recorder, without, surrogates, binary)
    recorder._close()
    assert len(entries(file)) == 3
    assert not caplog.records


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """No file may grow beyond 100 KB: the exchange that does not fit is lost, the document stays one, and the next fits again."""
    code = f"""
        import json, resource, sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from tests.unit.addons.watchers.test_record import Recorder, add, entries, flow
        file = Path({str(tmp_path / "all.har")!r})
        recorder = Recorder(file)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        add(recorder, flow(b"x" * 1000))
        add(recorder, flow(b"y" * 200_000))
        assert len(entries(file)) == 1, entries(file)
        add(recorder, flow(b"z" * 1000))
        assert len(entries(file)) == 2
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("cannot be written") == 1


def test_a_killed_process_leaves_a_document(tmp_path: Path) -> None:
    file = tmp_path / "all.har"
    code = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from pathlib import Path
        from tests.unit.addons.watchers.test_record import Recorder, add, flow
        recorder = Recorder(Path({str(file)!r}))
        for number in range(10_000):
            add(recorder, flow(b"x" * 500))
            if number == 20:
                print("go", flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(entries(file)) > 20
