"""The template process and the kernel forked from it, as this process sees them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, Protocol

from supervisor import processes
from supervisor.loop import READ, WRITE, Loop, Timer
from supervisor.memory import resident

LENGTH = struct.Struct(">I")
REPORT = struct.Struct(">cIi")
WAKE = struct.Struct(">cQ")
#: Largest message of a kernel. Its words are bounded there; more than this is not from our code.
_MAX_MESSAGE = 256 * 1024
#: A template that imports its libraries on a busy machine, a fork of it: both with ample room.
_TEMPLATE_SECONDS = 120.0
_FORK_SECONDS = 20.0
#: A real-time signal that nobody uses; `kernel/cells.py` has its handler.
MEMORY_SIGNAL = 60
_HUSH_SECONDS = 0.05
#: From the end of its control channel to a kernel's status, and the most of it where memory is given back slowly.
_STATUS_SECONDS = 0.25
_EXIT_SECONDS = 10.0
_QUICK_TIMEVAL = struct.pack("ll", 0, 4000)
_THREAD_STACK_BYTES = 2 << 20


class Kernel:
    """One forked process: its control socket and the reading ends of its output pipes."""

    def __init__(self, control: socket.socket, stdout: int, stderr: int) -> None:
        self.control = control
        self.stdout = stdout
        self.stderr = stderr
        self.pid = 0
        self.ready = False
        self.ending = False
        #: Something printed while no call of this kernel ran.
        self.noisy = False
        #: It has run a program, and ends with it.
        self.spent = False
        self.execution_count = 0
        self.outgoing = bytearray()
        self.incoming = bytearray()

    def close(self) -> None:
        self.control.close()
        os.close(self.stdout)
        os.close(self.stderr)


@dataclass(frozen=True)
class TemplateSpec:
    """How the template is started. `memory`: bytes a kernel may use; `socket`: where clients of `python3` connect, and
    with `-light` those whose program needs no library.
    """

    program: str
    data: str
    preload: str
    memory: int
    library: str
    socket: str
    environment: dict[str, str]


class Observer(Protocol):
    """Who hears what the template and the kernel do."""

    def forks_ready(self) -> None:
        """The template has everything imported, and a fork waits if there is memory for one."""

    def at_rest(self) -> None:
        """The template makes no more forks until it is woken, and none waits."""

    def kernel_ready(self) -> None: ...

    def kernel_message(self, message: dict[str, Any]) -> None: ...

    def kernel_output(self, kernel: Kernel, name: str) -> None:
        """There is something in the pipe called `name`, or it has no writer any more."""

    def kernel_died(self, kernel: Kernel, status: int | None) -> None:
        """Its pipes are still open. `status` as `os.waitpid` reports it, or None when it was given up for nonsense."""


class Kernels:
    """Starts the template, has a kernel made of one of its forks when one is needed, notices deaths."""

    def __init__(self, loop: Loop, observer: Observer, template: TemplateSpec) -> None:
        self._loop = loop
        self._observer = observer
        self._spec = template
        self._template: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        #: Process of the light template, a child of the template.
        self._light_pid = 0
        self._forks_ready = False
        self._wanted = False
        #: Asked to come to rest, and not woken yet.
        self.resting = False
        self._timer: Timer | None = None
        self.failures = 0
        self.current: Kernel | None = None
        #: A running program of another language, ended by its own call.
        self.protected: set[int] = set()
        #: Waits for a program of another language.
        self.spared: set[int] = set()
        #: Forks that are a `python3`, and the client that each stands for.
        self._interpreters: dict[int, int] = {}

    # ------------------------------------------------------------ the template

    @property
    def template_pid(self) -> int:
        return self._template.pid if self._template is not None else 0

    @property
    def template_pids(self) -> set[int]:
        """With the light template."""
        return {self.template_pid, self._light_pid} - {0}

    def start(self) -> None:
        """Starts what is missing: the template; a kernel, if one is wanted."""
        if self._template is None:
            self._start_template()
        if self._wanted and self.current is None:
            self._fork()

    def provide(self) -> None:
        """A kernel for a call that needs one."""
        self._wanted = True
        if self.current is None and self.failures == 0:
            self.start()

    def _start_template(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Threads take the size of their stacks from this limit at the start of the program; the template then raises
        # its own again. Smaller ones, because the memory limit counts them whole.
        soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (_THREAD_STACK_BYTES, hard))
        spec = self._spec
        listeners = self._make_listeners()
        listening = [listener.fileno() for listener in listeners]
        arguments = [str(theirs.fileno()), *(str(fd) for fd in listening or (-1, -1))]
        arguments += [spec.data, spec.preload, str(spec.memory), spec.library]
        # Under the name by which `python3` is found, which its forks have as theirs.
        name = os.path.join(os.path.dirname(sys.executable), "python3")
        with theirs:
            self._template = subprocess.Popen(
                [name if os.path.exists(name) else sys.executable, "-B", spec.program, *arguments],
                executable=sys.executable,
                stdin=subprocess.DEVNULL,
                stdout=2,
                env=spec.environment,
                cwd="/",
                pass_fds=[theirs.fileno(), *listening],
                # In our session: its forks can join the groups of the programs that they are part of.
                process_group=0,
            )
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
        for listener in listeners:
            # Theirs alone: when one is gone, nobody waits for it.
            listener.close()
        ours.setblocking(False)
        self._requests = ours
        self._forks_ready = False
        self._loop.watch(ours.fileno(), self._on_report)
        self._expect(_TEMPLATE_SECONDS)

    def _make_listeners(self) -> list[socket.socket]:
        """Not listening yet, so that nobody waits for a template that is not ready. Two, or none."""
        if not os.path.exists(self._spec.library):
            return []
        made = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        try:
            for listener, name in zip(made, (self._spec.socket, f"{self._spec.socket}-light"), strict=True):
                listener.bind("\0" + name)
        except OSError as error:
            print(f"supervisor: every `python3` starts anew: {self._spec.socket}: {error}", file=sys.stderr)
            for listener in made:
                listener.close()
            return []
        return made

    def _expect(self, seconds: float) -> None:
        """Something has to be heard from the template or the kernel by then."""
        self._loop.cancel(self._timer)
        self._timer = self._loop.after(seconds, self._drop_template)

    def _heard(self) -> None:
        self.failures = 0
        self._loop.cancel(self._timer)
        self._timer = None

    def _drop_template(self) -> None:
        """The template is gone or lied: whatever it forked is ended with it."""
        if self._requests is not None:
            self._loop.forget(self._requests.fileno())
            self._requests.close()
            self._requests = None
        if self._template is not None:
            processes.send(self._template.pid, signal.SIGKILL)
            self._template.returncode = -signal.SIGKILL
            self._template = None
        if self._light_pid:
            processes.send(self._light_pid, signal.SIGKILL)
            self._light_pid = 0
        self._interpreters.clear()
        # The next one does not know of it.
        self.resting = False
        self.failures += 1
        self.give_up(signal.SIGKILL)

    def _on_report(self, _events: int) -> None:
        assert self._requests is not None
        try:
            report = self._requests.recv(64)
        except BlockingIOError:
            return
        except OSError:
            report = b""
        if len(report) != REPORT.size:
            self._drop_template()
            return
        kind, pid, value = REPORT.unpack(report)
        kernel = self.current
        if kind == b"R":
            self._forks_ready = True
            if kernel is None:
                self._heard()
                # Asked for while the template that failed before was on its way.
                self.start()
            self._observer.forks_ready()
        elif kind == b"Z":
            if self.resting:
                self._observer.at_rest()
        elif kind == b"P" and kernel is not None and not kernel.pid:
            kernel.pid = pid
        elif kind == b"T":
            self._interpreters[pid] = value
        elif kind == b"L":
            self._light_pid = pid
        elif kind == b"X":
            self._interpreters.pop(pid, None)
            if pid == self._light_pid:
                self._light_pid = 0
            if kernel is not None and kernel.pid == pid:
                self.died(value)

    def reaped(self, pid: int, status: int) -> None:
        """A child of this process ended: the template, or a kernel that the template left behind."""
        if pid == self.template_pid:
            self._drop_template()
        elif self.current is not None and pid == self.current.pid:
            self.died(status)

    # ------------------------------------------------------------ the kernel

    def _fork(self) -> None:
        assert self._requests is not None
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            socket.send_fds(self._requests, [b"F"], [theirs.fileno(), out_write, err_write])
        except OSError:
            # The template died a moment ago; its end is reported next and starts everything again.
            ours.close()
            os.close(out_read)
            os.close(err_read)
            return
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        # Blocking with a time limit: `await_quick` waits here; every other use says MSG_DONTWAIT.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _QUICK_TIMEVAL)
        kernel = Kernel(ours, out_read, err_read)
        self.current = kernel
        self._loop.watch(ours.fileno(), self._on_control)
        self._watch_output(kernel)
        self._expect(_FORK_SECONDS if self._forks_ready else _TEMPLATE_SECONDS)

    def send(self, header: dict[str, Any], body: bytes = b"", fds: list[int] | None = None) -> None:
        """To the kernel: u32 length, JSON, then as many body bytes as the JSON says."""
        kernel = self.current
        if kernel is None:
            return
        text = json.dumps(header, separators=(",", ":")).encode()
        data = LENGTH.pack(len(text)) + text + body
        if not kernel.outgoing:
            try:
                if fds is None:
                    sent = kernel.control.send(data, socket.MSG_DONTWAIT)
                else:
                    sent = socket.send_fds(kernel.control, [data], fds, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return
            if sent == len(data):
                return
            data = data[sent:]
        kernel.outgoing += data
        self._loop.change(kernel.control.fileno(), READ | WRITE)

    def renew_pipes(self, header: dict[str, Any], body: bytes) -> tuple[int, int]:
        """As `send`, with new output pipes; returns the reading ends of the old ones, which are the caller's now."""
        kernel = self.current
        assert kernel is not None
        old = (kernel.stdout, kernel.stderr)
        for fd in old:
            self._loop.forget(fd)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            self.send(header, body, [out_write, err_write])
        finally:
            os.close(out_write)
            os.close(err_write)
        kernel.stdout, kernel.stderr, kernel.noisy = out_read, err_read, False
        self._watch_output(kernel)
        return old

    def _watch_output(self, kernel: Kernel) -> None:
        for fd, name in ((kernel.stdout, "stdout"), (kernel.stderr, "stderr")):
            os.set_blocking(fd, False)
            self._loop.watch(fd, lambda _events, name=name: self._observer.kernel_output(kernel, name), slow=True)  # type: ignore[misc]

    def hush(self, kernel: Kernel) -> None:
        """Reads no more of what is printed between calls for a moment: it may be endless."""
        kernel.noisy = True
        fds = (kernel.stdout, kernel.stderr)
        for fd in fds:
            self._loop.forget(fd)

        def listen() -> None:
            if self.current is kernel and fds == (kernel.stdout, kernel.stderr):
                self._watch_output(kernel)

        self._loop.after(_HUSH_SECONDS, listen)

    def _on_control(self, events: int) -> None:
        kernel = self.current
        if kernel is None:
            return
        if events & WRITE and kernel.outgoing:
            try:
                with memoryview(kernel.outgoing) as view:
                    sent = kernel.control.send(view[: 256 * 1024], socket.MSG_DONTWAIT)
                del kernel.outgoing[:sent]
            except BlockingIOError:
                pass
            except OSError:
                kernel.outgoing.clear()
            if not kernel.outgoing:
                self._loop.change(kernel.control.fileno(), READ)
        if events & ~WRITE:
            self._read_control(kernel)

    def await_quick(self) -> None:
        """Waits a few milliseconds for the kernel alone.

        Most cells are over by then: this costs one system call and one wake-up instead of one for each line of
        output and one for the end, and nobody notices that an interrupt is read so much later.
        """
        kernel = self.current
        if kernel is not None and kernel.ready and not kernel.outgoing:
            self._read_control(kernel, 0)

    def _read_control(self, kernel: Kernel, flags: int = socket.MSG_DONTWAIT) -> None:
        try:
            data = kernel.control.recv(64 * 1024, flags)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_control_closed(kernel)
            return
        kernel.incoming += data
        while len(kernel.incoming) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(kernel.incoming)
            if length > _MAX_MESSAGE:
                self.give_up(None)
                return
            end = LENGTH.size + length
            if len(kernel.incoming) < end:
                return
            try:
                message = json.loads(bytes(kernel.incoming[LENGTH.size : end]))
            except (ValueError, RecursionError):
                message = None
            del kernel.incoming[:end]
            if not isinstance(message, dict):
                self.give_up(None)
                return
            if not kernel.ready:
                kernel.ready = True
                self._wanted = False
                self._heard()
                self._observer.kernel_ready()
            else:
                self._observer.kernel_message(message)
            if self.current is not kernel:
                return

    def _on_control_closed(self, kernel: Kernel) -> None:
        """Mostly the process is ending, and its status comes in a moment; else it closed our descriptor."""
        self._loop.forget(kernel.control.fileno())
        if not kernel.ending:
            kernel.ending = True
            self._loop.cancel(self._timer)
            self._timer = self._loop.after(_STATUS_SECONDS, lambda: self._await_status(kernel))

    def _await_status(self, kernel: Kernel) -> None:
        """A busy machine takes its time between a process's last descriptor and its end."""
        if processes.is_exiting(kernel.pid):
            self._timer = self._loop.after(_EXIT_SECONDS, lambda: self.give_up(None))
        else:
            self.give_up(None)

    def interrupt(self) -> None:
        if self.current is not None and self.current.pid:
            processes.send(self.current.pid, signal.SIGINT)

    def tell_memory(self, least: int) -> None:
        """The kernel raises `MemoryError` where its code is, if at least so many bytes are its own."""
        pid = 0 if self.current is None else self.current.pid
        if pid and resident(pid) >= least:
            processes.send(pid, MEMORY_SIGNAL)

    def kill(self) -> None:
        """Ends the kernel and everything below it; the report of its death follows."""
        if self.current is None:
            return
        if self.current.pid:
            processes.send(self.current.pid, signal.SIGKILL)
        self.end_strays(kernel_too=True)
        if not self.current.pid:
            self.give_up(None)

    def end_strays(self, *, kernel_too: bool = False) -> None:
        """Ends what runs in this sandbox besides the kernel and its children: a pool kept in a variable is state."""

        def kept(table: dict[int, int]) -> set[int]:
            kernel = 0 if self.current is None else self.current.pid
            roots = {*self.protected, *(() if kernel_too else (kernel,))} - {0}
            # Forks that have no role yet, the light template, and a kernel of which the template has not told yet.
            forks = {pid for pid, parent in table.items() if parent in self.template_pids}
            forks -= {kernel, *self._interpreters}
            return {*self.template_pids, *self.spared, *forks, *roots, *processes.descendants(roots, table)}

        if not processes.end_all(kept, self._interpreters) and os.getpid() == 1:
            # Only this call is atomic against a fork bomb. It ends the template as well, which starts again.
            os.kill(-1, signal.SIGKILL)

    def drop_waiting(self) -> None:
        """The fork that waits for its role gives its memory to what runs."""
        if self._requests is not None:
            with contextlib.suppress(OSError):
                self._requests.send(b"D")

    def rest(self) -> bool:
        """No fork is to wait, nor to be made. False where nothing can be asked for that now."""
        kernel = self.current
        if self._requests is None or not self._forks_ready or (kernel is not None and not kernel.ready):
            return False
        try:
            self._requests.send(b"Z")
        except OSError:
            return False
        self.resting = True
        return True

    def wake(self, memory: int | None = None) -> None:
        """A fork is to wait again. `memory`: bytes that kernels may use from now on."""
        if memory is not None:
            self._spec = replace(self._spec, memory=memory)
        self.resting = False
        if self._requests is not None:
            with contextlib.suppress(OSError):
                self._requests.send(WAKE.pack(b"W", self._spec.memory))

    def give_up(self, status: int | None) -> None:
        """The kernel cannot be trusted or waited for any more."""
        kernel = self.current
        if kernel is None:
            self._restart()
            return
        if kernel.pid:
            processes.send(kernel.pid, signal.SIGKILL)
        self.died(status)

    def died(self, status: int | None) -> None:
        kernel = self.current
        if kernel is None:
            return
        self._loop.cancel(self._timer)
        self._timer = None
        if not kernel.ready:
            self.failures += 1
        self.end_strays(kernel_too=True)
        self.current = None
        self._observer.kernel_died(kernel, status)
        self._release(kernel)
        if not kernel.spent:
            self._restart()

    def retire(self) -> None:
        """Ends the kernel with all that it started; the next one is started when it is needed."""
        kernel = self.current
        if kernel is None:
            return
        if not kernel.pid:
            self.give_up(signal.SIGKILL)
            return
        processes.send(kernel.pid, signal.SIGKILL)
        self.end_strays(kernel_too=True)
        self.current = None
        self._release(kernel)

    def _release(self, kernel: Kernel) -> None:
        for fd in (kernel.control.fileno(), kernel.stdout, kernel.stderr):
            self._loop.forget(fd)
        kernel.close()

    def _restart(self) -> None:
        if self.failures == 0:
            self.start()
        else:
            # A template that cannot start must not become a busy loop.
            self._timer = self._loop.after(min(0.05 * 2**self.failures, 5.0), self.start)
