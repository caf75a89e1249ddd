"""A bounded walk over a tree that hostile code made."""

from __future__ import annotations

import os
import stat
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from supervisor import tree

MAX_ENTRIES = 50_000
#: Of the supervisor's own CPU: what a busy host gives to others is not this tree's fault, and no file is lost by it.
MAX_CPU_SECONDS = 2.0
#: Of anybody's time: the gateway waits ten seconds beyond a call's time limit before it takes the sandbox for dead.
MAX_SECONDS = 6.0
MAX_SKIPPED = 256
#: Below the deepest level that is collected files are counted, down to here: one descriptor is open per level.
_MAX_LEVELS = 256
_IGNORED_DIRECTORIES = frozenset({"__pycache__", "lost+found"})
_KINDS = (
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISCHR, "device"),
)

#: Why a file that somebody may wait for is left behind. Links, pipes and the like have no reason: nobody does.
Loss = Literal["max_files", "depth", "size", "path", "unreadable"]
#: Hears of everything that is left out: path, reason for a person, loss.
Skip = Callable[[str, str, Loss | None], None]


@dataclass
class Found:
    """Regular files by their name on disk."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    #: Whether the bounds of the walk were wide enough.
    complete: bool = True
    entries: int = 0


def printable(path: str) -> str:
    """A name that is not UTF-8 is shown with its odd bytes as `\\xNN`, and never longer than a message allows."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")[:1024] or "?"


def is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def walk(data: str, inputs: Sequence[str], skip: Skip, *, max_depth: int, max_path_bytes: int) -> Found:
    """Hidden names are left out unless they are, or hold, one of `inputs`. Raises `OSError` for the root only."""
    wanted: set[str] = set()
    for path in inputs:
        segments = path.split("/")
        wanted.update("/".join(segments[:depth]) for depth in range(1, len(segments) + 1))
    found = Found()
    state = _Walk(found, wanted, skip, max_depth, max_path_bytes)
    root = tree.open_root(data)
    try:
        state.directory(root, "", 1)
    finally:
        os.close(root)
    return found


class _Walk:
    def __init__(self, found: Found, wanted: set[str], skip: Skip, max_depth: int, max_path_bytes: int) -> None:
        self._found = found
        self._wanted = wanted
        self._skip = skip
        self._max_depth = max_depth
        self._max_path_bytes = max_path_bytes
        self._began = time.monotonic()
        self._cpu_deadline = time.thread_time() + MAX_CPU_SECONDS
        self._entries = 0

    def directory(self, fd: int, prefix: str, depth: int) -> None:
        """Recursion is bounded by `_MAX_LEVELS`; one descriptor is open per level."""
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if not self._within_bounds():
                        return
                    self._entry(fd, entry, prefix, depth)
        except OSError as error:
            self._skip(prefix or ".", f"cannot be listed: {error.strerror}", "unreadable")

    def _within_bounds(self) -> bool:
        self._entries += 1
        self._found.entries = self._entries
        in_time = self._in_time(time.monotonic())
        if self._entries <= MAX_ENTRIES and in_time:
            return True
        if self._found.complete:
            self._found.complete = False
            why = "looking through the files took too long" if not in_time else "there are too many files"
            self._skip(".", f"{why}: only the first {self._entries - 1} were looked at", None)
        return False

    def _in_time(self, now: float) -> bool:
        took = now - self._began
        # No more CPU than wall clock: its time costs a system call, and is asked for when it can matter.
        return took < MAX_CPU_SECONDS or (took < MAX_SECONDS and time.thread_time() < self._cpu_deadline)

    def _entry(self, fd: int, entry: os.DirEntry[str], prefix: str, depth: int) -> None:
        name = entry.name
        path = prefix + name
        # An input is named in NFC; a file that the code made may be spelt otherwise.
        if name.startswith(".") and unicodedata.normalize("NFC", path) not in self._wanted:
            return
        try:
            # `entry.stat` of a scan by descriptor is relative to it: nothing above can be swapped meanwhile.
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            if name in _IGNORED_DIRECTORIES:
                return
            if depth < _MAX_LEVELS:
                self._enter(fd, name, path, depth)
            else:
                self._skip(path, f"deeper than {_MAX_LEVELS} levels", "depth")
            return
        for test, kind in _KINDS:
            if test(status.st_mode):
                self._skip(path, f"{kind}: only regular files are collected", None)
                return
        if depth > self._max_depth:
            self._skip(path, f"deeper than {self._max_depth} levels", "depth")
        elif not is_utf8(path):
            self._skip(path, "the name is not UTF-8", "path")
        elif len(path.encode()) > self._max_path_bytes:
            self._skip(path, f"the path is longer than {self._max_path_bytes} bytes", "path")
        else:
            self._found.files[path] = status

    def _enter(self, parent: int, name: str, path: str, depth: int) -> None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except OSError as error:
            self._skip(path, f"cannot be opened: {error.strerror}", "unreadable")
            return
        try:
            self.directory(fd, path + "/", depth + 1)
        finally:
            os.close(fd)
