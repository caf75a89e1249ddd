"""The data directory, opened segment by segment: a symbolic link in a path is never followed."""

from __future__ import annotations

import os
import stat
import unicodedata

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER = stat.S_IRWXU
PART_PREFIX = ".kernelyard-"
PART_SUFFIX = ".part"


class BadPath(Exception):
    """For a person: why this path cannot be used."""


class PlaceTaken(BadPath):
    """Something else is there that is not ours to remove."""


def split(path: str) -> list[str]:
    """Segments of a relative path in NFC. Raises `BadPath`."""
    segments = unicodedata.normalize("NFC", path).split("/")
    if "\0" in path or any(segment in ("", ".", "..") for segment in segments):
        raise BadPath(f"{path[:200]!r} is not a plain relative path")
    if any(len(os.fsencode(segment)) > 255 for segment in segments) or len(os.fsencode(path)) > 4096:
        raise BadPath("a name may have 255 bytes and a path 4096")
    return segments


def mend_root(data: str, status: os.stat_result | None = None) -> None:
    """Code may take its owner's rights away from the data directory; calls to come need them."""
    status = os.stat(data) if status is None else status
    if status.st_mode & _OWNER != _OWNER:
        os.chmod(data, stat.S_IMODE(status.st_mode) | _OWNER)


def open_root(data: str) -> int:
    """The data directory itself may be reached through the image's own link."""
    return os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_parent(data: str, segments: list[str], *, create: bool) -> int:
    """A descriptor of the directory that holds the last segment. Raises `BadPath` or `OSError`."""
    fd = open_root(data)
    try:
        for depth, segment in enumerate(segments[:-1], start=1):
            if create:
                try:
                    os.mkdir(segment, 0o755, dir_fd=fd)
                except FileExistsError:
                    pass
            try:
                child = os.open(segment, _DIRECTORY, dir_fd=fd)
            except NotADirectoryError:
                raise PlaceTaken(f"{'/'.join(segments[:depth])} is not a directory") from None
            os.close(fd)
            fd = child
        return fd
    except BaseException:
        os.close(fd)
        raise


def open_file(data: str, segments: list[str]) -> int:
    """Opens for reading without following links and without waiting for the other end of a FIFO."""
    parent = open_parent(data, segments, create=False)
    try:
        return os.open(segments[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


Key = tuple[int, int, int, int, int]


def key_of(status: os.stat_result) -> Key:
    """Changes whenever content or metadata change: no program can set the change time."""
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_regular(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)
