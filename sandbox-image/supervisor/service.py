"""Process 1: reads messages from the gateway and hands each to the part that answers it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor import processes
from supervisor.calls import Calls
from supervisor.channel import Channel, ChannelClosed
from supervisor.files import FileWriter
from supervisor.frames import Decoder, FrameError, Header
from supervisor.kernels import Kernel, Kernels, TemplateSpec
from supervisor.languages import Language, read_languages
from supervisor.loop import READ, Loop, Timer
from supervisor.messages import BadMessage, integer, mapping, text
from supervisor.sleeping import Sleeping
from supervisor.workspace import Workspace

PROTOCOL_VERSION = 1
_READ_BYTES = 256 * 1024
#: Above this many unsent bytes nothing more is read: a peer that only asks and never reads gets no memory of ours.
_STOP_READING_ABOVE = 8 * 1024 * 1024
_MIB = 1024 * 1024
#: Of the sandbox's memory, what one kernel may not take: this process, the template, the runtime itself. Measured
#: under gVisor with the default libraries: 90 MiB of the control group are in use beyond what a kernel maps.
_KERNEL_HEADROOM = 128 * _MIB
#: All processes together are ended here. The runtime's own share, and what can be allocated between two looks.
_SANDBOX_HEADROOM = 96 * _MIB
#: The first hello waits for the template, so that imports are done while the CPU share is lifted; at most that long.
_FIRST_HELLO_WITHIN_S = 20.0
_MOST_WAITING_HELLOS = 16
_OPEN_FILES = 4096
_PROCESSES = 320
#: Sparse files may be large; what they really hold is limited by the disk.
_FILE_BYTES = 1 << 40
_MOUNTS = "/mnt"
_DATA_NAMES = {"data", "session_data"}


@dataclass(frozen=True)
class Options:
    """`directory`: where `languages.json` and `preload.txt` are.

    `native`: what native/ was built to. Among abstract sockets, `python_socket` is where clients of `python3` connect,
    `kernel_socket` where the command `kernel` does.
    """

    #: The working directory of user code, by default ours.
    data: str
    directory: Path
    native: Path
    python_socket: str
    kernel_socket: str
    #: Bytes that the whole sandbox may use; 0 when nobody said.
    memory: int


def read_options(arguments: list[str]) -> Options:
    here = Path(__file__).resolve().parent.parent
    values = {
        "--data": os.getcwd(),
        "--directory": str(here),
        "--native": str(here / "native"),
        "--python-socket": "kernelyard-python3",
        "--kernel-socket": "kernelyard-kernel",
    }
    for name, value in zip(arguments[::2], arguments[1::2], strict=False):
        if name not in values:
            raise SystemExit(f"supervisor: unknown option {name}; known: {', '.join(values)}")
        values[name] = value
    memory = os.environ.get("KERNELYARD_SANDBOX_MEMORY", "0")
    if not memory.isdigit():
        raise SystemExit(f"supervisor: KERNELYARD_SANDBOX_MEMORY={memory!r} is not a number of bytes")
    return Options(
        data=values["--data"],
        directory=Path(values["--directory"]),
        native=Path(values["--native"]),
        python_socket=values["--python-socket"],
        kernel_socket=values["--kernel-socket"],
        memory=int(memory),
    )


def _offer_other_name(data: str) -> None:
    """The launcher mounts the data directory by the name that calls start in; code may know it by the other one."""
    parent, name = os.path.split(data)
    if parent != _MOUNTS or name not in _DATA_NAMES:
        return
    for other in _DATA_NAMES - {name}:
        try:
            os.symlink(name, os.path.join(parent, other))
            # Nothing else is to be put there.
            os.chmod(parent, 0o555)
        except OSError as error:
            if not isinstance(error, FileExistsError):
                print(f"supervisor: {other} is not there beside {data}: {error.strerror}", file=sys.stderr)


def _protect_self() -> None:
    """User code runs as the same user: it must not look into this process or its descriptors."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_dumpable, pr_set_child_subreaper = 4, 36
    libc.prctl(pr_set_dumpable, 0, 0, 0, 0)
    if os.getpid() != 1:
        libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0)
        # As process 1 is: away from the terminal of whoever started us.
        with contextlib.suppress(PermissionError):
            os.setsid()


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError) as error:
        print(f"supervisor: limit {kind} could not be set: {error}", file=sys.stderr)


