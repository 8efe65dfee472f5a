"""Rules for file tools hold for a name and for what it leads to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ccproxy.permissions.paths import CallContext, Unresolvable, resolve
from ccproxy.permissions.rules import Rule, RuleDecision


def matches(rule: str, decision: RuleDecision, path: Any, *, tool: str = "Read", **context: Any) -> bool:
    return Rule(rule, decision).matches(tool, {"file_path": path}, CallContext(**context))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`open/` may be read, `secret/` may not; links lead from one to the other."""
    root = tmp_path.resolve()
    for folder in ("open", "secret"):
        (root / folder).mkdir()
        (root / folder / "file").write_text(folder)
    (root / "open" / "link").symlink_to(root / "secret" / "file")
    (root / "open" / "folder").symlink_to(root / "secret")
    (root / "open" / "relative").symlink_to("../secret/file")
    (root / "open" / "chain").symlink_to("relative")
    (root / "open" / "up").symlink_to("folder/..")
    (root / "open" / "loop").symlink_to("loop")
    (root / "open" / "dangling").symlink_to(root / "secret" / "new")
    (root / "open" / "proc").symlink_to("/proc/self/cwd")
    (root / "alias").symlink_to("open")
    return root


LEAVING = [
    "open/link",
    "open/folder/file",
    "open/relative",
    "open/chain",
    "open/up/secret/file",
    "open/dangling",
    "open/../secret/file",
    "open/./../secret/./file",
    "open//..//secret//file",
    "alias/link",
    "alias/../secret/file",
]


@pytest.mark.parametrize("path", LEAVING)
def test_a_link_out_of_the_folder(tree: Path, path: str) -> None:
    for spelling in (f"{tree}/{path}", f"/{tree}/{path}", f" {tree}/{path}\ufeff\n", f"/tmp/..{tree}/{path}"):
        assert not matches(f"Read({tree}/open/*)", "allow", spelling)
        assert matches(f"Read({tree}/secret/*)", "deny", spelling)
        assert matches(f"Read({tree}/secret/*)", "ask", spelling)
    assert not matches(f"Read({tree}/open/*)", "allow", path, cwd=str(tree))
    assert matches(f"Read({tree}/secret/*)", "deny", path, cwd=str(tree))


@pytest.mark.parametrize("path", ["open/loop", "open/proc/file", "open/loop/x"])
def test_a_link_that_leads_nowhere_certain(tree: Path, path: str) -> None:
    assert not matches(f"Read({tree}/open/*)", "allow", f"{tree}/{path}")
    assert matches("Read(/somewhere/else/*)", "deny", f"{tree}/{path}")


def test_names_of_one_process(tree: Path) -> None:
    for root in ("/proc/self/root", f"/proc/{os.getpid()}/root", "/proc/thread-self/root", "/proc/1/root"):
        assert not matches(f"Read({tree}/open/*)", "allow", f"{root}{tree}/open/file")
        assert not matches("Read(/proc/*)", "allow", f"{root}{tree}/open/file")
        assert matches(f"Read({tree}/secret/*)", "deny", f"{root}{tree}/secret/file")
    for path in ("/proc/self/cwd/x", "/proc/self/fd/3", "/dev/fd/3", "/dev/stdin", "/dev/../proc/self/cwd/x"):
        assert not matches("Read(/dev/*)", "allow", path)
        assert matches(f"Read({tree}/secret/*)", "deny", path)
    assert matches("Read(/proc/cpuinfo)", "allow", "/proc/cpuinfo")


def test_a_rule_for_a_link_covers_its_target_as_it_was_when_the_rule_was_made(tree: Path) -> None:
    allowed = Rule(f"Read({tree}/alias/*)", "allow")
    denied = Rule(f"Read({tree}/alias/*)", "deny")
    for path in (f"{tree}/alias/file", f"{tree}/open/file"):
        assert allowed.matches("Read", {"file_path": path})
        assert denied.matches("Read", {"file_path": path})
    (tree / "alias").unlink()
    (tree / "alias").symlink_to("secret")
    assert not allowed.matches("Read", {"file_path": f"{tree}/alias/file"})
    assert not allowed.matches("Read", {"file_path": f"{tree}/secret/file"})
    assert denied.matches("Read", {"file_path": f"{tree}/alias/file"})
    assert denied.matches("Read", {"file_path": f"{tree}/secret/file"})


def test_a_file_that_is_not_there_yet(tree: Path) -> None:
    assert matches(f"Write({tree}/open/*)", "allow", f"{tree}/open/new/file", tool="Write")
    assert not matches(f"Write({tree}/open/*)", "allow", f"{tree}/open/folder/new", tool="Write")


def test_rules_without_a_folder(tree: Path) -> None:
    assert matches("Read(open/*)", "allow", f"{tree}/open/file")
    assert not matches("Read(open/*)", "allow", f"{tree}/open/link")
    assert matches("Read(secret/*)", "deny", f"{tree}/open/link")
    assert matches("Read(./open/*)", "allow", f"{tree}/open/file")


