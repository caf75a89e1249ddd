"""The template at work: forks kernels for the supervisor and plain interpreters for clients.

One fork waits ahead: making one takes most of what a short program takes. Whoever comes first gets it, and another is
made when there is time. Requests of the supervisor: `F` with three descriptors (control socket, standard output,
standard error) for a kernel, `D` to drop the waiting fork, `Z` to come to rest, which is to drop it and make none until
`W` with the bytes that a kernel may use from then on. Reports to it: `R` (all is imported, or it has woken, and a fork
waits if there is memory for one), `P` pid (a kernel), `T` pid client (a fork has become the interpreter for a client),
`X` pid status (a fork has ended), `Z` (at rest: whatever was forked has its role, or has ended).

The light template (`interpreter/light.py`) has a server of its own, which makes no kernels. It is asked by the other
one, and answers that with `Z`; the rest it reports to the supervisor itself, first of all `L` pid, which is its own.

Clients are not believed more than the user's own code may do: they can end forks, which it can as well.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from interpreter.command_line import CommandLine, parse
from interpreter.eligible import objection
from interpreter.facts import Facts
from interpreter.request import BadRequest, Request, agree, receive, refuse, word

REPORT = struct.Struct(">cIi")
_WAKE = struct.Struct(">cQ")
#: After an interpreter's end: a program that starts the next one does so at once, and must not wait for two forks.
_REFILL_SECONDS = 0.02
#: In a sandbox whose kernel is in use, a fork waits so long for the next `python3`.
_KEEP_SECONDS = 600.0
_REQUEST_SECONDS = 2.0
_MOST_CLIENTS = 128
#: That a fork says on its channel before it is a program.
_MOST_WORDS = 4
_MOST_SILENT = 32
_WORD_BYTES = 256
_ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL)


class KernelRole(NamedTuple):
    control: int
    stdout: int
    stderr: int


class InterpreterRole(NamedTuple):
    """`joined`: whether it is in the client's process group already."""

    request: Request
    line: CommandLine
    joined: bool


Role = KernelRole | InterpreterRole


class _Fork:
    """A child that has no role yet, or just gets one. `channel`: a socketpair with it, which it closes when it has."""

    def __init__(self, pid: int, channel: socket.socket, client: _Client | None) -> None:
        self.pid = pid
        self.channel = channel
        self.client = client


class _Client:
    """`pid` of the interpreter that stands for it, once there is one; `joined`: in the client's process group."""

    def __init__(self, connection: socket.socket, client_pid: int) -> None:
        self.connection = connection
        self.client_pid = client_pid
        self.since = time.monotonic()
        self.pid = 0
        self.joined = False


