from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ccproxy.auth.credentials import ClaudeLogin, CodexLogin, Login
from ccproxy.auth.store import Store, StoreBusy, StoreError, has_modes

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
known_values = st.fixed_dictionaries(
    {"access_token": st.text(min_size=1)},
    optional={
        "refresh_token": st.text(min_size=1),
        "scopes": st.lists(st.text(), max_size=3),
        "account": st.text(),
        "plan": st.text(),
        "expires_at": st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat()),
    },
)
unknown_values = st.dictionaries(
    st.text().filter(lambda name: name not in {*ClaudeLogin.model_fields, *CodexLogin.model_fields}),
    json_values,
    max_size=5,
)


def claude(access: str = "access-one", *, at: datetime | None = NOW, **fields: object) -> ClaudeLogin:
    return ClaudeLogin.model_validate(
        {"access_token": access, "refresh_token": "refresh-one", "last_refresh": at, **fields}
    )


def put(store: Store, login: Login, name: str = "claude_api") -> None:
    with store.lock(name):
        store.save(name, login)


@given(st.sampled_from([ClaudeLogin, CodexLogin]), known_values, unknown_values)
def test_what_was_stored_comes_back(kind: type[Login], known: dict[str, Any], unknown: dict[str, Any]) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        store = Store(folder / "auth")
        login = kind.model_validate({**known, **unknown})
        put(store, login)
        again = store.load("claude_api", kind)
        assert again == login
        assert again is not None
        put(store, again.model_copy(update={"plan": "max"}))
        document = json.loads(store.path("claude_api").read_text("utf-8"))
        assert document["plan"] == "max"
        assert {name: document[name] for name in unknown} == unknown
        assert document["access_token"] == known["access_token"]
        assert sorted(path.name for path in store.folder.iterdir()) == ["claude_api.json", "claude_api.lock"]
    finally:
        shutil.rmtree(folder)


def test_owner_only(store: Store) -> None:
    old = os.umask(0)
    try:
        put(store, claude())
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (store.folder, *store.folder.iterdir())}
    assert modes == {"auth": 0o700, "claude_api.json": 0o600, "claude_api.lock": 0o600}


@pytest.mark.parametrize(("what", "mode"), [("file", 0o640), ("file", 0o604), ("folder", 0o750), ("folder", 0o701)])
def test_what_others_can_open_is_refused_with_the_command_that_mends_it(store: Store, what: str, mode: int) -> None:
    put(store, claude())
    path = store.folder if what == "folder" else store.path("claude_api")
    path.chmod(mode)
    for attempt in (lambda: store.load("claude_api", ClaudeLogin), store.check):
        with pytest.raises(StoreError) as caught:
            attempt()
        assert f"chmod {'700' if what == 'folder' else '600'} {path}" in str(caught.value)
    command = str(caught.value).split("`")[1]
    subprocess.run(command.split(), check=True)
    store.check()
    assert store.load("claude_api", ClaudeLogin) is not None


def test_an_open_folder_gets_no_login(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(StoreError, match="chmod 700"):
        put(Store(tmp_path), claude())
    assert not list(tmp_path.glob("*.json"))


def test_a_file_system_without_modes_is_warned_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "auth", modes=lambda _: False)
    put(store, claude())
    store.path("claude_api").chmod(0o777)
    for _ in range(3):
        assert store.load("claude_api", ClaudeLogin) is not None
    store.check()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "keeps no access modes" in caplog.text


def test_this_file_system_has_modes(tmp_path: Path) -> None:
    assert has_modes(tmp_path)
    assert has_modes(tmp_path / "missing")


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"{}", b'{"access_token": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_login_is_refused_without_quoting_it(store: Store, content: bytes) -> None:
    put(store, claude())
    store.path("claude_api").write_bytes(content)
    with pytest.raises(StoreError, match=r"claude_api\.json is not a credential file of ccproxy: remove it"):
        store.load("claude_api", ClaudeLogin)


def test_no_login(store: Store) -> None:
    assert store.load("claude_api", ClaudeLogin) is None
    assert store.stamp("claude_api") is None
    store.check()
    assert not store.folder.exists()