def _limit_resources() -> None:
    """For this process and all that it starts."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    if os.getuid() != 0:
        _limit(resource.RLIMIT_NPROC, _PROCESSES)


def _offer_packages(environment: dict[str, str], data: str) -> None:
    """Where the operator has a mirror of wheels: pip takes from it, and the programs that it adds are found last.

    `kernel/packages.py` and `site/` know the place by its usual name.
    """
    mirror = os.path.join(os.path.dirname(sys.prefix), "kernelyard", "wheels")
    if not os.path.isdir(mirror):
        return
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": mirror}
    if os.path.dirname(data) != _MOUNTS:
        # A plain process, without a sandbox around it.
        environment["KERNELYARD_DATA"] = data
    added = os.path.join(data, ".venv", "bin")
    environment["PATH"] = ":".join(filter(None, (environment.get("PATH"), added)))


def user_environment(data: str) -> dict[str, str]:
    """What user code sees: the image's environment without what is meant for us."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KERNELYARD_")}
    environment["PWD"] = data
    environment.setdefault("HOME", "/tmp")
    environment.setdefault("MPLBACKEND", "Agg")
    environment.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    _offer_packages(environment, data)
    # Arenas are reserved address space, which the memory limit counts.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    return environment


def _kernel_memory(sandbox: int) -> int:
    """Of the bytes that the whole sandbox may use; 0 for no limit."""
    return max(sandbox - _KERNEL_HEADROOM, sandbox // 2)


def _call_memory(sandbox: int) -> int:
    return max(sandbox - _SANDBOX_HEADROOM, sandbox * 3 // 4) if sandbox else 0


class Service:
    """Also the observer of the template: a first hello waits for it, the running call hears the rest."""

    def __init__(self, options: Options, languages: dict[str, Language]) -> None:
        self._options = options
        self._languages = languages
        self._loop = Loop()
        self._decoder = Decoder()
        self._input = bytearray(_READ_BYTES)
        self._channel = Channel(1, self._loop)
        environment = user_environment(options.data)
        template = TemplateSpec(
            program=str(Path(__file__).resolve().parent.parent / "kernel" / "__main__.py"),
            data=options.data,
            preload=str(options.directory / "preload.txt"),
            memory=_kernel_memory(options.memory),
            library=str(options.native / "run_main.so"),
            socket=options.python_socket,
            environment=environment,
        )
        self._kernels = Kernels(self._loop, self, template)
        self._files = FileWriter(options.data, self._channel)
        self._calls = Calls(
            self._loop,
            self._channel,
            self._kernels,
            self._files,
            languages,
            options.data,
            environment,
        )
        self._calls.watch_memory(_call_memory(options.memory))
        self._workspace = Workspace(self._loop, self._channel, self._files, options.data)
        self._sleeping = Sleeping(self._loop, self._channel, self._calls, self._kernels, self._files, self._workspace)
        #: Hellos that wait until the template can fork; `None` from then on.
        self._waiting_hellos: list[Header] | None = []
        self._hello_timer: Timer | None = None

    def run(self) -> None:
        self._watch_children()
        os.set_blocking(0, False)
        self._loop.watch(0, self._on_input)
        self._kernels.start()
        if self._options.native.is_dir():
            self._calls.guests.listen(self._options.kernel_socket)
        self._keep_hellos_waiting()
        self._files.remember_present()
        self._loop.run()

    def close(self) -> None:
        """Ends everything that runs below this process."""
        processes.end_all(lambda _table: set())
        self._calls.close()
        self._workspace.close()

    # ------------------------------------------------------------ children and signals

    def _watch_children(self) -> None:
        read, write = socket.socketpair()
        read.setblocking(False)
        write.setblocking(False)
        self._signals = (read, write)
        signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        # A handler, and not to be ignored: programs that are started would inherit that.
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._loop.watch(read.fileno(), self._on_signal)

    def _on_terminate(self, _number: int, _frame: object) -> None:
        raise SystemExit(0)

    def _on_signal(self, _events: int) -> None:
        try:
            self._signals[0].recv(4096)
        except BlockingIOError:
            return
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not (self._calls.program_ended(pid, status) or self._workspace.ended(pid, status)):
                self._kernels.reaped(pid, status)
            self._sleeping.look()

    # ------------------------------------------------------------ messages

    def _on_input(self, _events: int) -> None:
        try:
            size = os.readv(0, [self._input])
        except BlockingIOError:
            return
        if not size:
            raise ChannelClosed("end of input")
        for header, body in self._decoder.feed(memoryview(self._input)[:size]):
            self._handle(header, body)
        self._channel.flush()
        if self._channel.queued_bytes > _STOP_READING_ABOVE:
            self._loop.change(0, 0)
            self._channel.on_drained.append(lambda: self._loop.change(0, READ))

    def _handle(self, header: Header, body: bytes) -> None:
        kind = header.get("msg_type")
        if kind == "chunk":
            self._on_chunk(header, body)
        elif kind == "execute_request":
            self._sleeping.disturb()
            self._calls.start(header, body)
        elif kind == "hello_request":
            self._sleeping.disturb()
            self._hello(header)
        elif kind == "file_write_request":
            self._files.begin(header)
        elif kind == "interrupt_request":
            content: Any = header.get("content") or {}
            self._calls.interrupt(text(header, "parent_id"), wanted=bool(content.get("wanted")))
            self._channel.send({"msg_type": "interrupt_reply", "parent_id": text(header, "msg_id")})
        elif kind == "shutdown_request":
            self._calls.restart_kernel()
            self._channel.send({"msg_type": "shutdown_reply", "parent_id": text(header, "msg_id")})
        elif kind == "tool_reply":
            self._calls.tool_reply(
                text(header, "parent_id"), integer(mapping(header, "content"), "results_bytes"), body
            )
        elif kind == "workspace_read_request":
            self._sleeping.disturb()
            self._workspace.read(header, busy=self._calls.busy)
        elif kind == "workspace_write_request":
            self._sleeping.disturb()
            self._workspace.write(header, busy=self._calls.busy)
        elif kind == "sleep_request":
            self._sleeping.sleep(header)
        elif kind == "woken_request":
            self._woken(header)
        else:
            print(f"supervisor: message of unknown type {str(kind)[:64]!r} ignored", file=sys.stderr)

    def _woken(self, header: Header) -> None:
        memory = integer(mapping(header, "content"), "memory_bytes")
        if self._sleeping.woken(header, _kernel_memory(memory), _call_memory(memory)):
            self._keep_hellos_waiting()

    def _on_chunk(self, header: Header, body: bytes) -> None:
        parent = text(header, "parent_id")
        content: Any = header.get("content") or {}
        last, aborted = bool(content.get("last")), bool(content.get("aborted"))
        ours = self._files.chunk(parent, body, last=last, aborted=aborted)
        if not (ours or self._workspace.chunk(parent, body, last=last, aborted=aborted)):
            self._calls.chunk(parent, body, aborted=aborted)

    # ------------------------------------------------------------ the kernel

    def forks_ready(self) -> None:
        self._calls.start_shell()
        self._answer_waiting_hellos()

    def at_rest(self) -> None:
        self._sleeping.forks_at_rest()

    def kernel_ready(self) -> None:
        self._calls.kernel_ready()

    def kernel_message(self, message: dict[str, Any]) -> None:
        self._calls.kernel_message(message)

    def kernel_output(self, kernel: Kernel, name: str) -> None:
        self._calls.kernel_output(kernel, name)

    def kernel_died(self, kernel: Kernel, status: int | None) -> None:
        self._calls.kernel_died(kernel, status)

    # ------------------------------------------------------------ hellos

    def _keep_hellos_waiting(self) -> None:
        """For a fork, as at the start. The clock of an earlier time is of no account: it jumped at a restore."""
        self._loop.cancel(self._hello_timer)
        self._waiting_hellos = []
        self._hello_timer = self._loop.after(_FIRST_HELLO_WITHIN_S, self._answer_waiting_hellos)

    def _answer_waiting_hellos(self) -> None:
        waiting, self._waiting_hellos = self._waiting_hellos, None
        for header in waiting or []:
            self._hello(header)
        self._channel.flush()

    def _hello(self, header: Header) -> None:
        if self._waiting_hellos is not None and len(self._waiting_hellos) < _MOST_WAITING_HELLOS:
            self._waiting_hellos.append(header)
            return
        kernel = self._kernels.current
        self._channel.send(
            {
                "msg_type": "hello_reply",
                "parent_id": text(header, "msg_id"),
                "content": {
                    "nonce": text(mapping(header, "content"), "nonce"),
                    "protocol_version": PROTOCOL_VERSION,
                    "languages": [
                        {"id": language.id, "version": language.version} for language in self._languages.values()
                    ],
                    "executing": self._calls.executing,
                    "execution_count": 0 if kernel is None else kernel.execution_count,
                },
            }
        )


def main() -> int:
    """Exit codes: 0 the channel was closed, 2 the peer or the image is broken."""
    options = read_options(sys.argv[1:])
    _offer_other_name(options.data)
    _protect_self()
    _limit_resources()
    service = None
    try:
        service = Service(options, read_languages(options.directory / "languages.json"))
        service.run()
    except ChannelClosed:
        return 0
    except (FrameError, BadMessage, ValueError, OSError) as error:
        print(f"supervisor: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    finally:
        if service is not None:
            service.close()
    return 0
