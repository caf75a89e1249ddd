"""The template: has everything imported, then forks kernels and plain interpreters on request."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import traceback

from interpreter.facts import Facts
from interpreter.reseed import reseed
from interpreter.server import ForkServer, KernelRole
from interpreter.template import (
    Arguments,
    become_program,
    forget_ourselves,
    own_socket,
    prepare,
    protect,
    set_dumpable,
    settle,
)
from kernel.cells import CellRunner
from kernel.control import Control
from kernel.ending import forget_inherited_exits
from kernel.forks import fork_fits, guard_forks
from kernel.packages import make_room
from kernel.shell import make_shell

#: Descriptors of ours are put here: beyond what code that closes or writes to "all" descriptors usually tries.
_HIGH_FD = 2000


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
    set_dumpable(1)
    reseed()
    _limit_memory(memory)
    guard_forks(memory)
    make_room(data)
    runner.serve(Control(control_fd), out_fd, err_fd, null_fd)


def serve(arguments: Arguments, facts: Facts, light: socket.socket | None) -> None:
    """Returns in a fork that the end of the interpreter makes a plain one. `light`: to the light template."""
    protect()
    with facts.kernel():
        runner = CellRunner(make_shell(), arguments.data)
        runner.warm_up()
    facts.complete()
    forget_ourselves()
    forget_inherited_exits()
    requests = own_socket(arguments.requests_fd)
    listener = None if arguments.listener_fd < 0 else own_socket(arguments.listener_fd)
    settle()
    # Once, and not in every fork.
    library = None if listener is None else ctypes.PyDLL(arguments.library)
    server = ForkServer(requests, listener, facts, fork_fits, prepare, arguments.memory, light=light)
    role = server.run()
    if isinstance(role, KernelRole):
        try:
            _become_kernel(runner, role, arguments.data, server.memory)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert library is not None
    become_program(role, facts, library, server.memory)