def test_the_stamp_changes_with_every_write(store: Store) -> None:
    stamps = set()
    for _ in range(5):
        put(store, claude())
        stamps.add(store.stamp("claude_api"))
    assert len(stamps) == 5


def test_a_draft_that_is_not_committed_changes_nothing(store: Store) -> None:
    put(store, claude("access-old"))
    with store.lock("claude_api"), pytest.raises(RuntimeError), store.draft("claude_api"):
        raise RuntimeError
    login = store.load("claude_api", ClaudeLogin)
    assert login is not None
    assert login.access_token.get_secret_value() == "access-old"
    assert sorted(path.name for path in store.folder.iterdir()) == ["claude_api.json", "claude_api.lock"]


def left_behind(store: Store, content: bytes) -> None:
    new = store.folder / ".claude_api.json.new"
    new.write_bytes(content)
    new.chmod(0o600)


def recovered(store: Store) -> ClaudeLogin | None:
    with store.lock("claude_api"):
        store.recover("claude_api", ClaudeLogin)
    assert not (store.folder / ".claude_api.json.new").exists()
    return store.load("claude_api", ClaudeLogin)


@pytest.mark.parametrize("zeros", [0, 32_000])
def test_a_write_that_a_crash_left_complete_is_taken_over(store: Store, zeros: int) -> None:
    put(store, claude("access-old"))
    newer = claude("access-new", at=NOW + timedelta(hours=1), kept="yes")
    left_behind(store, json.dumps(newer.document()).encode() + bytes(zeros))
    assert recovered(store) == newer


@pytest.mark.parametrize("cut", range(0, 126, 7))
def test_a_write_that_a_crash_cut_is_thrown_away(store: Store, cut: int) -> None:
    old = claude("access-old")
    put(store, old)
    newer = json.dumps(claude("access-new", at=NOW + timedelta(hours=1)).document(), indent=2).encode()
    assert cut < len(newer)
    left_behind(store, newer[:cut] + bytes(1000))
    assert recovered(store) == old


def test_an_older_leftover_is_thrown_away(store: Store) -> None:
    put(store, claude("access-now"))
    left_behind(store, json.dumps(claude("access-older", at=NOW - timedelta(hours=1)).document()).encode())
    assert recovered(store) == claude("access-now")


def test_a_leftover_does_not_undo_a_logout(store: Store) -> None:
    put(store, claude())
    left_behind(store, json.dumps(claude(at=NOW + timedelta(hours=1)).document()).encode())
    with store.lock("claude_api"):
        assert store.delete("claude_api")
        assert not store.delete("claude_api")
    assert [path.name for path in store.folder.iterdir()] == ["claude_api.lock"]


def in_child(work: Callable[..., None], *args: object) -> int:
    child = multiprocessing.get_context("fork").Process(target=work, args=args)
    child.start()
    child.join(30)
    assert child.exitcode is not None
    return child.exitcode


def without_disk(folder: Path) -> None:
    """A disk with no room for the new file: the limit on file sizes fails the same call in the same way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    store = Store(folder)
    with store.lock("claude_api"), pytest.raises(StoreError, match=r"claude_api\.json cannot be written"):
        store.draft("claude_api").__enter__()
    os._exit(7)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_full_disk_is_noticed_before_a_token_is_spent(store: Store) -> None:
    put(store, claude("access-old"))
    assert in_child(without_disk, store.folder) == 7
    assert store.load("claude_api", ClaudeLogin) == claude("access-old")
    assert sorted(path.name for path in store.folder.iterdir()) == ["claude_api.json", "claude_api.lock"]


def test_the_lock_is_between_processes_and_ends_with_its_holder(store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; from ccproxy.auth.store import Store\n"
        "with Store(Path(sys.argv[1])).lock('claude_api'):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy, match="another program holds"), store.lock("claude_api", timeout=0):
            pass
        holder.kill()
        holder.wait()
        with store.lock("claude_api", timeout=5):
            pass
