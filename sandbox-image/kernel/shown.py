"""What a call shows goes out while it runs: the supervisor is told of each file that was written for it."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable

from kernel.control import Control


class Shown:
    """`flush`: what was printed before it is to come before it."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._control: Control | None = None
        self._run = 0
        self._left = 0

    def begin(self, control: Control, run: int, most: int) -> None:
        """A call that is told of so many; 0 where nobody looks on."""
        self._control, self._run, self._left = control, run, most

    def over(self) -> None:
        """Of this call, or in a child, which must not speak in our name."""
        self._left = 0

    def saved(self, path: str, content: bytes) -> None:
        if self._left <= 0 or self._control is None:
            return
        self._left -= 1
        self._flush()
        with contextlib.suppress(OSError):
            # All of a call fit into the socket's buffer: each goes whole, whatever signal comes, from any thread.
            self._control.send(
                {"run": self._run, "shown": os.path.basename(path), "bytes": len(content), "crc32": zlib.crc32(content)}
            )
