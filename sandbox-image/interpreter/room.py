"""Memory for forks, in a sandbox whose system has no more than it may use."""

from __future__ import annotations

import functools

_MIB = 1 << 20
#: Kept free of forks, as the supervisor's watchdog ends everything below it.
RESERVE_BYTES = 96 * _MIB
#: A machine with so much more than the sandbox may use is not the sandbox's own.
_OWN_WITHIN_BYTES = 512 * _MIB


def system_memory() -> tuple[int, int]:
    """Total and free bytes of this system; what is only cached counts as free."""
    values: dict[bytes, int] = {}
    with open("/proc/meminfo", "rb", buffering=0) as file:
        for line in file.read(2048).splitlines():
            words = line.split()
            if len(words) >= 2 and words[1].isdigit():
                values[words[0]] = int(words[1]) * 1024
    free = values.get(b"MemFree:", 0) + values.get(b"Cached:", 0) - values.get(b"Shmem:", 0)
    return values.get(b"MemTotal:", 0), free


@functools.cache
def is_own_system(memory: int) -> bool:
    """Whether the system's memory is the sandbox's (gVisor). `memory`: what a kernel may use, 0 for no limit."""
    return memory > 0 and system_memory()[0] - memory <= _OWN_WITHIN_BYTES


def forks_fit(memory: int, count: int, each: int) -> bool:
    """Whether there is room for so many forks that take `each` bytes; always so where that cannot be known."""
    return not is_own_system(memory) or system_memory()[1] >= RESERVE_BYTES + each * count
