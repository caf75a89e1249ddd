"""A fork of the template becomes `python3 ARGUMENTS`: first the process, then the interpreter, then it begins again."""

from __future__ import annotations

import _signal
import atexit
import builtins
import ctypes
import fcntl
import importlib.machinery
import io
import os
import posix
import resource
import site
import sys
import threading
from types import ModuleType
from typing import Any

from interpreter.command_line import CommandLine
from interpreter.facts import Facts, TextForm
from interpreter.request import Request
from interpreter.reseed import reseed

_api: Any = ctypes.pythonapi
_api._PyConfig_AsDict.restype = ctypes.py_object
_api._PyConfig_FromDict.argtypes = [ctypes.c_void_p, ctypes.py_object]
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
#: More than the structure `PyConfig` takes in any build of this version.
_CONFIG_BYTES = 4096
_INPUT_BUFFER_BYTES = 64 << 10
#: What threads get where the stack is not limited.
_UNLIMITED_STACK_BYTES = 2 << 20
_FULLY_BUFFERED = 0


class _Status(ctypes.Structure):
    """`PyStatus`."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("function", ctypes.c_char_p),
        ("message", ctypes.c_char_p),
        ("exit_code", ctypes.c_int),
    )


class Program:
    """`joined`: the process is in the client's group already. `library`: native/run_main.c."""

    def __init__(self, request: Request, line: CommandLine, joined: bool, facts: Facts, library: ctypes.PyDLL) -> None:
        self._request = request
        self._line = line
        self._joined = joined
        self._facts = facts
        self._library = library
        self._real = os.readlink(b"/proc/self/exe")
        self._kept: list[Any] = []

    def begin_at_end(self) -> None:
        """Makes the interpreter's end, which has to come next, the program's beginning: no Python code is below it."""
        reseed()
        # Nothing of these is ended with the template's own program, or with this one.
        _api.Py_IncRef(ctypes.py_object(self))
        self._facts.shelf.hide(self._facts.pristine.path)
        self._library.set_preparation(ctypes.py_object(self._prepare))
        atexit._clear()
        atexit.register(self._library.run_main)

    def _prepare(self) -> None:
        _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        try:
            self._become_process()
            self._become_interpreter()
        except Exception as error:
            # Nothing of the program has run: the interpreter itself can still do it.
            argv, environ = self._request.argv, self._request.environ
            if b"KERNELYARD_PYTHON=explain" in environ:
                os.write(2, f"python3: run by the interpreter itself: {error!r}\n".encode("utf-8", "replace"))
            _libc.execve(
                self._real,
                (ctypes.c_char_p * (len(argv) + 1))(*argv, None),
                (ctypes.c_char_p * (len(environ) + 1))(*environ, None),
            )
            raise

    # ------------------------------------------------------------ the process

    def _become_process(self) -> None:
        request = self._request
        if not self._joined:
            # A signal to "my group" must not mean the template; and the server signals this group.
            os.setsid() if request.session != os.getsid(0) else os.setpgid(0, 0)
        os.fchdir(request.directory)
        os.umask(request.umask)
        self._take_descriptors()
        self._take_environment()
        for kind, limits in request.limits.items():
            if resource.getrlimit(kind) != limits:
                resource.setrlimit(kind, limits)
        self._size_thread_stacks()
        if os.getpriority(os.PRIO_PROCESS, 0) != request.nice:
            os.setpriority(os.PRIO_PROCESS, 0, request.nice)
        if os.sched_getaffinity(0) != request.processors:
            os.sched_setaffinity(0, request.processors)
        self._set_signals()
        self._show_name()
        self._know_parent()

    def _take_descriptors(self) -> None:
        """Exactly the client's, under their own numbers. Nothing of the template's stays open."""
        request = self._request
        lowest = max(request.fds, default=2) + 1
        moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest) for number, fd in request.fds.items()}
        keep = set(moved.values())
        for fd in _open_descriptors():
            if fd not in keep:
                os.close(fd)
        for number, fd in moved.items():
            os.dup2(fd, number)
            os.close(fd)

    def _take_environment(self) -> None:
        """For Python, and for libc itself: whatever is started gets the client's, in its order."""
        items = [item.partition(b"=") for item in self._request.environ]
        posix.environ.clear()
        posix.environ.update({name: value for name, _, value in items})
        array = (ctypes.c_char_p * (len(items) + 1))(*self._request.environ, None)
        self._kept.append(array)
        ctypes.c_void_p.in_dll(_libc, "environ").value = ctypes.addressof(array)

    def _size_thread_stacks(self) -> None:
        """libc takes it from the limit when a program starts; the template has started with another one."""
        soft = self._request.limits[resource.RLIMIT_STACK][0]
        size = _UNLIMITED_STACK_BYTES if soft == resource.RLIM_INFINITY else soft
        attributes = ctypes.create_string_buffer(128)
        if _libc.pthread_getattr_default_np(attributes) == 0:
            _libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(size))
            _libc.pthread_setattr_default_np(attributes)

    def _set_signals(self) -> None:
        """As the interpreter has them after its start, where the client did not come with others."""
        request = self._request
        _signal.set_wakeup_fd(-1)
        own: dict[int, Any] = {
            _signal.SIGINT: _signal.default_int_handler,
            _signal.SIGPIPE: _signal.SIG_IGN,
            _signal.SIGXFSZ: _signal.SIG_IGN,
        }
        for number in _signal.valid_signals():
            if number in (_signal.SIGKILL, _signal.SIGSTOP):
                continue
            ignored = request.ignored >> number - 1 & 1
            handler = _signal.SIG_IGN if ignored else own.get(number, _signal.SIG_DFL)
            if _signal.getsignal(number) != handler:
                _signal.signal(number, handler)
        blocked = {number for number in _signal.valid_signals() if request.blocked >> number - 1 & 1}
        _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)

    def _show_name(self) -> None:
        """In listings of processes, the name alone: who looks for a command line finds the client, and signals it."""
        name = self._request.argv[0]
        _libc.prctl(_PR_SET_NAME, os.path.basename(name), 0, 0, 0)
        place = ctypes.c_void_p.in_dll(_libc, "program_invocation_name").value
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read()
        if place and words and ctypes.string_at(place, len(words)) == words:
            ctypes.memmove(place, name[: len(words) - 1].ljust(len(words), b"\0"), len(words))

    def _know_parent(self) -> None:
        """The process that started the client, not the template. A child of this process knows its own parent."""
        client, myself, real = self._request.pid, os.getpid(), posix.getppid

        def getppid() -> int:
            """Return the parent's process id.

            If the parent process has already exited, Windows machines will still
            return its id; others systems will return the id of the 'init' process (1).
            """
            if os.getpid() != myself:
                return real()
            try:
                with open(f"/proc/{client}/stat", "rb", buffering=0) as file:
                    return int(file.read(4096).rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                return real()

        getppid.__module__ = "posix"
        os.getppid = posix.getppid = getppid

    # ------------------------------------------------------------ the interpreter

    def _become_interpreter(self) -> None:
        facts = self._facts
        facts.changes.undo()
        facts.pristine.give_back(facts.shelf.importers)
        atexit._clear()
        atexit.register(facts.shelf.take_back)
        self._configure()
        self._make_streams()
        self._make_main()
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]

    def _configure(self) -> None:
        """Reads the command line and the environment with the interpreter's own functions."""
        argv = self._request.argv
        program = os.fsdecode(argv[0])
        # What the template was called by is no default for us.
        _api.Py_SetProgramName(ctypes.c_wchar_p(program))
        _api._Py_SetProgramFullPath(None)
        config = ctypes.create_string_buffer(_CONFIG_BYTES)
        _api.PyConfig_SetBytesArgv.restype = _api.PyConfig_Read.restype = _Status
        _api.PyConfig_InitPythonConfig(config)
        arguments = (ctypes.c_char_p * len(argv))(*argv)
        _check(_api.PyConfig_SetBytesArgv(config, ctypes.c_ssize_t(len(argv)), arguments))
        _check(_api.PyConfig_Read(config))
        settings = _api._PyConfig_AsDict(config)
        # Under its canonical name, which it gets when the codec is looked up at the start.
        settings["filesystem_encoding"] = sys.getfilesystemencoding()
        # Not known before the paths are, which are computed when all is set.
        settings["platlibdir"] = sys.platlibdir
        if _api._PyConfig_FromDict(config, settings) or _api._PyInterpreterState_SetConfig(config):
            raise RuntimeError("the configuration cannot be set")
        _api.PyConfig_Clear(config)
        self._follow_site()

    def _follow_site(self) -> None:
        """What `site` did at the template's start; and what it makes of PYTHONPATH."""
        sys.prefix, sys.exec_prefix = self._facts.prefixes
        site.removeduppaths()
        left_out = {*sys.path, self._facts.packages if sys.flags.no_user_site else None}
        sys.path.extend(entry for entry in self._facts.pristine.path if entry not in left_out)
        if sys.flags.isolated:
            del sys.__interactivehook__

    def _make_streams(self) -> None:
        environ = os.environb
        unbuffered = self._line.has("u") or (
            not self._line.ignores_environment and bool(environ.get(b"PYTHONUNBUFFERED"))
        )
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            stream = _make_stream(fd, name, self._facts.streams[name], unbuffered)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if self._line.kind == "input" and not self._line.has("i"):
            # The program's text is read to its end before it runs; one system call for each letter is what
            # "unbuffered" means for libc.
            stdin = ctypes.c_void_p.in_dll(_libc, "stdin")
            _libc.setvbuf(stdin, None, _FULLY_BUFFERED, ctypes.c_size_t(_INPUT_BUFFER_BYTES))

    def _make_main(self) -> None:
        main = ModuleType("__main__")
        vars(main).update(
            __loader__=importlib.machinery.BuiltinImporter,
            __annotations__={},
            __builtins__=builtins,
        )
        sys.modules["__main__"] = main


def _check(status: _Status) -> None:
    if status.kind:
        raise RuntimeError(f"the configuration cannot be read: {status.message}")


def _open_descriptors() -> list[int]:
    fds = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            # The listing's own.
            continue
        fds.append(fd)
    return fds


def _make_stream(fd: int, name: str, form: TextForm, unbuffered: bool) -> io.TextIOWrapper | None:
    """As `create_stdio` of the interpreter does it."""
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return None
    writes = fd > 0
    mode = "wb" if writes else "rb"
    raw_only = unbuffered and writes
    buffer: Any = open(fd, mode, 0 if raw_only else -1, closefd=False)
    raw = buffer if raw_only else buffer.raw
    raw.name = f"<{name}>"
    stream = io.TextIOWrapper(
        buffer,
        encoding=form.encoding,
        errors=form.errors,
        newline="\n",
        line_buffering=not unbuffered and (raw.isatty() or fd == 2),
        write_through=unbuffered,
    )
    stream.mode = "w" if writes else "r"  # type: ignore[misc]
    return stream
