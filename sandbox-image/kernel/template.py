"""The template: has everything imported, then forks kernels and plain interpreters on request."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from dataclasses import dataclass

from interpreter.copying import copy_ahead, copy_pages_in_forks
from interpreter.facts import Facts
from interpreter.pristine import is_ours
from interpreter.program import Program
from interpreter.reseed import reseed
from interpreter.server import ForkServer, KernelRole
from kernel.cells import CellRunner
from kernel.control import Control
from kernel.ending import forget_inherited_exits
from kernel.forks import fork_fits, guard_forks, is_own_system
from kernel.packages import make_room
from kernel.shell import make_shell

_PR_SET_DUMPABLE = 4
#: Descriptors of ours are put here: beyond what code that closes or writes to "all" descriptors usually tries.
_HIGH_FD = 2000
_STACK_BYTES = 8 << 20


@dataclass(frozen=True)
class Arguments:
    """What the supervisor says. `listener_fd`: where clients of `python3` connect, -1 for none."""

    requests_fd: int
    listener_fd: int
    data: str
    #: The list of libraries to have in memory.
    preload: str
    #: What a kernel may use, in bytes, until the supervisor says otherwise; 0 for no limit.
    memory: int
    #: What native/run_main.c was built to.
    library: str

    @staticmethod
    def parse(words: list[str]) -> Arguments:
        requests_fd, listener_fd, data, preload, memory, library = words
        return Arguments(int(requests_fd), int(listener_fd), data, preload, int(memory), library)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _set_dumpable(value: int) -> None:
    _libc().prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)


def _limit_memory(memory: int) -> None:
    """Turns an allocation that is too large into `MemoryError` instead of the end of the sandbox.

    The limit is on private memory that can be written: address space would count what is only reserved, mapped files
    and sparse maps. gVisor takes no notice of it; there, and for all else, the supervisor watches what is really used.
    """
    if memory <= 0:
        return
    with open("/proc/self/statm", "rb") as file:
        words = [int(word) * resource.getpagesize() for word in file.read().split()]
    resident, data = words[1], words[5]
    allowed = data + max(memory - resident, memory // 4)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _become_kernel(runner: CellRunner, role: KernelRole, data: str, memory: int) -> None:
    import fcntl

    fds = (role.control, role.stdout, role.stderr)
    os.setsid()
    control_fd, out_fd, err_fd, null_fd = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD) for fd in (*fds, 0))
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    for fd in fds:
        os.close(fd)
    _set_dumpable(1)
    reseed()
    _limit_memory(memory)
    guard_forks(memory)
    make_room(data)
    runner.serve(Control(control_fd), out_fd, err_fd, null_fd)


def serve(arguments: Arguments, facts: Facts) -> None:
    """Returns in a fork that the end of the interpreter makes a plain one."""
    _set_dumpable(0)
    # Threads take their stack size from the limit at program start; the main thread's may grow as usual.
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard == resource.RLIM_INFINITY or hard >= _STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, hard))
    with facts.kernel():
        runner = CellRunner(make_shell(), arguments.data)
        runner.warm_up()
    facts.complete()
    # User code may have modules of these names, and finds its own directory first.
    sys.path[0] = ""
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
    sys.argv = [""]

    forget_inherited_exits()
    requests = _own_socket(arguments.requests_fd)
    listener = None if arguments.listener_fd < 0 else _own_socket(arguments.listener_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # What the imports freed goes back to the system, instead of into every fork.
    _libc().malloc_trim(0)
    # Once, and not in every fork.
    library = None if listener is None else ctypes.PyDLL(arguments.library)
    server = ForkServer(requests, listener, facts, fork_fits, _prepare, arguments.memory)
    role = server.run()
    if isinstance(role, KernelRole):
        try:
            _become_kernel(runner, role, arguments.data, server.memory)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert library is not None
    if is_own_system(server.memory):
        copy_pages_in_forks()
    Program(role.request, role.line, role.joined, facts, library).begin_at_end()


def _prepare(memory: int) -> None:
    if is_own_system(memory):
        copy_ahead()


def _own_socket(fd: int) -> socket.socket:
    own = socket.socket(fileno=fd)
    own.set_inheritable(False)
    return own
