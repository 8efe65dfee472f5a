"""Several ccproxy processes share one login: one refresh, and nothing lost when one of them is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccproxy.auth.credentials import ClaudeLogin
from ccproxy.auth.store import Store
from tests.fakes.oauth import FakeOAuth, Request
from tests.unit.auth.conftest import stored

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[3]


@contextmanager
def workers(store: Store, server: FakeOAuth, count: int, requests: int) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(WORKER), str(store.folder), server.url, str(requests)],
                    cwd=ROOT,
                    env={"PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        try:
            for worker in started:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n", worker.communicate()[1]
            yield started
        finally:
            for worker in started:
                worker.kill()


def go(started: list[subprocess.Popen[str]]) -> None:
    for worker in started:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()


def outcomes(started: list[subprocess.Popen[str]], server: FakeOAuth) -> Counter[str]:
    total: Counter[str] = Counter()
    for worker in started:
        out, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        assert not [secret for secret in server.secrets if secret in out + err]
        total.update(json.loads(out))
    return total


def check_whole(store: Store, server: FakeOAuth) -> ClaudeLogin:
    """The file is a login, nothing else is left, and its refresh token works."""
    login = store.load("claude_api", ClaudeLogin)
    assert login is not None
    assert login.refresh_token is not None
    assert server.refresh_tokens[login.refresh_token.get_secret_value()] == "live"
    assert sorted(path.name for path in store.folder.iterdir()) == ["claude_api.json", "claude_api.lock"]
    with store.lock("claude_api", timeout=0):
        pass
    return login


def test_eight_processes_make_one_refresh(server: FakeOAuth, store: Store) -> None:
    stored(store, server, server.claude, datetime.now(UTC), left=timedelta(seconds=-1))
    with workers(store, server, 8, 20) as started:
        go(started)
        total = outcomes(started, server)
    login = check_whole(store, server)
    assert total == {login.access_token.get_secret_value()[-8:]: 160}
    assert server.count("/v1/oauth/token", grant_type="refresh_token") == 1


def test_one_that_is_killed_before_the_vendor_heard_of_it(server: FakeOAuth, store: Store) -> None:
    """Its request is still on the way: the token is not spent, and another process spends it."""
    stored(store, server, server.claude, datetime.now(UTC), left=timedelta(seconds=-1))
    reached, release = threading.Event(), threading.Event()

    class Slow(FakeOAuth):
        def reply(self, request: Request):  # type: ignore[no-untyped-def]  # the fake's own type
            if not reached.is_set():
                reached.set()
                release.wait(20)
                raise ConnectionAbortedError  # the vendor never saw it
            return server.reply(request)

    with Slow() as slow, workers(store, slow, 4, 20) as started:
        go(started[:1])
        assert reached.wait(20)
        started[0].kill()
        started[0].wait()
        go(started[1:])
        total = outcomes(started[1:], server)
        release.set()
    login = check_whole(store, server)
    assert total == {login.access_token.get_secret_value()[-8:]: 60}
    assert server.count("/v1/oauth/token", grant_type="refresh_token") == 1


def test_one_that_is_killed_before_it_has_the_answer(server: FakeOAuth, store: Store) -> None:
    """The hard case: the vendor has spent the old token, and its answer finds nobody. The person has to sign in again.

    The file stays whole, no lock stays held, and every process says what to run instead of asking the vendor on and on.
    """
    stored(store, server, server.claude, datetime.now(UTC), left=timedelta(seconds=-1))
    spent, release = threading.Event(), threading.Event()

    def hold(_: Request) -> None:
        if not spent.is_set():
            spent.set()
            release.wait(20)

    server.before_answer = hold
    with workers(store, server, 4, 20) as started:
        go(started[:1])
        assert spent.wait(20)
        started[0].kill()
        started[0].wait()
        go(started[1:])
        total = outcomes(started[1:], server)
        release.set()
    assert list(total.values()) == [60]
    assert "401 The login for Claude has ended (invalid_grant): run `ccproxy auth login`." in total
    login = store.load("claude_api", ClaudeLogin)
    assert login is not None
    assert login.refused == "invalid_grant"
    assert server.count("/v1/oauth/token", grant_type="refresh_token") == 2
    assert sorted(path.name for path in store.folder.iterdir()) == ["claude_api.json", "claude_api.lock"]


@pytest.mark.parametrize("moment", ["os.fsync", "Path.replace"])
def test_one_that_is_killed_before_the_new_login_is_in_place(server: FakeOAuth, store: Store, moment: str) -> None:
    """The answer is written, the rename is not done: the next process takes it over, without the vendor."""
    stored(store, server, server.claude, datetime.now(UTC), left=timedelta(seconds=-1))
    dies = (
        "import os, runpy, signal, sys\nfrom pathlib import Path\n"
        "calls = []\n"
        "def die(*args):\n"
        "    calls.append(args)\n"
        f"    if {moment!r} == 'Path.replace' or len(calls) == 2:  # the first fsync is the reservation's\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{moment} = die\n"
        "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", dies, str(WORKER), str(store.folder), server.url, "1"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        killed.communicate("go\n", timeout=30)
    assert killed.returncode == -9
    before = store.load("claude_api", ClaudeLogin)
    assert before is not None
    assert before.access_token.get_secret_value() == "claude-access-first", "the old file is whole"
    with workers(store, server, 4, 20) as started:
        go(started)
        total = outcomes(started, server)
    login = check_whole(store, server)
    assert total == {login.access_token.get_secret_value()[-8:]: 80}
    assert server.count("/v1/oauth/token", grant_type="refresh_token") == 1