def test_the_home_folder_in_rule_and_call(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    assert matches("Read(~/open/*)", "allow", "~/open/file")
    assert not matches("Read(~/open/*)", "allow", "  ~/open/file", cwd="/")  # is the blank a part of the name?
    assert matches("Read(~/open/*)", "deny", "  ~/open/file", cwd="/")
    assert not matches("Read(~/open/*)", "allow", "~/open/link")
    assert matches("Read(~/secret/*)", "deny", "~/open/link")
    # A tool's home may be another one.
    assert not matches("Read(~/open/*)", "allow", "~/open/file", home="/elsewhere")
    assert matches("Read(/elsewhere/open/*)", "deny", "~/open/file", home="/elsewhere")


def test_a_relative_path_without_a_known_folder(tree: Path) -> None:
    assert not matches("Read(open/*)", "allow", "open/file")
    assert matches(f"Read({tree}/secret/*)", "deny", "open/file")
    assert matches("Read(open/*)", "allow", "open/file", cwd=str(tree))
    assert not matches(f"Read({tree}/secret/*)", "deny", "open/file", cwd=str(tree))


@pytest.mark.parametrize("path", ["/x\0y", 5, ["/x"], {"a": 1}])
def test_what_is_not_a_path(path: Any) -> None:
    assert not matches("Read(/*)", "allow", path)
    assert matches("Read(/somewhere/*)", "deny", path)


def test_case_and_composed_letters_do_not_save_from_a_denial() -> None:
    assert matches("Read(/x/Secret/*)", "deny", "/X/sEcret/a")
    assert not matches("Read(/x/Secret/*)", "allow", "/X/sEcret/a")
    assert matches("Read(/x/caf\u00e9/*)", "deny", "/x/cafe\u0301/a")
    assert matches("Read(/x/cafe\u0301/*)", "deny", "/x/caf\u00e9/a")


def test_a_folder_that_cannot_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readlink = os.readlink

    def locked(path: str) -> str:
        if "locked" in path:
            raise PermissionError(13, "Permission denied")
        return readlink(path)

    monkeypatch.setattr("os.readlink", locked)
    assert not matches(f"Read({tree}/*)", "allow", f"{tree}/locked/x")
    assert matches("Read(/somewhere/*)", "deny", f"{tree}/locked/x")


@pytest.mark.parametrize(
    ("rule", "path", "expected"),
    [
        ("/x/**", "/x/a/b", True),
        ("/x/**/y", "/x/y", True),
        ("/x/**/y", "/x/a/b/y", True),
        ("/x/*", "/x", False),
        ("/x", "/x/", True),
        ("/x/*", "/xy/a", False),
        ("/", "/", True),
        ("/*", "/a/b", True),
        (r"/x/\*", "/x/a", False),
        (r"/x/\*", "/x/*", True),
    ],
)
def test_stars(rule: str, path: str, expected: bool) -> None:
    assert matches(f"Read({rule})", "allow", path) is expected
    assert matches(f"Read({rule})", "deny", path) is expected


def search(rule: str, decision: RuleDecision, tool: str = "Grep", *, cwd: str | None = None, **arguments: Any) -> bool:
    return Rule(rule, decision).matches(tool, arguments, CallContext(cwd))


def test_searches(tree: Path) -> None:
    for tool in ("Grep", "Glob"):
        allow, deny = f"{tool}({tree}/open/*)", f"{tool}({tree}/secret/*)"
        assert search(allow, "allow", tool, path=f"{tree}/open", pattern="a")
        assert search(allow, "allow", tool, pattern="a", cwd=f"{tree}/open")
        assert not search(allow, "allow", tool, pattern="a")
        assert not search(allow, "allow", tool, path=f"{tree}", pattern="a")
        assert not search(allow, "allow", tool, path=f"{tree}/open/folder", pattern="a")
        assert search(deny, "deny", tool, path=f"{tree}/open/folder", pattern="a")
        assert search(deny, "deny", tool, path=f"{tree}/secret", pattern="a")
        # A search from above looks into it.
        assert search(deny, "deny", tool, path=f"{tree}", pattern="a")
        assert search(deny, "deny", tool, path="/", pattern="a")
        assert search(deny, "deny", tool, pattern="a", cwd=f"{tree}")
        assert not search(deny, "deny", tool, path=f"{tree}/open", pattern="a")
        # A rule for Read is about what the call names.
        assert search(f"Read({tree}/secret/*)", "deny", tool, path=f"{tree}/secret", pattern="a")
        assert not search(f"Read({tree}/secret/*)", "deny", tool, path=f"{tree}", pattern="a")


@pytest.mark.parametrize("pattern", ["/etc/*", "../secret/*", "a/../../secret/*", "*/../../secret/*", "~/x/*"])
def test_a_pattern_that_leaves_its_folder(tree: Path, pattern: str) -> None:
    assert not search(f"Glob({tree}/open/*)", "allow", "Glob", path=f"{tree}/open", pattern=pattern)
    if "secret" in pattern:
        assert search(f"Glob({tree}/secret/*)", "deny", "Glob", path=f"{tree}/open", pattern=pattern)


def test_resolving_is_bounded(tmp_path: Path) -> None:
    """Each link doubles what is left to read."""
    for number in range(50):
        (tmp_path / f"l{number}").symlink_to(f"l{number + 1}/../l{number + 1}")
    with pytest.raises(Unresolvable):
        resolve(str(tmp_path / "l0"))
    assert resolve("/a/../b/./c//") == "/b/c"
    assert resolve("/..") == "/"
