"""Cells that a bash program gives to the live kernel, by the command `kernel` (native/kernel.c).

A connection sends `KYK1`, u32 bytes of arguments, u32 bytes of code (little endian), with the descriptors that the cell
is to write to; then the arguments, each with a zero byte, then the code; later `I` for an interrupt. It gets one word:
`X` and i32 exit code, or `N`, i32 length and a text: there is no result. Who speaks otherwise is hung up on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from supervisor.kernels import Kernels
from supervisor.loop import Loop, Timer

_HEAD = struct.Struct("<4sII")
_WORD = struct.Struct("<ci")
_MAGIC = b"KYK1"
_MOST_CODE_BYTES = 8 << 20
_MOST_ARGUMENT_BYTES = 1 << 20
_MOST_TEXT_BYTES = 4000
_MOST_CONNECTIONS = 8
_RECEIVE_SECONDS = 10.0
_KERNEL_SECONDS = 30.0
_GRACE_SECONDS = 0.5
_READ_BYTES = 64 << 10


@dataclass(eq=False)
class _Guest:
    connection: socket.socket
    incoming: bytearray = field(default_factory=bytearray)
    fds: list[int] = field(default_factory=list)
    timer: Timer | None = None
    sequence: int = 0
    arguments: list[str] = field(default_factory=list)
    code: bytes = b""


class Guests:
    """`refusal`: why no cell may run now, or None. `begins`: one does, and has this number.

    `left`: told when it is free. `most_shown`: how many files that a cell shows somebody wants to see at once.
    """

    def __init__(
        self,
        loop: Loop,
        kernels: Kernels,
        refusal: Callable[[], str | None],
        begins: Callable[[], int],
        left: Callable[[], None],
        most_shown: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._kernels = kernels
        self._refusal = refusal
        self._begins = begins
        self._left = left
        self._most_shown = most_shown
        self._listener: socket.socket | None = None
        self._connected: set[_Guest] = set()
        #: Waits for a kernel, or has it.
        self._current: _Guest | None = None
        self._running = False
        self._steps = 0

    def listen(self, name: str) -> None:
        """`name`: among abstract sockets. Without it the command says that there is no kernel."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind("\0" + name)
        except OSError as error:
            print(f"supervisor: the command `kernel` finds nobody: {name}: {error}", file=sys.stderr)
            listener.close()
            return
        listener.listen(_MOST_CONNECTIONS)
        listener.setblocking(False)
        self._listener = listener
        self._loop.watch(listener.fileno(), self._on_connection)

    @property
    def running(self) -> bool:
        """Whether the kernel runs a cell of a guest."""
        return self._running

    def runs(self, sequence: object) -> bool:
        """Whether it is the cell that runs."""
        return self._running and self._current is not None and self._current.sequence == sequence

    # ------------------------------------------------------------ receiving

    def _on_connection(self, _events: int) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connected) >= _MOST_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        guest = _Guest(connection)
        self._connected.add(guest)
        guest.timer = self._loop.after(_RECEIVE_SECONDS, lambda: self._hang_up(guest))
        self._loop.watch(connection.fileno(), lambda _events: self._on_data(guest))

    def _on_data(self, guest: _Guest) -> None:
        try:
            data, fds, _flags, _ = socket.recv_fds(guest.connection, _READ_BYTES, 4)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        guest.fds += fds
        if guest is self._current:
            self._on_word(guest, data)
            return
        guest.incoming += data
        if not data or len(guest.fds) > 2 or not self._has_all(guest):
            if not data or len(guest.fds) > 2:
                self._hang_up(guest)
            return
        self._loop.cancel(guest.timer)
        self._begin(guest)

    def _has_all(self, guest: _Guest) -> bool:
        """Whether the request is complete; hangs up on one that is none."""
        if len(guest.incoming) < _HEAD.size:
            return False
        magic, arguments, code = _HEAD.unpack_from(guest.incoming)
        if magic != _MAGIC or arguments > _MOST_ARGUMENT_BYTES or code > _MOST_CODE_BYTES or len(guest.fds) != 2:
            self._hang_up(guest)
            return False
        start, end = _HEAD.size + arguments, _HEAD.size + arguments + code
        if len(guest.incoming) < end:
            return False
        words = bytes(guest.incoming[_HEAD.size : start]).split(b"\0")[:-1]
        guest.arguments = [word.decode("utf-8", "replace") for word in words]
        guest.code = bytes(guest.incoming[start:end])
        guest.incoming.clear()
        return True

    def _on_word(self, guest: _Guest, data: bytes) -> None:
        if data and not data.strip(b"I"):
            if self._running:
                self._kernels.interrupt()
            return
        # It was ended: nobody waits for the result any more.
        self._hang_up(guest)
        self.cancel()

    # ------------------------------------------------------------ running

    def _begin(self, guest: _Guest) -> None:
        reason = "It runs another cell." if self._current is not None else self._refusal()
        if reason is not None:
            self._answer_no(guest, reason)
            return
        self._current = guest
        kernel = self._kernels.current
        if kernel is not None and kernel.ready:
            self._run(guest)
            return
        self._kernels.provide()
        guest.timer = self._loop.after(_KERNEL_SECONDS, lambda: self._give_up_waiting(guest))

    def kernel_ready(self) -> None:
        if self._current is not None and not self._running:
            self._run(self._current)

    def _run(self, guest: _Guest) -> None:
        self._loop.cancel(guest.timer)
        guest.sequence = self._begins()
        self._running = True
        request: dict[str, Any] = {
            "run": guest.sequence,
            "args": guest.arguments,
            "code_bytes": len(guest.code),
            "guest": True,
            "shown": self._most_shown(),
        }
        code, guest.code = guest.code, b""
        self._kernels.send(request, code, guest.fds)
        self._close_fds(guest)

    def _give_up_waiting(self, guest: _Guest) -> None:
        if guest is self._current and not self._running:
            self._current = None
            self._answer_no(guest, "No Python kernel could be started.")

    def message(self, message: dict[str, Any]) -> bool:
        """Whether it is the end of the cell that runs."""
        guest = self._current
        if not self._running or guest is None or message.get("run") != guest.sequence:
            return False
        self._over()
        self._answer(guest, _WORD.pack(b"X", message["exit_code"]))
        self._left()
        return True

    def died(self, how: str) -> bool:
        """The kernel has ended. Whether somebody who waited for its cell has been told."""
        guest = self._current
        if not self._running or guest is None:
            return False
        told = guest in self._connected
        self._over()
        self._answer_no(guest, f"The kernel ended ({how}): variables are lost, files are kept.")
        return told

    def _over(self) -> None:
        self._current = None
        self._running = False
        self._steps = 0

    def cancel(self) -> None:
        """Nobody may run a cell any more: it is interrupted, twice, then its kernel is ended."""
        if not self._running:
            if self._current is not None:
                self._hang_up(self._current)
                self._current = None
            return
        guest = self._current
        self._steps += 1
        if self._steps > 2:
            self._kernels.give_up(signal.SIGKILL)
            return
        self._kernels.interrupt()
        self._loop.after(_GRACE_SECONDS, lambda: self.cancel() if self._running and self._current is guest else None)

    # ------------------------------------------------------------ the end of a connection

    def _answer_no(self, guest: _Guest, text: str) -> None:
        data = text.encode("utf-8", "replace")[:_MOST_TEXT_BYTES]
        self._answer(guest, _WORD.pack(b"N", len(data)) + data)

    def _answer(self, guest: _Guest, data: bytes) -> None:
        with contextlib.suppress(OSError):
            guest.connection.send(data)
        self._hang_up(guest)

    def _hang_up(self, guest: _Guest) -> None:
        if guest not in self._connected:
            return
        self._connected.discard(guest)
        self._loop.cancel(guest.timer)
        self._loop.forget(guest.connection.fileno())
        guest.connection.close()
        self._close_fds(guest)

    @staticmethod
    def _close_fds(guest: _Guest) -> None:
        for fd in guest.fds:
            os.close(fd)
        guest.fds.clear()
