"""Login files that are links or mount points: written where they lead, and never left without a login."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ccproxy.auth import login_file
from ccproxy.auth.broker import Broker
from ccproxy.auth.credentials import ClaudeLogin
from ccproxy.auth.sources import ProviderAuth
from ccproxy.auth.store import Store, StoreBusy, StoreError, StoreOpen
from ccproxy.errors import Unauthenticated
from tests.fakes.oauth import FakeOAuth
from tests.unit.auth.conftest import Clock, stored

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
NAME = "claude_api"


def login(access: str, *, hours: int = 0, **fields: object) -> ClaudeLogin:
    values = {"access_token": access, "refresh_token": "refresh", "last_refresh": NOW + timedelta(hours=hours)}
    return ClaudeLogin.model_validate({**values, **fields})


def put(store: Store, made: ClaudeLogin) -> None:
    with store.lock(NAME):
        store.save(NAME, made)


def access(store: Store) -> str | None:
    made = store.load(NAME, ClaudeLogin)
    return made.access_token.get_secret_value() if made else None


def leave(path: Path, made: ClaudeLogin) -> None:
    """Write what a crash would have left."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(made.document()))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refuses(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def linked(store: Store, tmp_path: Path) -> Path:
    """The place that the login file is a link to."""
    store.folder.mkdir(mode=0o700)
    folder = tmp_path / "elsewhere"
    folder.mkdir(mode=0o755)
    (tmp_path / "step").symlink_to(folder)
    store.path(NAME).symlink_to("../step/login.json")
    return folder / "login.json"


# ---- links


def test_a_link_stays_one_and_its_target_is_written(store: Store, linked: Path) -> None:
    for access_token in ("access-one", "access-two"):
        put(store, login(access_token))
        assert store.path(NAME).is_symlink()
        assert stat.S_IMODE(linked.stat().st_mode) == 0o600
        assert json.loads(linked.read_text())["access_token"] == access_token
        assert access(store) == access_token
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]
    assert names(linked.parent) == [".login.json.lock", "login.json"]


def test_a_refresh_through_a_link(store: Store, linked: Path, server: FakeOAuth, clock: Clock) -> None:
    stored(store, server, server.claude, clock(), left=timedelta(seconds=-1))
    broker = Broker(store, [ProviderAuth(NAME, client=server.claude)], now=clock)
    renewed = broker.login_now(NAME)
    assert json.loads(linked.read_text())["access_token"] == renewed.access_token.get_secret_value()
    assert store.path(NAME).is_symlink()


@pytest.mark.parametrize("kept_in", ["target", "store"])
def test_what_a_crash_left_behind_a_link_is_taken_over(store: Store, linked: Path, kept_in: str) -> None:
    put(store, login("access-old"))
    left = linked.with_name(".login.json.new") if kept_in == "target" else store.folder / ".claude_api.json.new"
    leave(left, login("access-new", hours=1))
    with store.lock(NAME):
        store.recover(NAME, ClaudeLogin)
    assert access(store) == "access-new"
    assert not left.exists()
    assert store.path(NAME).is_symlink()


def test_of_two_that_a_crash_left_the_newest_wins(store: Store, linked: Path) -> None:
    put(store, login("access-old"))
    leave(linked.with_name(".login.json.new"), login("access-newest", hours=2))
    leave(store.folder / ".claude_api.json.new", login("access-new", hours=1))
    with store.lock(NAME):
        store.recover(NAME, ClaudeLogin)
    assert access(store) == "access-newest"
    assert ".new" not in "".join(names(linked.parent) + names(store.folder))