class ForkServer:
    """`run` returns in forks only: with what they are to be."""

    def __init__(
        self,
        requests: socket.socket,
        listener: socket.socket | None,
        facts: Facts,
        fits: Callable[[int, int], bool],
        prepare: Callable[[int], None],
        memory: int,
        *,
        reports: socket.socket | None = None,
        light: socket.socket | None = None,
    ) -> None:
        """`light`: to the light template, if there is one. `reports`: of the light template, to the supervisor.

        `memory`: what a kernel may use, in bytes. `fits`: whether there is so much for one more fork beside so many
        that may yet grow. `prepare`: what a fork does while it waits for its role, with so much memory.
        """
        self.memory = memory
        self._requests = requests
        self._reports = requests if reports is None else reports
        self._is_light = reports is not None
        self._light = light
        self._light_rests = False
        self._listener = listener
        self._facts = facts
        self._fits = fits
        self._prepare = prepare
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[int], Role | None]] = {}
        self._waiting: _Fork | None = None
        self._forks: dict[int, _Fork] = {}
        self._silent: dict[int, _Client] = {}
        self._running: dict[int, _Client] = {}
        self._kernels: set[int] = set()
        self._children: set[int] = set()
        self._resting = False
        self._tend_at: float | None = 0.0
        self._last_client = -_KEEP_SECONDS
        self._told_ready = self._is_light

    # ------------------------------------------------------------ the loop

    def run(self) -> Role:
        self._wake, wake_write = socket.socketpair()
        self._wake_write = wake_write
        for end in (self._wake, wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._watch(self._requests.fileno(), self._on_request)
        self._watch(self._wake.fileno(), self._on_child)
        if self._light is not None:
            self._light.setblocking(False)
            self._watch(self._light.fileno(), self._on_light)
        if self._listener is not None:
            self._listener.setblocking(False)
            self._listener.listen(_MOST_CLIENTS)
            self._watch(self._listener.fileno(), self._on_connection)
        while True:
            role = self._turn()
            if role is not None:
                return role

    def _turn(self) -> Role | None:
        for fd, events in self._poller.poll(self._pause()):
            handler = self._handlers.get(fd)
            if handler is not None:
                role = handler(events)
                if role is not None:
                    return role
        now = time.monotonic()
        for client in [client for client in self._silent.values() if now - client.since > _REQUEST_SECONDS]:
            self._drop(client)
        if self._tend_at is not None and now >= self._tend_at:
            return self._tend(now)
        return None

    def _pause(self) -> int | None:
        times = [client.since + _REQUEST_SECONDS for client in self._silent.values()]
        if self._tend_at is not None:
            times.append(self._tend_at)
        if not times:
            return None
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1)

    def _watch(self, fd: int, handler: Callable[[int], Role | None]) -> None:
        self._handlers[fd] = handler
        self._poller.register(fd, select.POLLIN)

    def _forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    # ------------------------------------------------------------ the fork that waits

    def _tend(self, now: float) -> Role | None:
        """One fork waits where a kernel may be wanted yet, or where `python3` has been used lately.

        One of the light template waits in the second case alone: it takes as much memory as the template itself.
        """
        self._tend_at = None
        if self._resting:
            return None
        kept_until = self._last_client + _KEEP_SECONDS
        only_for_clients = self._is_light or bool(self._kernels)
        if only_for_clients and now >= kept_until:
            self._drop_waiting()
            return None
        if only_for_clients:
            self._tend_at = kept_until
        if self._waiting is not None:
            return None
        if self._one_more_fits():
            return self._fork(None, ahead=True)
        self._tell_ready(0)
        return None

    def _one_more_fits(self) -> bool:
        """A fork grows until its program has ended, which touches every object: what is free is promised to them."""
        given = sum(1 for fork in self._forks.values() if fork.pid not in self._running)
        return self._fits(self.memory, given + len(self._running))

    def _plan_to_tend(self) -> None:
        self._tend_at = time.monotonic() + _REFILL_SECONDS

    def _drop_waiting(self) -> None:
        """It ends itself when nobody can give it a role any more."""
        fork, self._waiting = self._waiting, None
        if fork is not None:
            self._close_fork(fork)

    def _fork(self, client: _Client | None, *, ahead: bool = False) -> Role | None:
        """`ahead`: nobody waits for it yet, so it prepares itself."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            return self._be_forked(theirs, client, ahead=ahead)
        theirs.close()
        ours.setblocking(False)
        self._children.add(pid)
        fork = _Fork(pid, ours, client)
        self._forks[pid] = fork
        self._watch(ours.fileno(), lambda _events: self._on_fork(fork))
        if client is None:
            self._waiting = fork
        return None

    def _be_forked(self, channel: socket.socket, client: _Client | None, *, ahead: bool) -> Role:
        """In the child. Ends the process when it gets no role."""
        try:
            connection = None if client is None else client.connection.dup()
            self._close_inherited(client)
            if ahead:
                self._prepare(self.memory)
            role = _await_role(channel, connection, self._facts)
        except OSError:
            # The template is gone.
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        if role is None:
            os._exit(0)
        return role

    def _close_inherited(self, client: _Client | None) -> None:
        """Every socket by its object: one that is collected later would close what has its number by then."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        clients = {client, *self._silent.values(), *self._running.values()}
        clients.update(fork.client for fork in self._forks.values())
        for other in clients - {None}:
            other.connection.close()  # type: ignore[union-attr]
        for fork in self._forks.values():
            fork.channel.close()
        for end in (self._requests, self._reports, self._light, self._wake, self._wake_write, self._listener):
            if end is not None:
                end.close()

    def _on_fork(self, fork: _Fork) -> Role | None:
        said = _word(fork.channel)
        if said is None:
            return None
        if said == b"R":
            self._tell_ready(fork.pid)
        elif said in (b"S", b"J") and fork.client is not None:
            self._begun(fork, fork.client, joined=said == b"J")
        elif said == b"N" and fork.client is not None:
            self._declined(fork, fork.client)
        else:
            # It has its role, or it has ended.
            self._close_fork(fork)
        return None

    def _hear_out(self, fork: _Fork) -> None:
        """It has ended or is stopped: what it said before comes first, or its client would not be known as running."""
        for _ in range(_MOST_WORDS):
            if self._forks.get(fork.pid) is fork:
                self._on_fork(fork)

    def _close_fork(self, fork: _Fork) -> None:
        if self._forks.pop(fork.pid, None) is None:
            return
        self._forget(fork.channel.fileno())
        fork.channel.close()
        if self._waiting is fork:
            self._waiting = None
        if fork.client is not None and not fork.client.pid:
            # It has the connection too, if it lives; if not, the client sees the end and helps itself.
            self._drop(fork.client)

    # ------------------------------------------------------------ the supervisor

    def _on_request(self, _events: int) -> Role | None:
        data, fds, _flags, _address = socket.recv_fds(self._requests, 16, 8)
        if not fds:
            self._ask_light(data)
        if data == b"D" and not fds:
            self._drop_waiting()
            return None
        if data == b"Z" and not fds:
            self._resting = True
            self._drop_waiting()
            self._tell_rest()
            return None
        if data[:1] == b"W" and len(data) == _WAKE.size and not fds:
            self._woken(_WAKE.unpack(data)[1])
            return None
        if data != b"F" or len(fds) != 3 or self._is_light:
            os._exit(0)
        role = self._make_kernel(fds)
        if role is None:
            for fd in fds:
                os.close(fd)
        return role

    def _make_kernel(self, fds: list[int]) -> Role | None:
        for _ in range(2):
            fork = self._waiting
            if fork is None:
                role = self._fork(None)
                if role is not None:
                    # We are the new fork, and hold what the parent has got as well.
                    for fd in fds:
                        os.close(fd)
                    return role
                continue
            self._waiting = None
            try:
                socket.send_fds(fork.channel, [b"K"], fds)
            except OSError:
                self._close_fork(fork)
                continue
            self._kernels.add(fork.pid)
            self._report(b"P", fork.pid, 0)
            self._plan_to_tend()
            return None
        return None

    def _ask_light(self, request: bytes) -> None:
        self._light_rests = False
        if self._light is not None:
            with contextlib.suppress(OSError):
                self._light.send(request)

    def _on_light(self, _events: int) -> Role | None:
        """It is at rest, or has ended: then programs without libraries are forked here."""
        assert self._light is not None
        said = _word(self._light)
        if said is None:
            return None
        if said:
            self._light_rests = True
        else:
            self._forget(self._light.fileno())
            self._light.close()
            self._light = None
        self._tell_rest()
        return None

    def _tell_rest(self) -> None:
        lights_out = self._light is None or self._light_rests
        if self._resting and lights_out and self._children <= self._kernels | set(self._running):
            self._requests.send(REPORT.pack(b"Z", 0, 0))

    def _woken(self, memory: int) -> None:
        """A fork waits again, and that is reported: not one from before, which is what the memory was then."""
        self._resting = False
        self.memory = memory
        self._drop_waiting()
        self._told_ready = self._is_light
        self._tend_at = 0.0

    def _tell_ready(self, pid: int) -> None:
        if not self._told_ready:
            self._told_ready = True
            self._report(b"R", pid, 0)

    def _report(self, kind: bytes, pid: int, value: int) -> None:
        self._reports.send(REPORT.pack(kind, pid, value))

    # ------------------------------------------------------------ children

    def _on_child(self, _events: int) -> Role | None:
        self._wake.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            fork = self._forks.get(pid)
            if fork is not None:
                self._hear_out(fork)
            client = self._running.get(pid)
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                if client is not None:
                    self._pass_stop_on(client, status)
                continue
            if fork is not None:
                self._close_fork(fork)
            self._kernels.discard(pid)
            self._children.discard(pid)
            self._report(b"X", pid, status)
            if client is not None:
                self._ended(client, status)
            self._tell_rest()
            self._plan_to_tend()

    def _pass_stop_on(self, client: _Client, status: int) -> None:
        if os.WIFSTOPPED(status):
            self._tell(client, word(b"T", os.WSTOPSIG(status)))
        else:
            with contextlib.suppress(OSError):
                os.kill(client.client_pid, signal.SIGCONT)

    # ------------------------------------------------------------ clients

    def _on_connection(self, _events: int) -> Role | None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        pid, _, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if len(self._silent) >= _MOST_SILENT or len(self._running) >= _MOST_CLIENTS:
            connection.close()
            return None
        connection.setblocking(False)
        client = _Client(connection, pid)
        self._silent[connection.fileno()] = client
        self._watch(connection.fileno(), lambda _events: self._on_first_word(client))
        return None

    def _on_first_word(self, client: _Client) -> Role | None:
        """It has begun to say what it is. A fork hears it out: that takes as long as the client likes."""
        self._forget(client.connection.fileno())
        del self._silent[client.connection.fileno()]
        self._last_client = time.monotonic()
        fork = self._waiting
        if fork is not None:
            self._waiting = None
            fork.client = client
            try:
                socket.send_fds(fork.channel, [b"C"], [client.connection.fileno()])
                return None
            except OSError:
                fork.client = None
                self._close_fork(fork)
        if not self._one_more_fits():
            client.connection.close()
            return None
        return self._fork(client)

    def _begun(self, fork: _Fork, client: _Client, *, joined: bool) -> None:
        client.pid, client.joined = fork.pid, joined
        self._running[fork.pid] = client
        self._report(b"T", fork.pid, client.client_pid)
        self._watch(client.connection.fileno(), lambda _events: self._on_client(client))

    def _declined(self, fork: _Fork, client: _Client) -> None:
        fork.client = None
        client.connection.close()
        if self._waiting is None:
            self._waiting = fork
        else:
            self._close_fork(fork)

    def _on_client(self, client: _Client) -> Role | None:
        """Signals for its program; at the end of the connection the client was killed, and so is the program."""
        said = _word(client.connection)
        if said is None:
            return None
        numbers = [number for kind, number in zip(said[::2], said[1::2], strict=False) if kind == ord("S")]
        for number in numbers if said else [signal.SIGKILL]:
            # The client alone has its group: whether a signal was meant for the group cannot be told apart. Those
            # that end a program are taken to be.
            whole = not client.joined and number in _ENDING
            with contextlib.suppress(OSError, ValueError):
                os.kill(-client.pid if whole else client.pid, number)
        if not said:
            self._forget(client.connection.fileno())
        return None

    def _tell(self, client: _Client, message: bytes) -> None:
        with contextlib.suppress(OSError):
            client.connection.send(message)

    def _ended(self, client: _Client, status: int) -> None:
        del self._running[client.pid]
        if os.WIFSIGNALED(status):
            self._tell(client, word(b"K", os.WTERMSIG(status)))
        else:
            self._tell(client, word(b"X", os.WEXITSTATUS(status)))
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        fd = client.connection.fileno()
        if fd >= 0:
            self._forget(fd)
            self._silent.pop(fd, None)
            client.connection.close()


