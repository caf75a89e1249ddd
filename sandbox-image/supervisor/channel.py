"""Frames to the gateway, over a descriptor that never blocks this process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from supervisor.frames import Header, encode_head
from supervisor.loop import WRITE, Loop

_COPY_BELOW = 64 * 1024
_BUFFERS_PER_WRITE = 64


class ChannelClosed(Exception):
    """Nobody reads our frames any more."""


class Channel:
    """`send` queues, `flush` writes what is queued in as few system calls as possible.

    `blocked` is true while the peer does not keep up; senders of bulk wait for `on_drained`.
    """

    def __init__(self, fd: int, loop: Loop) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = loop
        self._queue: deque[bytes | memoryview] = deque()
        self.queued_bytes = 0
        self.blocked = False
        self.on_drained: list[Callable[[], None]] = []

    def send(self, header: Header, body: bytes | memoryview = b"") -> None:
        size = len(body)
        head = encode_head(header, size)
        if size < _COPY_BELOW:
            self._queue.append(head + body if size else head)
        else:
            self._queue.append(head)
            self._queue.append(body)
        self.queued_bytes += len(head) + size

    def flush(self) -> None:
        if not self.blocked:
            self._write()

    def _write(self) -> None:
        queue = self._queue
        while queue:
            try:
                if len(queue) == 1:
                    written = os.write(self._fd, queue[0])
                else:
                    written = os.writev(self._fd, [queue[i] for i in range(min(len(queue), _BUFFERS_PER_WRITE))])
            except BlockingIOError:
                self._set_blocked(True)
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            self.queued_bytes -= written
            while written:
                first = queue[0]
                if written < len(first):
                    queue[0] = memoryview(first)[written:]
                    break
                written -= len(first)
                queue.popleft()
        self._set_blocked(False)

    def _set_blocked(self, blocked: bool) -> None:
        if blocked == self.blocked:
            return
        self.blocked = blocked
        self._loop.hold_output = blocked
        if blocked:
            self._loop.watch(self._fd, self._on_writable, WRITE)
        else:
            self._loop.forget(self._fd)
            waiting, self.on_drained = self.on_drained, []
            for callback in waiting:
                callback()

    def _on_writable(self, _events: int) -> None:
        self._write()
