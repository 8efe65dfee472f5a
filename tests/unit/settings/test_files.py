"""Files that may hold keys: for their owner alone, written as a whole, where a link leads."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ccproxy.cli.app import build
from ccproxy.settings import load
from ccproxy.settings.files import overwrite, read_file, replace_file
from ccproxy.settings.folders import config_dir

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refuses(number: int) -> Any:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


# ---- writing


@pytest.mark.parametrize("before", [None, 0o600, 0o644, 0o666, 0o400])
def test_a_written_file_is_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "new" / "config.toml"
    if before is not None:
        path.parent.mkdir()
        path.write_text("old")
        path.chmod(before)
    old = os.umask(0)
    try:
        assert replace_file(path, b"content") == path
    finally:
        os.umask(old)
    assert (path.read_bytes(), mode(path)) == (b"content", 0o600)
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"]
    if before is None:
        assert mode(path.parent) == 0o700


def test_links_stay_links(tmp_path: Path) -> None:
    folder = tmp_path / "dotfiles"
    folder.mkdir()
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(folder / "target")
    for content in (b"first", b"second"):  # the target is missing, then there
        assert replace_file(tmp_path / "one", content) == folder / "target"
        assert (folder / "target").read_bytes() == content
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").is_symlink()
    assert mode(folder / "target") == 0o600


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_mount_point_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a longer old content")
    path.chmod(0o644)
    inode = path.stat().st_ino
    monkeypatch.setattr(Path, "replace", refuses(number))
    replace_file(path, b"content")
    assert (path.read_bytes(), path.stat().st_ino, mode(path)) == (b"content", inode, 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_file_in_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = tmp_path / "config.toml"
    monkeypatch.setattr("tempfile.mkstemp", refuses(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        replace_file(path, b"content")
    path.write_text("old")
    replace_file(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuses(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            replace_file(path, b"content")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            overwrite(path, b"a longer content")
    assert path.read_text() == "old"


def test_a_reader_sees_the_old_or_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + number]) * (5000 + number) for number in range(4)]
    path.write_bytes(contents[0])
    stopped = threading.Event()

    def write() -> None:
        while not stopped.is_set():
            for content in contents:
                replace_file(path, content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert {read_file(path) for _ in range(300)} <= set(contents)
    finally:
        stopped.set()
        thread.join()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser can give files away")
def test_the_superuser_leaves_a_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("old")
    os.chown(path, 12345, 12345)
    replace_file(path, b"content")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (12345, 12345, 0o600)


# ---- reading


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2048)
    assert read_file(path, limit=2048) == b"x" * 2048
    with pytest.raises(OSError, match="is larger than 1 KB"):
        read_file(path, limit=1024)
    with pytest.raises(OSError, match="is larger than"):
        read_file(Path("/dev/zero"), regular=False)


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_file(path)


# ---- the commands


@pytest.mark.parametrize("command", [["init", "--force"], ["set", "providers.codex.api_key", "hush-hush"]])
@pytest.mark.parametrize("before", [None, 0o644])
def test_config_commands_write_for_the_owner_alone(run: CliRunner, command: list[str], before: int | None) -> None:
    path = config_dir() / "config.toml"
    if before is not None:
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o755)
        path.write_text("")
        path.chmod(before)
    old = os.umask(0o022)
    try:
        result = run.invoke(build(("config",)), ["config", *command])
    finally:
        os.umask(old)
    assert result.exit_code == 0, result.output
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_config_init_does_not_overwrite(run: CliRunner, tmp_path: Path) -> None:
    path = config_dir() / "config.toml"
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "dotfiles.toml")
    result = run.invoke(build(("config",)), ["config", "init"])
    assert result.exit_code == 1
    assert "--force" in result.output
    result = run.invoke(build(("config",)), ["config", "init", "--force"])
    assert result.exit_code == 0
    assert path.is_symlink()
    assert "[server]" in (tmp_path / "dotfiles.toml").read_text()


def test_config_set_follows_a_link_and_keeps_the_rest(run: CliRunner, tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles.toml", tmp_path / "link.toml"
    target.write_text("# mine\n[server]\nport = 1\n")
    target.chmod(0o644)
    link.symlink_to(target)
    result = run.invoke(build(("config",)), ["config", "set", "server.log_level", "debug", "--config", str(link)])
    assert result.exit_code == 0, result.output
    assert link.is_symlink()
    assert target.read_text() == '# mine\n[server]\nport = 1\nlog_level = "debug"\n'
    assert mode(target) == 0o600


@pytest.mark.parametrize(
    ("key", "value", "written"),
    [
        ("server.auth_token", "1234567890", "1234567890"),
        ("server.auth_token", "true", "true"),
        ("providers.codex.api_key", "1e5", "1e5"),
        ("providers.codex.api_key", " hush-hush\n", "hush-hush"),
        ("server.port", "9000", 9000),
        ("server.allowed_hosts", '["a.test"]', ("a.test",)),
    ],
)
def test_config_set_takes_text_that_looks_like_a_number(run: CliRunner, key: str, value: str, written: object) -> None:
    result = run.invoke(build(("config",)), ["config", "set", key, value])
    assert result.exit_code == 0, result.output
    setting: Any = load(environ={}).settings
    for part in key.split("."):
        setting = getattr(setting, part)
    assert (setting.get_secret_value() if hasattr(setting, "get_secret_value") else setting) == written
    if isinstance(written, str):
        assert f'"{written}"' in (config_dir() / "config.toml").read_text()


def test_config_set_refuses_what_would_not_load(run: CliRunner) -> None:
    for value in ("70000", "abc"):
        result = run.invoke(build(("config",)), ["config", "set", "server.port", value])
        assert result.exit_code == 2
        assert "server.port" in result.output
    result = run.invoke(build(("config",)), ["config", "set", "providers.codex.api_key", "hush\nhash"])
    assert result.exit_code == 2
    assert "providers.codex.api_key" in result.output
    assert "hash" not in result.output
    assert not (config_dir() / "config.toml").exists()


def test_config_set_on_a_file_that_is_too_large(run: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    result = run.invoke(build(("config",)), ["config", "set", "server.port", "1", "--config", str(path)])
    assert result.exit_code == 2
    assert "is larger than 1024 KB" in result.output
