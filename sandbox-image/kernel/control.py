"""The kernel's end of the control socket: u32 length, JSON, then the bytes that the JSON announces."""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">I")
_FDS = 2
_ANCILLARY = socket.CMSG_SPACE(_FDS * array.array("i").itemsize)


class ControlClosed(Exception):
    """The supervisor is gone."""


class Control:
    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._buffer = bytearray()
        #: Descriptors that came with the last message: new ends of the output pipes.
        self.fds: list[int] = []

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            wanted = max(64 * 1024, size - len(self._buffer))
            data, ancillary, _flags, _address = self._socket.recvmsg(wanted, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self.fds += array.array("i", value)
            if not data:
                raise ControlClosed
            self._buffer += data

    def receive(self) -> tuple[dict[str, Any], bytes]:
        self.fds = []
        self._fill(_LENGTH.size)
        (length,) = _LENGTH.unpack_from(self._buffer)
        start = _LENGTH.size + length
        self._fill(start)
        header = json.loads(bytes(self._buffer[_LENGTH.size : start]))
        end = start + int(header.get("code_bytes", 0))
        self._fill(end)
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        return header, body

    def send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message, separators=(",", ":")).encode()
        self._socket.sendall(_LENGTH.pack(len(text)) + text)
