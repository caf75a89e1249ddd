"""What a client of the fork server says about itself. The wire format's twin is native/python3.c."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

_LIMITS = 16
_AFFINITY_BYTES = 128
#: magic, bytes and descriptors to come, arguments, variables, umask, nice, process, group, session, ignored, blocked
_HEAD = struct.Struct(f"<4sIIIIIiiiiQQ{_LIMITS * 2}Q{_AFFINITY_BYTES}s")
_MAGIC = b"KYP1"
_MOST_FDS = 200
#: The system takes 2 MiB of arguments and environment.
_MOST_BYTES = 8 << 20
#: All of it has been sent before anybody waits for an answer.
_SECONDS = 2.0
_MOST_REASON_BYTES = 200
_WORD = struct.Struct("<ci")


class BadRequest(Exception):
    """The client does not speak as ours does, or is gone."""


class Request(NamedTuple):
    argv: list[bytes]
    #: As `execve` passes it on, also what is no `NAME=value`.
    environ: list[bytes]
    #: The client's number of each descriptor that came, and the number that it has here.
    fds: dict[int, int]
    directory: int
    umask: int
    nice: int
    pid: int
    group: int
    session: int
    #: Signals as bits, the first one for 1.
    ignored: int
    blocked: int
    limits: dict[int, tuple[int, int]]
    processors: set[int]

    def close(self) -> None:
        for fd in (self.directory, *self.fds.values()):
            os.close(fd)


def receive(connection: socket.socket) -> Request:
    """Raises `BadRequest`; nothing that came with it stays open then."""
    connection.settimeout(_SECONDS)
    received: list[int] = []
    try:
        return _receive(connection, received)
    except (OSError, ValueError, struct.error) as error:
        raise BadRequest(str(error)) from None
    finally:
        for fd in received:
            os.close(fd)


def _receive(connection: socket.socket, received: list[int]) -> Request:
    head, fds, flags, _ = socket.recv_fds(connection, _HEAD.size, _MOST_FDS + 1)
    received += fds
    if flags & socket.MSG_CTRUNC:
        raise ValueError("more descriptors than there may be")
    head += _read(connection, _HEAD.size - len(head))
    magic, size, count, argc, envc, umask, nice, pid, group, session, ignored, blocked, *rest = _HEAD.unpack(head)
    if magic != _MAGIC or size > _MOST_BYTES or len(fds) != count + 1:
        raise ValueError("not a request")
    body = _read(connection, size)
    numbers = struct.unpack_from(f"<{count}i", body)
    if len(set(numbers)) != count or any(not 0 <= number < 1 << 20 for number in numbers):
        raise ValueError("descriptors of no number")
    strings = body[4 * count :].split(b"\0")
    if len(strings) != argc + envc + 1 or argc < 1:
        raise ValueError("other strings than announced")
    limits, affinity = rest[:-1], rest[-1]
    received.clear()
    return Request(
        argv=strings[:argc],
        environ=strings[argc : argc + envc],
        fds=dict(zip(numbers, fds[1:], strict=True)),
        directory=fds[0],
        umask=umask & 0o777,
        nice=nice,
        pid=pid,
        group=group,
        session=session,
        ignored=ignored,
        blocked=blocked,
        limits={kind: (_signed(limits[2 * kind]), _signed(limits[2 * kind + 1])) for kind in range(_LIMITS)},
        processors={bit for bit in range(_AFFINITY_BYTES * 8) if affinity[bit // 8] >> bit % 8 & 1},
    )


def _read(connection: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = connection.recv(min(size, 1 << 20))
        if not piece:
            raise ValueError("the client is gone")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _signed(value: int) -> int:
    """As the module `resource` has it: -1 is no limit."""
    return value - (1 << 64) if value >> 63 else value


def agree(connection: socket.socket, joined: bool) -> bool:
    """Offers to begin; whether the client wants it. `joined`: this process is in its group, which it then leaves."""
    try:
        connection.sendall(_WORD.pack(b"Y", joined))
        return connection.recv(1) == b"G"
    except OSError:
        return False


def refuse(connection: socket.socket, reason: str) -> None:
    """The client has the interpreter itself do it. `reason`: for a person who asks for it."""
    text = reason.encode("utf-8", "replace")[:_MOST_REASON_BYTES]
    with contextlib.suppress(OSError):
        connection.sendall(_WORD.pack(b"N", len(text)) + text)


def word(kind: bytes, value: int) -> bytes:
    """For the client that stands in: `X` exit code, `K` signal that ended the program, `T` it is stopped."""
    return _WORD.pack(kind, value)