# ---------------------------------------------------------------- in forks


def _word(connection: socket.socket) -> bytes | None:
    """What was said; nothing at the end of the connection, and None when there is nothing to hear yet."""
    try:
        return connection.recv(_WORD_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _await_role(channel: socket.socket, connection: socket.socket | None, facts: Facts) -> Role | None:
    """What this fork is to be; None when it is not wanted any more. Declined clients leave it as it was."""
    if connection is None:
        channel.send(b"R")
    while True:
        if connection is None:
            said, fds, _flags, _address = socket.recv_fds(channel, 16, 8)
            if said == b"K" and len(fds) == 3:
                channel.close()
                return KernelRole(*fds)
            if said != b"C" or len(fds) != 1:
                return None
            connection = socket.socket(fileno=fds[0])
        with connection:
            role = _hear(connection, facts)
        connection = None
        channel.send(b"N" if role is None else b"J" if role.joined else b"S")
        if role is not None:
            channel.close()
            return role


def _hear(connection: socket.socket, facts: Facts) -> InterpreterRole | None:
    group = os.getpgrp()
    try:
        request = receive(connection)
    except BadRequest:
        return None
    line = parse(request.argv)
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(request.directory)
        reason = "its options" if line is None else objection(request, line, facts)
        if line is None or reason is not None:
            refuse(connection, reason or "")
        else:
            joined = _join_group(request)
            if agree(connection, joined):
                return InterpreterRole(request, line, joined)
            if joined:
                os.setpgid(0, group)
    except OSError:
        pass
    finally:
        os.fchdir(here)
        os.close(here)
    request.close()
    return None


def _join_group(request: Request) -> bool:
    """The client's process group becomes ours: in our session, and if the client can leave it."""
    if request.session != os.getsid(0) or request.group == request.pid:
        return False
    try:
        os.setpgid(0, request.group)
    except OSError:
        return False
    return True
