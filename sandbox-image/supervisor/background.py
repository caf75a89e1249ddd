"""Output of processes that a call left running, while no call runs or another one does.

It is read, so that a server which logs goes on serving, but slowly, so that one which prints for ever costs little. Its
beginning is told once, on standard error of the next Python call.
"""

from __future__ import annotations

import os

from supervisor.loop import Loop

_READ_BYTES = 64 * 1024
_PAUSE_SECONDS = 0.05
_KEPT_BYTES = 4096
#: Beyond so many pipes the oldest is closed: whoever prints into it is told by a signal.
_MOST_PIPES = 64


class Background:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._pipes: list[int] = []
        self._kept = bytearray()
        self._dropped = 0

    def adopt(self, fd: int) -> None:
        """Takes over the reading end of a pipe; it is closed when its last writer is gone."""
        if len(self._pipes) >= _MOST_PIPES:
            self._close(self._pipes[0])
        self._pipes.append(fd)
        self._watch(fd)

    def heard(self, data: bytes) -> None:
        room = _KEPT_BYTES - len(self._kept)
        self._kept += data[:room]
        self._dropped += max(len(data) - room, 0)

    def tell(self) -> str | None:
        """What was heard since the last time, for a person."""
        if not self._kept:
            return None
        text = self._kept.decode("utf-8", "replace").rstrip("\n")
        more = f"\n({self._dropped} more bytes are not shown.)" if self._dropped else ""
        self._kept.clear()
        self._dropped = 0
        return f"Printed since the last call by what was left running:\n{text}{more}"

    def close(self) -> None:
        for fd in list(self._pipes):
            self._close(fd)

    def _watch(self, fd: int) -> None:
        if fd in self._pipes:
            self._loop.watch(fd, lambda _events: self._on_output(fd), slow=True)

    def _on_output(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(fd)
            return
        self.heard(data)
        self._loop.forget(fd)
        self._loop.after(_PAUSE_SECONDS, lambda: self._watch(fd))

    def _close(self, fd: int) -> None:
        self._pipes.remove(fd)
        self._loop.forget(fd)
        os.close(fd)
