"""What a program prints: read from its pipes, within a budget."""

from __future__ import annotations

import codecs
import os
from collections import deque

READ_BYTES = 64 * 1024
#: Room for the line that says what is left out.
_LINE_UNITS = 120
#: The part after the gap begins with a line when one begins so soon.
_NEAR_UNITS = 500


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
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _first(text: str, units: int) -> str:
    """At most so many units of the beginning; a pair is not cut."""
    if text.isascii():
        return text[:units]
    return text.encode("utf-16-le", "surrogatepass")[: units * 2].decode("utf-16-le", "ignore")


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
        kept = _first(text, self.left)
        self.left = 0
        return kept.encode("utf-8", "replace")


class HeadAndTail:
    """Passes the first half of the limit on at once and keeps the end: errors are told last.

    `take` as in `Budget`; `finish` gives the rest, after a line that says how much is left out in between.
    """

    def __init__(self, limit: int) -> None:
        self.truncated = False
        self._head = limit // 2
        self._room = limit - self._head
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._tail: deque[str] = deque()
        self._tail_units = 0
        self._left_out = 0
        self._mid_line = False

    def take(self, data: bytes) -> bytes:
        if not data:
            return b""
        text = self._decoder.decode(data)
        head = _first(text, self._head) if self._head and not self._tail else ""
        if head:
            self._head -= _units(head)
            text = text[len(head) :]
            self._mid_line = not head.endswith("\n")
        if text:
            self._tail.append(text)
            self._tail_units += _units(text)
            self._forget(self._room)
        return head.encode("utf-8", "surrogateescape")

    def finish(self) -> bytes:
        rest = self._decoder.decode(b"", True)
        if rest:
            self._tail.append(rest)
            self._tail_units += _units(rest)
        truncated = self.truncated or self._tail_units > self._room
        if truncated:
            self.truncated = True
            tail = self._cut_tail(max(self._room - _LINE_UNITS, 0))
        else:
            tail = "".join(self._tail)
        self._tail.clear()
        self._tail_units = 0
        return tail.encode("utf-8", "surrogateescape")

    def _forget(self, room: int) -> None:
        """Whole pieces that will not be needed, so that no more is held than the limit and one piece."""
        while self._tail and self._tail_units - _units(self._tail[0]) >= room:
            units = _units(self._tail.popleft())
            self._tail_units -= units
            self._left_out += units
            self.truncated = True

    def _cut_tail(self, room: int) -> str:
        text = "".join(self._tail)
        surplus = self._tail_units - room
        if surplus > 0:
            cut = len(_first(text, surplus))
            if _units(text[:cut]) < surplus:
                # The cut fell into a pair.
                cut += 1
            line = text.find("\n", cut, cut + _NEAR_UNITS)
            if line >= 0:
                cut = line + 1
            self._left_out += _units(text[:cut])
            text = text[cut:]
        start = "\n" if self._mid_line else ""
        return f"{start}[sandbox] {self._left_out} characters of standard error are left out here.\n{text}"
