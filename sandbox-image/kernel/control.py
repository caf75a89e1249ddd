"""The kernel's end of the control socket: u32 length, JSON, then the bytes that the JSON announces."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

_LENGTH = struct.Struct(">I")


class ControlClosed(Exception):
    """The supervisor is gone."""


class Control:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = bytearray()

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            data = os.read(self.fd, max(64 * 1024, size - len(self._buffer)))
            if not data:
                raise ControlClosed
            self._buffer += data

    def receive(self) -> tuple[dict[str, Any], bytes]:
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
        data = _LENGTH.pack(len(text)) + text
        while data:
            data = data[os.write(self.fd, data) :]
