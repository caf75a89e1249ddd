"""The light template: an interpreter with little more in memory than a plain start has.

What a fork takes under gVisor grows with the memory that it inherits, which is copied and given back. A program that
imports no library needs a tenth of it; what it imports nevertheless is loaded from its file as usual. This template is
a fork of the other one from before that imports its libraries.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys

from interpreter.facts import Facts
from interpreter.room import forks_fit
from interpreter.server import REPORT, ForkServer, InterpreterRole
from interpreter.template import Arguments, become_program, forget_ourselves, own_socket, prepare, protect, settle

#: What a fork soon takes, with what a program without libraries does.
_FORK_BYTES = 16 << 20


def begin(facts: Facts, arguments: Arguments) -> socket.socket | None:
    """Returns the template's end of what connects the two; None in a fork that has become a program."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        os.close(arguments.light_fd)
        return ours
    try:
        ours.close()
        os.close(arguments.listener_fd)
        _serve(facts, arguments, theirs)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    return None


def _serve(facts: Facts, arguments: Arguments, requests: socket.socket) -> None:
    """Returns in forks only."""
    protect()
    facts.complete()
    forget_ourselves()
    reports = own_socket(arguments.requests_fd)
    listener = own_socket(arguments.light_fd)
    library = ctypes.PyDLL(arguments.library)
    settle()
    reports.send(REPORT.pack(b"L", os.getpid(), 0))
    server = ForkServer(requests, listener, facts, _fork_fits, prepare, arguments.memory, reports=reports)
    role = server.run()
    assert isinstance(role, InterpreterRole)
    become_program(role, facts, library, server.memory)


def _fork_fits(memory: int, growing: int) -> bool:
    return forks_fit(memory, 1 + growing, _FORK_BYTES)
