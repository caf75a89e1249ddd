"""Around the start of other processes: memory for them, and the order of what they and we print.

A fork that there is no memory for fails in the code that asks, instead of taking the sandbox with it.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from interpreter.copying import copy_pages_in_forks

_MIB = 1 << 20
#: What a fork of the template takes, which copies nearly all that it inherits.
_FORK_BYTES = 80 * _MIB
#: What a fork by user code soon takes, which copies single pages.
_PAGED_FORK_BYTES = 16 * _MIB
#: Kept free of forks, as the supervisor's watchdog ends everything below it.
_RESERVE_BYTES = 96 * _MIB
#: A machine with so much more than the sandbox may use is not the sandbox's own.
_OWN_WITHIN_BYTES = 512 * _MIB
#: What starts another program; all of them by the modules' own names for it.
_STARTERS = (
    ("subprocess", "_fork_exec"),
    ("_posixsubprocess", "fork_exec"),
    *(("os", name) for name in ("system", "posix_spawn", "posix_spawnp", "execv", "execve")),
)


def _memory() -> tuple[int, int]:
    """Total and free bytes of this system; what is only cached counts as free."""
    values: dict[bytes, int] = {}
    with open("/proc/meminfo", "rb", buffering=0) as file:
        for line in file.read(2048).splitlines():
            words = line.split()
            if len(words) >= 2 and words[1].isdigit():
                values[words[0]] = int(words[1]) * 1024
    free = values.get(b"MemFree:", 0) + values.get(b"Cached:", 0) - values.get(b"Shmem:", 0)
    return values.get(b"MemTotal:", 0), free


def is_own_system(memory: int) -> bool:
    """Whether the system's memory is the sandbox's (gVisor). `memory`: what a kernel may use, 0 for no limit."""
    return memory > 0 and _memory()[0] - memory <= _OWN_WITHIN_BYTES


def fork_fits(memory: int, growing: int = 0) -> bool:
    """Whether there is room for one more process with the libraries; always so where that cannot be known.

    `growing`: how many there are that have not taken all of theirs yet.
    """
    return not is_own_system(memory) or _memory()[1] >= _RESERVE_BYTES + _FORK_BYTES * (1 + growing)


def guard_forks(memory: int) -> None:
    if not is_own_system(memory):
        return
    copy_pages_in_forks()
    fork = os.fork

    def guarded() -> int:
        """Fork a child process; fails with ENOMEM when it would not fit into the sandbox."""
        if _memory()[1] < _RESERVE_BYTES + _PAGED_FORK_BYTES:
            raise OSError(errno.ENOMEM, "Cannot allocate memory: another process does not fit into this sandbox")
        return fork()

    guarded.__name__ = guarded.__qualname__ = "fork"
    guarded.__module__ = "posix"
    os.fork = guarded


def flush_before_children(flush: Callable[[], None]) -> None:
    """What was printed before a child starts stands before what the child prints, and once.

    As with `python3 -u`, which the image's Python is; unlike it, a line is still written at once and not in pieces.
    """
    os.register_at_fork(before=flush)
    for owner, name in _STARTERS:
        module = sys.modules.get(owner)
        if module is not None and hasattr(module, name):
            setattr(module, name, _after(flush, getattr(module, name)))


def _after(flush: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def flushed(*args: Any, **kwargs: Any) -> Any:
        flush()
        return function(*args, **kwargs)

    return flushed
