"""The floor of the engine's attach stream: bytes in, bytes out, no IPython."""

import json
import os
import sys

BLOCK = 1 << 20


def read_exactly(count: int) -> int:
    """Reads that many bytes of standard input; gives how many there were."""
    left = count
    while left > 0:
        piece = os.read(0, min(BLOCK, left))
        if not piece:
            break
        left -= len(piece)
    return count - left


def read_line() -> str:
    """A line of standard input, without buffering what follows it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            sys.exit(0)
        line += piece
    return line.decode()


def write_all(data: bytes) -> None:
    """Writes all of it to standard output."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


while True:
    request = json.loads(read_line())
    if "read" in request:
        write_all(f"{read_exactly(request['read'])}\n".encode())
    elif "write" in request:
        block = os.urandom(BLOCK)
        remaining = request["write"]
        while remaining > 0:
            write_all(block[:remaining])
            remaining -= min(BLOCK, remaining)
    else:
        write_all(f"{request['echo']}\n".encode())
