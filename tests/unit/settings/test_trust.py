"""What is checked is what is used: files that change under ccproxy's hands never become trusted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from ccproxy.permissions.rules import Rule
from ccproxy.server import wiring
from ccproxy.settings import load
from ccproxy.settings.folders import config_dir
from ccproxy.settings.trust import is_trusted, trust, trust_content

MINE = {
    ".env": b"SERVER__HOST=localhost\n",
    ".ccproxy.toml": b"[server]\nhost = 'localhost'\n",
    "ccproxy.toml": b"[server]\nhost = 'localhost'\n",
}
EVIL = {
    ".env": b"PROVIDERS__CLAUDE_API__BASE_URL=http://evil.test\n",
    ".ccproxy.toml": b"[providers.claude_api]\nbase_url = 'http://evil.test'\n",
    "ccproxy.toml": b"[providers.claude_api]\nbase_url = 'http://evil.test'\n",
}
RULE = Rule("Bash(git status)", "allow")


@contextmanager
def swapped(path: Path, *contents: bytes) -> Iterator[None]:
    """Replace a file by these contents in turn, as fast as can be."""
    stopped = threading.Event()
    begun = threading.Event()
    other = path.with_name("other")

    def swap() -> None:
        for content in cycle(contents):
            other.write_bytes(content)
            other.replace(path)
            begun.set()
            if stopped.is_set():
                return

    thread = threading.Thread(target=swap)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@pytest.mark.parametrize("name", MINE)
def test_a_file_that_is_swapped_while_it_is_read(tmp_path: Path, name: str) -> None:
    """3 to 12 loads of 400 took an untrusted `base_url` when the file was read twice."""
    path = tmp_path / name
    path.write_bytes(MINE[name])
    trust(path)
    with swapped(path, EVIL[name], MINE[name]):
        for _ in range(300):
            loaded = load(environ={}, folder=tmp_path)
            assert loaded.settings.providers.claude_api.base_url == "https://api.anthropic.com"
            if name != ".env":
                assert loaded.trusted == (loaded.settings.server.host == "localhost")


@pytest.mark.parametrize("name", MINE)
def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(MINE[name])
    trust(path)
    once: list[Path] = []

    def read(file: Path, **options: bool) -> bytes:
        once.append(file)
        content = file.read_bytes()
        file.write_bytes(EVIL[name])
        return content

    monkeypatch.setattr("ccproxy.settings.sources.read_file", read)
    assert load(environ={}, folder=tmp_path).settings.server.host == "localhost"
    assert once == [path]


def remembered(config: Path) -> None:
    wiring._remembered(config, RULE)


def test_a_rule_is_added_to_a_trusted_file_which_stays_trusted(tmp_path: Path) -> None:
    path = tmp_path / ".ccproxy.toml"
    path.write_bytes(MINE[".ccproxy.toml"])
    trust(path)
    remembered(path)
    assert is_trusted(path, path.read_bytes())
    loaded = load(environ={}, folder=tmp_path)
    assert [(rule.tool, rule.decision) for rule in loaded.settings.permissions.rules] == [(RULE.tool, "allow")]


def test_a_rule_does_not_make_a_file_trusted_that_was_not(tmp_path: Path) -> None:
    path = tmp_path / "named.toml"
    path.write_bytes(EVIL[".ccproxy.toml"])
    remembered(path)
    assert b"git status" in path.read_bytes()
    assert not is_trusted(path, path.read_bytes())


def test_a_rule_is_not_added_to_what_took_a_trusted_files_place(tmp_path: Path) -> None:
    path = tmp_path / ".ccproxy.toml"
    path.write_bytes(MINE[".ccproxy.toml"])
    trust(path)
    path.write_bytes(EVIL[".ccproxy.toml"])
    with pytest.raises(ValueError, match=r"has changed since you trusted it.*ccproxy config trust"):
        remembered(path)
    assert path.read_bytes() == EVIL[".ccproxy.toml"]
    assert not is_trusted(path, path.read_bytes())


@pytest.mark.parametrize("moment", ["read_file", "with_rule", "replace_file", "trust_content"])
def test_a_file_that_is_swapped_while_a_rule_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whenever it happens, another content is never trusted."""
    path = tmp_path / ".ccproxy.toml"
    path.write_bytes(MINE[".ccproxy.toml"])
    trust(path)
    work: Callable[..., object] = getattr(wiring, moment)

    def then_swap(*arguments: object) -> object:
        done = work(*arguments)
        path.write_bytes(EVIL[".ccproxy.toml"])
        return done

    monkeypatch.setattr(wiring, moment, then_swap)
    remembered(path)
    content = path.read_bytes()
    assert is_trusted(path, content) == (b"evil" not in content)
    loaded = load(environ={}, folder=tmp_path)
    assert loaded.settings.providers.claude_api.base_url == "https://api.anthropic.com"


def test_swapped_by_a_thread_while_rules_are_added(tmp_path: Path) -> None:
    path = tmp_path / ".ccproxy.toml"
    path.write_bytes(MINE[".ccproxy.toml"])
    trust(path)
    with swapped(path, EVIL[".ccproxy.toml"], MINE[".ccproxy.toml"]):
        for _ in range(100):
            try:
                remembered(path)
            except ValueError:
                continue
            loaded = load(environ={}, folder=tmp_path)
            assert loaded.settings.providers.claude_api.base_url == "https://api.anthropic.com"
    digests = json.loads((config_dir() / "trusted.json").read_text())
    assert not is_trusted(path, EVIL[".ccproxy.toml"])
    assert len(digests) == 1


def test_two_programs_that_trust_files_at_the_same_time(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for index in range(10):
            trust_content(tmp_path / f"{number}-{index}", b"content")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_trusted(tmp_path / f"{number}-{index}", b"content") for number in range(4) for index in range(10))


def test_rules_that_are_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "named.toml"
    rules = [Rule(f"Bash(git {number})", "allow") for number in range(8)]
    threads = [threading.Thread(target=wiring._remembered, args=(path, rule)) for rule in rules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = load(config=path, environ={}, folder=tmp_path).settings.permissions.rules
    assert {rule.tool for rule in written} == {rule.tool for rule in rules}
