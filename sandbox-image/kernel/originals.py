"""Descriptors 0 to 2 as the kernel was given them, whatever code does to its own."""

from __future__ import annotations

import contextlib
import os


class Originals:
    def __init__(self, *fds: int) -> None:
        self._fds = fds
        # Kept: these descriptors are nobody else's, and a look at each costs as much as the one it is compared with.
        self._files = [_file(fd) for fd in fds]

    @property
    def nowhere(self) -> int:
        """A descriptor that takes everything."""
        return self._fds[0]

    def become(self, number: int, fd: int) -> None:
        """What descriptor `number` is from now on."""
        os.dup2(fd, self._fds[number], inheritable=False)
        self._files[number] = _file(fd)

    def put_back(self) -> None:
        for number, (fd, file) in enumerate(zip(self._fds, self._files, strict=True)):
            try:
                if _file(number) == file:
                    continue
            except OSError:
                # Closed.
                pass
            with contextlib.suppress(OSError):
                os.dup2(fd, number)
                # A sandbox that was asleep may have other numbers for the same files.
                self._files[number] = _file(number)


def _file(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
