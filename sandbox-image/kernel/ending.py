"""How a process ends as a script ends, without the time that taking down the interpreter would take.

`Py_FinalizeEx` step by step: threads joined, `atexit` run, streams flushed, the program's objects destroyed (which
closes its files). What it does to modules that the program did not make is left out: the process goes away.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import logging
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from kernel.streams import flush

#: What the interpreter ends with when it cannot write standard output.
_NOT_FLUSHED = 120


def forget_inherited_exits() -> None:
    """In the template: what its libraries registered is about the template's own files and threads."""
    atexit._clear()
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    # The two that belong to the program, in the order in which an interpreter comes to them.
    atexit.register(logging.shutdown)
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        atexit.register(util._exit_function)


class Ending:
    """`between`: what comes after the threads and before `atexit`. `forget`: lets go of the program's module."""

    def __init__(self, between: Callable[[], None], forget: Callable[[], None]) -> None:
        self._between = between
        self._forget = forget
        #: The time limit, or somebody, broke a step off.
        self.interrupted = False

    def run(self, own_modules: list[str]) -> int | None:
        """`own_modules`: names of those that the program made itself, in the order of their imports.

        Returns an exit code that takes the place of a 0, if any.
        """
        self._ignoring(threading._shutdown, threading)  # type: ignore[attr-defined]
        self._ignoring(self._between, sys)
        self._ignoring(atexit._run_exitfuncs, atexit)
        _stop_daemon_threads()
        # Nobody is there any more who could make sense of an interrupt.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        failed = _flush_standard()
        # As the interpreter does here: it brings what is left into an order in which files are flushed before they are
        # closed.
        gc.collect()
        self._destroy_modules(own_modules)
        _flush_left_open()
        failed = _flush_standard() or failed
        ctypes.CDLL(None).fflush(None)
        return _NOT_FLUSHED if failed else None

    def _ignoring(self, function: Callable[[], Any], owner: ModuleType) -> None:
        """What breaks one step off does not spare the others."""
        try:
            function()
        except BaseException as error:
            self.interrupted = self.interrupted or isinstance(error, KeyboardInterrupt)
            print(f"Exception ignored in: {owner!r}\n{type(error).__name__}: {error}", file=sys.stderr)

    def _destroy_modules(self, own_modules: list[str]) -> None:
        self._forget()
        alive = [weakref.ref(module) for name in ("__main__", *own_modules) if (module := sys.modules.pop(name, None))]
        module = None
        gc.collect()
        for reference in reversed(alive):
            module = reference()
            if module is not None:
                _clear(vars(module))
        gc.collect()


def _stop_daemon_threads() -> None:
    """The interpreter lets none of them run any more: each gets an exit of its own at its next step."""
    me = threading.get_ident()
    for ident in sys._current_frames():
        if ident != me:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))


def _flush_standard() -> bool:
    """Whether standard output could not be written."""
    error = None
    stdout, stderr = getattr(sys, "stdout", None), getattr(sys, "stderr", None)
    if stdout is not None and not getattr(stdout, "closed", False):
        error = flush(stdout)
        if error is not None:
            print(f"Exception ignored in: {stdout!r}\n{type(error).__name__}: {error}", file=stderr)
    if stderr is not None and not getattr(stderr, "closed", False):
        flush(stderr)
    return error is not None


def _clear(namespace: dict[str, Any]) -> None:
    """As the interpreter does with a module that lives on: names with an underscore first, then the others."""
    for private in (True, False):
        for name in list(namespace):
            if (name.startswith("_") and not name.startswith("__")) is private and name != "__builtins__":
                namespace[name] = None


def _flush_left_open() -> None:
    """Files that something still holds: a library's own cache, an object that C keeps."""
    for value in gc.get_objects():
        if isinstance(value, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)) and not value.closed:
            flush(value)
