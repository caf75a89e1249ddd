"""What the two templates do alike: the one with the libraries, and the light one."""

from __future__ import annotations

import ctypes
import gc
import resource
import signal
import socket
import sys
from typing import NamedTuple

from interpreter.copying import copy_ahead, copy_pages_in_forks
from interpreter.facts import Facts
from interpreter.pristine import is_ours
from interpreter.program import Program
from interpreter.room import is_own_system
from interpreter.server import InterpreterRole

_PR_SET_DUMPABLE = 4
_STACK_BYTES = 8 << 20


class Arguments(NamedTuple):
    """What the supervisor says. `listener_fd`: where clients of `python3` connect, `light_fd` those whose program
    shows that it needs no library; -1 for none.
    """

    requests_fd: int
    listener_fd: int
    light_fd: int
    data: str
    #: The list of libraries to have in memory.
    preload: str
    #: What a kernel may use, in bytes, until the supervisor says otherwise; 0 for no limit.
    memory: int
    #: What native/run_main.c was built to.
    library: str

    @staticmethod
    def parse(words: list[str]) -> Arguments:
        requests_fd, listener_fd, light_fd, data, preload, memory, library = words
        return Arguments(int(requests_fd), int(listener_fd), int(light_fd), data, preload, int(memory), library)


def set_dumpable(value: int) -> None:
    _libc().prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)


def protect() -> None:
    """User code runs as the same user: it must not look into this process."""
    set_dumpable(0)
    # Threads take their stack size from the limit at program start; the main thread's may grow as usual.
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard == resource.RLIM_INFINITY or hard >= _STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, hard))


def forget_ourselves() -> None:
    """User code may have modules of these names, and finds its own directory first."""
    sys.path[0] = ""
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
    sys.argv = [""]


def settle() -> None:
    """All is there that forks are to inherit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # What the imports freed goes back to the system, instead of into every fork.
    _libc().malloc_trim(0)


def own_socket(fd: int) -> socket.socket:
    own = socket.socket(fileno=fd)
    own.set_inheritable(False)
    return own


def prepare(memory: int) -> None:
    """In a fork that waits for its role."""
    if is_own_system(memory):
        copy_ahead()


def become_program(role: InterpreterRole, facts: Facts, library: ctypes.PyDLL, memory: int) -> None:
    """In a fork: the end of the interpreter, which has to come next, makes it a plain one. `memory`: as a kernel's."""
    if is_own_system(memory):
        copy_pages_in_forks()
    Program(role.request, role.line, role.joined, facts, library).begin_at_end()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
