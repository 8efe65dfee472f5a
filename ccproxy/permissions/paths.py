"""Which files a rule for a file tool covers: by the name that a call gives and by the file that the name leads to.

A name proves little: `notes/x` may be a symbolic link to a key, and `/proc/self/root/etc/passwd` is `/etc/passwd`. A rule that allows must therefore cover
both the name and its resolution; a rule that denies or asks applies if it covers either, or if the resolution is not certain. The file system may change
between this check and the tool's own access: rules do not replace a sandbox.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ccproxy.permissions.globs import Glob, has_star

_MOST_LINKS = 40  # as many as Linux follows
# The same name is another file for another process.
_OF_ONE_PROCESS = re.compile(r"/proc/(?:self|thread-self|\d+)|/dev/fd|/dev/std(?:in|out|err)")
# Claude Code trims paths: what JavaScript's trim() removes.
# https://tc39.es/ecma262/#sec-string.prototype.trim
_BLANKS = "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


class Unresolvable(OSError):
    """The file that a path leads to may be another one for another process."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a relative path and `~` stand for in the arguments of a call; None if that is not known."""

    cwd: str | None = None
    home: str | None = None


UNKNOWN: Final = CallContext()


@dataclass(frozen=True, slots=True)
class Target:
    """One file or folder that a call names. `names` are absolute: as written, and what it resolves to."""

    names: frozenset[str]
    certain: bool
    """Whether `names` is complete."""


def targets(tool: str, arguments: Mapping[str, Any], context: CallContext) -> list[Target]:
    """The files and folders that a call of a file tool names; none if it names none."""
    if tool not in SEARCHES:
        value = arguments.get("notebook_path" if tool.startswith("Notebook") else "file_path")
        return [] if value is None else [_target(value, context)]
    folder = arguments.get("path")
    named = [_target("." if folder is None else folder, context)]
    pattern = arguments.get("pattern")
    if tool == "Glob" and isinstance(pattern, str):
        # The pattern may leave the folder: `../*`, `/etc/*`.
        start = re.split(r"[*?\[{]", pattern, maxsplit=1)[0]
        if start.startswith(("/", "~")) or ".." in pattern:
            path = posixpath.join(folder, start) if isinstance(folder, str) and not start.startswith("~") else start
            named.append(_target(path, context))
            if ".." in pattern[len(start) :]:
                named.append(Target(frozenset(), certain=False))
    elif pattern is not None and not isinstance(pattern, str):
        named.append(Target(frozenset(), certain=False))
    return named


SEARCHES = frozenset({"Glob", "Grep"})
"""Tools that look at all files below a folder, by default the working folder."""


def absolute_path(value: str, context: CallContext) -> str | None:
    """The path without `~`, `.` and `..`, or None if it is relative and the working folder is not known."""
    joined = _joined(value.strip(_BLANKS), context)
    return None if joined is None else _tidy(joined)


