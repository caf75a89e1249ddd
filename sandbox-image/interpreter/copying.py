"""What a fork copies of the memory that it inherits, when, and in which pieces.

gVisor copies 2 MiB around what is written to (`privateAllocUnit`, `getPMAsInternalLocked` in its pma.go), and a page
where the memory may be executed, which any code in a sandbox may allow for its own memory anyway. Objects that every
program touches, if only by counting references, are everywhere among what large libraries have allocated: a fork that
does next to nothing copies nearly all.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

_COPIED_BYTES = 2 << 20
_READ_BYTES = 64 << 10
_READ_WRITE_EXECUTE = 1 | 2 | 4


def copy_ahead() -> None:
    """While nobody waits: half of the time that a program of a fork would take, and most of it at half a processor."""
    for start, end in _writable():
        for address in (start, *range(start // _COPIED_BYTES * _COPIED_BYTES + _COPIED_BYTES, end, _COPIED_BYTES)):
            ctypes.memmove(address, ctypes.string_at(address, 1), 1)


def copy_pages_in_forks() -> None:
    """From the next fork of this process on, it and the fork copy pages.

    75 MiB for each worker of a pool, of which six do not fit into 512 MiB, become 7. A pool of three is begun in 400 ms
    instead of 260 for it, which is why the template, whose forks are waited for, does without.
    """
    mprotect = ctypes.CDLL(None).mprotect
    mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def mark() -> None:
        for start, end in _writable():
            mprotect(start, end - start, _READ_WRITE_EXECUTE)

    os.register_at_fork(before=mark)


def _writable() -> Iterator[tuple[int, int]]:
    """Where what this process has allocated is: start and end. Its stacks and what belongs to files are small."""
    for line in _memory_map().splitlines():
        words = line.split(None, 5)
        if words[1] == b"rw-p" and (len(words) == 5 or words[5] == b"[heap]"):
            start, end = (int(word, 16) for word in words[0].split(b"-"))
            yield start, end


def _memory_map() -> bytes:
    parts = []
    with open("/proc/self/maps", "rb", buffering=0) as file:
        while part := file.read(_READ_BYTES):
            parts.append(part)
    return b"".join(parts)
