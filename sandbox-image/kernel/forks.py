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
from interpreter.room import RESERVE_BYTES, forks_fit, is_own_system, system_memory

_MIB = 1 << 20
#: What a fork of the template takes, which copies nearly all that it inherits.
_FORK_BYTES = 80 * _MIB
#: What a fork by user code soon takes, which copies single pages.
_PAGED_FORK_BYTES = 16 * _MIB
#: What starts another program; all of them by the modules' own names for it.
_STARTERS = (
    ("subprocess", "_fork_exec"),
    ("_posixsubprocess", "fork_exec"),
    *(("os", name) for name in ("system", "posix_spawn", "posix_spawnp", "execv", "execve")),
)


def fork_fits(memory: int, growing: int = 0) -> bool:
    """Whether there is room for one more process with the libraries; always so where that cannot be known.

    `growing`: how many there are that have not taken all of theirs yet.
    """
    return forks_fit(memory, 1 + growing, _FORK_BYTES)


def guard_forks(memory: int) -> None:
    if not is_own_system(memory):
        return
    copy_pages_in_forks()
    fork = os.fork

    def guarded() -> int:
        """Fork a child process; fails with ENOMEM when it would not fit into the sandbox."""
        if system_memory()[1] < RESERVE_BYTES + _PAGED_FORK_BYTES:
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
