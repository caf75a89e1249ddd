"""What a program prints: read from its pipes, within a budget."""

from __future__ import annotations

import codecs
import os

READ_BYTES = 64 * 1024


def drain(fd: int) -> list[bytes]:
    """What is in a pipe now, at most four times what the system lets a pipe hold."""
    pieces: list[bytes] = []
    for _ in range(64):
        try:
            data = os.read(fd, READ_BYTES)
        except (BlockingIOError, OSError):
            break
        if not data:
            break
        pieces.append(data)
        if len(data) < READ_BYTES:
            # Less than asked for: the pipe is empty now.
            break
    return pieces


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class Budget:
    """Passes bytes on until a limit, counted in UTF-16 units of the decoded text, and cuts exactly there.

    A character whose bytes have not all come yet is held back, so that the cut never falls into one.
    Invalid bytes are passed on as they are and count as the replacement character the reader will see.
    """

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.truncated = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = b""

    def take(self, data: bytes) -> bytes:
        if self.truncated or not data:
            return b""
        if not self._held and data.isascii():
            if len(data) <= self.left:
                self.left -= len(data)
                return data
            return self._cut(data.decode("ascii"))
        text = self._decoder.decode(data)
        units = _units(text)
        if units > self.left:
            return self._cut(text)
        self.left -= units
        whole = self._held + data
        self._held = self._decoder.getstate()[0]
        return whole[: len(whole) - len(self._held)]

    def finish(self) -> bytes:
        """What was held back when the program ended within a character."""
        held, self._held = self._held, b""
        self._decoder.reset()
        if not held or self.truncated:
            return b""
        if self.left < 1:
            self.truncated = True
            return b""
        self.left -= 1
        return held

    def _cut(self, text: str) -> bytes:
        self.truncated = True
        self._held = b""
        kept = text.encode("utf-16-le", "surrogatepass")[: self.left * 2].decode("utf-16-le", "ignore")
        self.left = 0
        return kept.encode("utf-8", "replace")
