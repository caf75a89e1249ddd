"""The template: imports everything once, then forks kernels on request.

A request is one byte with three descriptors: control socket, standard output, standard error. Reports go back as
`P` pid (forked) and `X` pid status (ended).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import random
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

from kernel.cells import CellRunner
from kernel.control import Control
from kernel.ending import forget_inherited_exits
from kernel.forks import guard_forks
from kernel.shell import make_shell

_REPORT = struct.Struct(">cIi")
_PR_SET_DUMPABLE = 4
#: Descriptors of ours are put here: beyond what code that closes or writes to "all" descriptors usually tries.
_HIGH_FD = 2000
_STACK_BYTES = 8 << 20


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _set_dumpable(value: int) -> None:
    _libc().prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)


def _preload(path: str) -> None:
    """Imports what the image lists; a missing or broken library is said so and left out."""
    try:
        with open(path, encoding="utf-8") as file:
            names = [line.partition("#")[0].strip() for line in file]
    except OSError as error:
        print(f"kernel: {path} cannot be read ({error}): nothing is imported ahead", file=sys.stderr)
        return
    for name in filter(None, names):
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"kernel: {name} was not imported ahead: {type(error).__name__}: {error}", file=sys.stderr)


def _reseed() -> None:
    """Forks of one template must not draw the same numbers."""
    random.seed()
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        mtrand.seed(None)


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


def _become_kernel(runner: CellRunner, fds: list[int], memory: int) -> None:
    import fcntl

    os.setsid()
    control_fd, out_fd, err_fd, null_fd = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD) for fd in (*fds, 0))
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    for fd in fds:
        os.close(fd)
    _set_dumpable(1)
    _reseed()
    _limit_memory(memory)
    guard_forks(memory)
    runner.serve(Control(control_fd), out_fd, err_fd, null_fd)


def serve(requests_fd: int, data: str, preload: str, memory: int) -> None:
    _set_dumpable(0)
    # Threads take their stack size from the limit at program start; the main thread's may grow as usual.
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard == resource.RLIM_INFINITY or hard >= _STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, hard))
    os.environ.setdefault("MPLBACKEND", "Agg")
    # Its pages are kept (`kernel/pages.py`); what it chooses for notebooks needs a notebook's other half.
    os.environ.setdefault("PLOTLY_RENDERER", "browser")
    _preload(preload)
    runner = CellRunner(make_shell(), data)
    runner.warm_up()
    # User code may have modules of these names, and finds its own directory first.
    sys.path[0] = ""
    for name in [name for name in sys.modules if name == "kernel" or name.startswith("kernel.")]:
        del sys.modules[name]
    sys.argv = [""]

    forget_inherited_exits()
    requests = socket.socket(fileno=requests_fd)
    requests.set_inheritable(False)
    wake_read, wake_write = socket.socketpair()
    wake_write.setblocking(False)
    wake_read.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # What the imports freed goes back to the system, instead of into every fork.
    _libc().malloc_trim(0)

    def become(fds: list[int]) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for ours in (requests, wake_read, wake_write):
            ours.close()
        _become_kernel(runner, fds, memory)

    _serve_requests(requests, wake_read, wake_write, become)


def _serve_requests(
    requests: socket.socket,
    wake_read: socket.socket,
    wake_write: socket.socket,
    become: Callable[[list[int]], Any],
) -> None:
    import select

    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    poller = select.poll()
    poller.register(requests, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        for fd, _events in poller.poll():
            if fd == wake_read.fileno():
                wake_read.recv(4096)
                _report_ended(requests)
                continue
            data, fds, _flags, _address = socket.recv_fds(requests, 16, 8)
            if data != b"F" or len(fds) != 3:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                try:
                    become(fds)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(1)
            for received in fds:
                os.close(received)
            requests.send(_REPORT.pack(b"P", pid, 0))


def _report_ended(requests: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        requests.send(_REPORT.pack(b"X", pid, status))