def resolve(path: str) -> str:
    """The path without symbolic links, whether or not the file exists.

    Raises:
        Unresolvable: it has too many links, a folder on the way cannot be read, or it means another file for another process.

    """
    left = path.split("/")[::-1]
    done, links = "", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}"
        if _OF_ONE_PROCESS.fullmatch(here):
            raise Unresolvable(errno.EXDEV, os.strerror(errno.EXDEV), path)
        try:
            link = os.readlink(here)  # noqa: PTH115 - a Path would tidy the name up
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                raise Unresolvable(error.errno, error.strerror, path) from error
            done = here  # not a link, or not there yet
            continue
        except ValueError as error:  # a zero byte
            raise Unresolvable(errno.EINVAL, str(error), path) from error
        links += 1
        if links > _MOST_LINKS:
            raise Unresolvable(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith("/"):
            done = ""
        left += link.split("/")[::-1]
    return done or "/"


class PathPattern:
    """The pattern of a rule for file tools.

    `/x` and `//x` are absolute and `~/x` is in the home folder; anything else may stand below any folder. `*` and `**` stand for any characters, slashes too.
    """

    def __init__(self, pattern: str) -> None:
        """Resolve the pattern's own links now: a link that is made later must not widen a rule.

        Raises:
            ValueError: saying what is wrong with it.

        """
        if "\0" in pattern:
            raise ValueError("a path has no zero byte")
        if pattern == "~" or pattern.startswith("~/"):
            pattern = Path.home().as_posix() + pattern[1:]
        elif pattern.startswith("~"):
            raise ValueError("expected ~/ for your own home folder; write another user's as an absolute path")
        self._anchored = pattern.startswith("/")
        self._text = f"/{pattern.lstrip('/')}" if self._anchored else f"*/{pattern.removeprefix('./')}"
        self._text = unicodedata.normalize("NFC", self._text)
        self._at_load = self._resolved()
        self._covering = _globs((self._text, self._at_load))

    def covers(self, target: Target, *, search: bool) -> bool:
        """Return whether the target certainly fits: for rules that allow."""
        return target.certain and all(
            any(glob.matches(text) for glob in self._covering for text in _spellings(name, search=search))
            for name in target.names
        )

    def may_cover(self, target: Target, *, search: bool, below: bool) -> bool:
        """Return whether the target fits or may fit: for rules that deny or ask. `below` counts a search that starts above what the rule names.

        Case does not count, as on many file systems. Reads the file system.
        """
        if not target.certain:
            return True
        texts = {text.casefold() for text in (self._text, self._at_load, self._resolved())}
        globs = _globs({*texts, *(text.replace("/**/", "/*") for text in texts)})
        names = [name.casefold() for name in target.names]
        if below and self._anchored and any(_is_above(name, text) for name in names for text in texts):
            return True
        return any(glob.matches(text) for glob in globs for name in names for text in _spellings(name, search=search))

    def _resolved(self) -> str:
        """The pattern with the links of its fixed part resolved."""
        if not self._anchored:
            return self._text
        fixed = self._text
        if has_star(fixed):
            fixed = fixed[: re.search(r"(?<!\\)\*", fixed).start()].rpartition("/")[0]  # type: ignore[union-attr]  # it has one
        try:
            resolved = resolve(fixed.replace(r"\*", "*")).replace("*", r"\*")
        except Unresolvable:
            return self._text
        return resolved.rstrip("/") + self._text[len(fixed) :] or "/"


def _target(value: object, context: CallContext) -> Target:
    if not isinstance(value, str) or os.name == "nt":
        return Target(frozenset(), certain=False)
    names: set[str] = set()
    certain = True
    for spelling in {value, value.strip(_BLANKS)}:
        joined = _joined(spelling, context)
        if joined is None or "\0" in joined:
            certain = False
            continue
        tidy = _tidy(joined)
        names.add(tidy)
        try:
            # Claude Code removes `..` by name, the kernel by following links first.
            names |= {resolve(tidy), resolve(joined)}
        except Unresolvable:
            certain = False
    return Target(frozenset(unicodedata.normalize("NFC", name) for name in names), certain)


def _joined(value: str, context: CallContext) -> str | None:
    if value == "~" or value.startswith("~/"):
        return (context.home or Path.home().as_posix()) + value[1:]
    if value.startswith("/"):
        return value
    return None if context.cwd is None else posixpath.join(context.cwd, value)


def _tidy(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _spellings(name: str, *, search: bool) -> tuple[str, ...]:
    """A search in `/x` looks at all of `/x/*`."""
    return (name, f"{name.rstrip('/')}/") if search else (name,)


def _globs(texts: Iterable[str]) -> list[Glob]:
    # `/x/**/y` is `/x/y` too.
    return [Glob(text) for text in {*texts, *(text.replace("/**/", "/") for text in texts)}]


def _is_above(folder: str, text: str) -> bool:
    return text.startswith(f"{folder.rstrip('/')}/")