def test_two_folders_that_lead_to_one_file_share_its_lock(store: Store, linked: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    other.folder.mkdir(mode=0o700)
    other.path(NAME).symlink_to(linked)
    put(store, login("access-one"))
    assert access(other) == "access-one"
    with store.lock(NAME), pytest.raises(StoreBusy), other.lock(NAME, timeout=0):
        pass
    with other.lock(NAME, timeout=0):
        pass


def test_a_logout_deletes_the_login_where_it_is(store: Store, linked: Path) -> None:
    put(store, login("access-one"))
    with store.lock(NAME):
        assert store.delete(NAME)
        assert not store.delete(NAME)
    assert not linked.exists()
    assert store.load(NAME, ClaudeLogin) is None
    assert store.stamp(NAME) is None
    put(store, login("access-two"))
    assert "access-two" in linked.read_text()


def test_a_link_to_a_file_that_others_can_read(store: Store, linked: Path) -> None:
    put(store, login("access-one"))
    linked.chmod(0o644)
    with pytest.raises(StoreOpen, match="chmod 600"):
        store.load(NAME, ClaudeLogin)


def test_a_link_to_a_folder_where_others_can_replace_it(store: Store, linked: Path) -> None:
    for mode in (0o777, 0o1777, 0o770):
        linked.parent.chmod(mode)
        with pytest.raises(StoreOpen, match=f"chmod go-w {linked.parent}"):
            put(store, login("access-one"))
    assert names(linked.parent) == []


def test_a_link_to_nowhere_is_no_login_and_names_what_is_missing(store: Store, tmp_path: Path) -> None:
    store.folder.mkdir(mode=0o700)
    store.path(NAME).symlink_to(tmp_path / "absent" / "login.json")
    assert store.load(NAME, ClaudeLogin) is None
    with pytest.raises(StoreError, match=r"claude_api\.json cannot be written.*make its folder"):
        put(store, login("access-one"))
    store.path(NAME).unlink()
    store.path(NAME).symlink_to(store.path(NAME))
    with pytest.raises(StoreError, match="link leads back to itself"):
        store.load(NAME, ClaudeLogin)


def test_a_file_without_content_is_no_login_yet(store: Store) -> None:
    """A container's mount needs a file before the first login."""
    store.folder.mkdir(mode=0o700)
    for content in (b"", b"\n"):
        store.path(NAME).write_bytes(content)
        store.path(NAME).chmod(0o600)
        assert store.load(NAME, ClaudeLogin) is None
    put(store, login("access-one"))
    assert access(store) == "access-one"


@pytest.mark.parametrize("kind", ["pipe", "large"])
def test_a_file_that_would_not_end_is_refused(store: Store, kind: str) -> None:
    store.folder.mkdir(mode=0o700)
    path = store.path(NAME)
    if kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        with path.open("wb") as file:
            file.truncate(2**30)
        path.chmod(0o600)
    with pytest.raises(StoreError, match=r"claude_api\.json cannot be read: it is"):
        store.load(NAME, ClaudeLogin)


# ---- places that cannot be replaced


@pytest.fixture
def mounted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The login file, which behaves like a mount point."""
    put(store, login("access-old", padding="x" * 3000))
    replace = Path.replace

    def busy(path: Path, target: Path) -> Path:
        if target == store.path(NAME):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr(login_file, "_is_mount_point", lambda path: path == store.path(NAME))
    return store.path(NAME)


def test_a_mount_point_is_overwritten(store: Store, mounted: Path) -> None:
    inode = mounted.stat().st_ino
    for access_token in ("access-one", "access-" + "long" * 1000, "access-two"):
        put(store, login(access_token))
        assert access(store) == access_token
        assert mounted.stat().st_ino == inode
        assert not mounted.read_text().endswith(" ")
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]


def test_a_draft_that_is_not_committed_leaves_a_mount_point_as_it_was(store: Store, mounted: Path) -> None:
    before = mounted.read_bytes()
    with store.lock(NAME), store.draft(NAME):
        assert mounted.stat().st_size > len(before)
        assert access(store) == "access-old", "its reserved space does not spoil it"
    assert mounted.read_bytes() == before
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]


def test_a_mount_point_of_a_system_that_does_not_list_them(
    store: Store, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_file, "_is_mount_point", lambda _: False)
    put(store, login("access-one"))
    assert access(store) == "access-one"


def test_a_logout_empties_a_mount_point(store: Store, mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def busy(path: Path, missing_ok: bool = False) -> None:
        if path == mounted:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", busy)
    with store.lock(NAME):
        assert store.delete(NAME)
        assert not store.delete(NAME)
    assert mounted.read_bytes() == b""
    assert store.load(NAME, ClaudeLogin) is None
    assert store.stamp(NAME) is None


def test_a_reader_never_misses_a_login_that_is_overwritten(store: Store, mounted: Path) -> None:
    stopped = threading.Event()
    tokens = ["access-one", "access-" + "long" * 500, "access-two"]

    def write() -> None:
        while not stopped.is_set():
            for token in tokens:
                put(store, login(token))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert {access(store) for _ in range(200)} <= {*tokens, "access-old"}
    finally:
        stopped.set()
        thread.join()


@pytest.mark.parametrize("cut", [0, 1, 100, 2000])
def test_a_login_that_a_crash_left_half_overwritten(store: Store, mounted: Path, cut: int) -> None:
    old, new = mounted.read_bytes(), json.dumps(login("access-new", hours=1).document(), indent=2).encode()
    (store.folder / ".claude_api.json.new").write_bytes(new)
    mounted.write_bytes(new.ljust(len(old))[:cut] + old[cut:])
    with store.lock(NAME):
        store.recover(NAME, ClaudeLogin)
    assert access(store) == "access-new"
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]


def test_a_folder_where_no_file_can_be_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted login in a read-only container."""
    put(store, login("access-old"))
    opened = os.open

    def read_only(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(store.folder)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", read_only)
    store.try_write(NAME, ClaudeLogin)
    put(store, login("access-new"))
    assert access(store) == "access-new"
    with store.lock(NAME), pytest.raises(StoreBusy), Store(store.folder).lock(NAME, timeout=0):
        pass


# ---- noticed before a token is spent


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "setting auth.dir"),
        (errno.EACCES, "setting auth.dir"),
        (errno.EIO, "Input/output error"),
    ],
)
async def test_a_place_that_cannot_be_written_is_noticed_before_the_refresh(
    store: Store, server: FakeOAuth, clock: Clock, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    stored(store, server, server.claude, clock(), left=timedelta(seconds=-1))
    broker = Broker(store, [ProviderAuth(NAME, client=server.claude)], now=clock)
    with monkeypatch.context() as patch:
        patch.setattr(login_file, "write_copy", refuses(number))
        patch.setattr(login_file, "_extended", refuses(number))
        with pytest.raises(Unauthenticated) as caught:
            await broker.headers(NAME)
    assert "claude_api.json cannot be written" in str(caught.value)
    assert advice in str(caught.value)
    assert not server.requests, "the refresh token is not spent"
    clock.forward(minutes=2)
    assert (await broker.headers(NAME)).token is not None
    assert len(server.requests) == 1


async def test_a_token_that_lives_is_used_whatever_the_disk_does(
    store: Store, server: FakeOAuth, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stored(store, server, server.claude, clock(), left=timedelta(minutes=2))
    monkeypatch.setattr(login_file, "write_copy", refuses(errno.ENOSPC))
    monkeypatch.setattr(login_file, "_extended", refuses(errno.ENOSPC))
    broker = Broker(store, [ProviderAuth(NAME, client=server.claude)], now=clock)
    broker.check()
    (record,) = [record for record in caplog.records if record.name == "ccproxy.auth.broker"]
    assert "claude_api.json cannot be written" in record.getMessage()
    assert "free some space" in record.getMessage()
    assert (await broker.headers(NAME)).token is not None
    await broker.aclose()
    assert not server.requests


def test_a_check_takes_over_what_a_crash_left(store: Store, server: FakeOAuth, clock: Clock) -> None:
    put(store, login("access-old"))
    leave(store.folder / ".claude_api.json.new", login("access-new", hours=1))
    Broker(store, [ProviderAuth(NAME, client=server.claude)], now=clock).check()
    assert access(store) == "access-new"


def test_a_check_leaves_a_login_that_another_process_writes_alone(
    store: Store, server: FakeOAuth, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, login("access-old"))
    with store.lock(NAME):
        Broker(store, [ProviderAuth(NAME, client=server.claude)], now=clock).check()
    assert not [record for record in caplog.records if record.name.startswith("ccproxy")]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_full_disk_is_noticed_for_a_mount_point_too(store: Store, mounted: Path) -> None:
    before = mounted.read_bytes()

    def without_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        with store.lock(NAME), pytest.raises(StoreError, match="cannot be written"):
            store.draft(NAME).__enter__()
        os._exit(7)

    child = multiprocessing.get_context("fork").Process(target=without_disk)
    child.start()
    child.join(30)
    assert child.exitcode == 7
    assert mounted.read_bytes() == before


# ---- a real mount


MOUNTED = """
import os, signal, subprocess, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ccproxy.auth.credentials import ClaudeLogin
from ccproxy.auth.store import Store, StoreError

folder, outside, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
store = Store(folder)
subprocess.run(["mount", "--bind", str(outside), str(store.path("claude_api"))], check=True)
if how == "read-only":
    subprocess.run(["mount", "-o", "remount,bind,ro", str(store.path("claude_api"))], check=True)

def login(access, hours=0):
    moment = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(hours=hours)
    return ClaudeLogin.model_validate({"access_token": access, "refresh_token": "r", "last_refresh": moment})

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

assert store.load("claude_api", ClaudeLogin) is None
with store.lock("claude_api"):
    store.recover("claude_api", ClaudeLogin)
    if how == "killed":
        store.save("claude_api", login("access-old"))
        from ccproxy.auth import login_file
        login_file.overwrite = die
        with store.draft("claude_api") as draft:
            draft.commit(login("access-new", 1))
    try:
        store.save("claude_api", login("access-one"))
        store.save("claude_api", login("access-two"))
        print(store.load("claude_api", ClaudeLogin).access_token.get_secret_value(), store.delete("claude_api"))
        store.save("claude_api", login("access-three"))
    except StoreError as error:
        print(error)
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Callable[[str], tuple[str, int, Store, Path]]:
    """Runs `MOUNTED` in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    command = [unshare or "", "--mount", "sh", "-c", f"mount --bind {tmp_path} {tmp_path}"]
    if unshare is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a test mount files")
    store = Store(tmp_path / "with blank" / "auth")
    store.folder.mkdir(parents=True, mode=0o700)
    outside = tmp_path / "outside.json"
    for path in (store.path(NAME), outside):
        path.touch(mode=0o600)

    def run(how: str) -> tuple[str, int, Store, Path]:
        done = subprocess.run(
            [unshare, "--mount", sys.executable, "-c", MOUNTED, str(store.folder), str(outside), how],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr, done.returncode, store, outside

    return run


def test_a_file_that_is_mounted(mounts: Callable[[str], tuple[str, int, Store, Path]]) -> None:
    said, code, store, outside = mounts("writable")
    assert (said, code) == ("access-two True\n", 0)
    assert json.loads(outside.read_text())["access_token"] == "access-three"
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]


def test_a_file_that_is_mounted_read_only(mounts: Callable[[str], tuple[str, int, Store, Path]]) -> None:
    said, code, store, outside = mounts("read-only")
    assert code == 0
    assert f"{store.path(NAME)} cannot be written (Read-only file system): make the file system writable" in said
    assert outside.read_bytes() == b""
    assert names(store.folder) == ["claude_api.json", "claude_api.lock"]


def test_a_crash_before_a_mounted_file_is_overwritten(mounts: Callable[[str], tuple[str, int, Store, Path]]) -> None:
    said, code, store, outside = mounts("killed")
    assert code == -9, said
    assert json.loads(outside.read_text())["access_token"] == "access-old"
    store.path(NAME).unlink()
    store.path(NAME).symlink_to(outside)
    with store.lock(NAME):
        store.recover(NAME, ClaudeLogin)
    assert access(store) == "access-new"
