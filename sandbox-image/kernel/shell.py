"""IPython's shell without a terminal, a history or colours: cells in, text and files out."""

from __future__ import annotations

import builtins
import linecache
import os
import sys
import traceback
from collections import deque
from types import TracebackType
from typing import Any, NoReturn

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from kernel.displays import FileDisplayPublisher

#: Cells whose source is kept for tracebacks and `inspect.getsource`.
_SOURCES_KEPT = 500
CELL_PREFIX = "<cell "
_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep


class CellCompiler(CachingCompiler):  # type: ignore[misc]
    """Names cells by their number and forgets the source of old ones."""

    def __init__(self) -> None:
        super().__init__()
        self._names: deque[str] = deque()
        self._number = 0

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        self._number += 1
        name = f"{CELL_PREFIX}{number or self._number}>"
        if name not in self._filename_map:
            self._names.append(name)
        self._filename_map[name] = number
        lines = transformed_code.splitlines(keepends=True)
        linecache.cache[name] = (len(transformed_code), None, lines, name)
        if len(self._names) > _SOURCES_KEPT:
            old = self._names.popleft()
            linecache.cache.pop(old, None)
            self._filename_map.pop(old, None)
        return name


class PlainDisplayHook(DisplayHook):  # type: ignore[misc]
    """The last expression, as a REPL shows it: its `repr`, and `_` for the next cell."""

    #: What IPython puts into a new namespace.
    _last: Any = ""

    def __call__(self, result: Any = None) -> None:
        if result is None:
            return
        show = getattr(type(result), "_ipython_display_", None)
        if callable(show):
            show(result)
        else:
            sys.stdout.write(repr(result) + "\n")
        namespace = self.shell.user_ns
        # Like the interactive prompt: `_` is ours until the code gives the name to something else.
        if namespace.get("_", self._last) is self._last:
            namespace["_"] = self._last = result


def format_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> str:
    """A traceback in Python's own style that begins in the user's code."""
    first = trace
    while first is not None and not first.tb_frame.f_code.co_filename.startswith(CELL_PREFIX):
        first = first.tb_next
    if first is None and isinstance(error, SyntaxError):
        # It does not compile: nothing has run, so there is nothing to trace.
        return "".join(traceback.format_exception_only(kind, error))
    formatted = traceback.TracebackException(kind, error, first or trace, compact=True)
    _leave_out_own_frames(formatted, set())
    return "".join(formatted.format())


def _leave_out_own_frames(formatted: traceback.TracebackException, seen: set[int]) -> None:
    """What our own functions do (`input`, the interrupt) is not part of the user's program."""
    if id(formatted) in seen:
        return
    seen.add(id(formatted))
    kept = [frame for frame in formatted.stack if not frame.filename.startswith(_OWN_DIRECTORY)]
    if kept:
        formatted.stack[:] = kept
    for other in (formatted.__cause__, formatted.__context__):
        if other is not None:
            _leave_out_own_frames(other, seen)


class Shell(InteractiveShell):  # type: ignore[misc]
    """What magics call to show an error goes the same way as our own."""

    def showtraceback(self, exc_tuple: Any = None, *_args: Any, **_kwargs: Any) -> None:
        kind, error, trace = exc_tuple or sys.exc_info()
        if kind is not None and error is not None:
            sys.stderr.write(format_error(kind, error, trace))

    def showsyntaxerror(self, *_args: Any, **_kwargs: Any) -> None:
        self.showtraceback()

    def showindentationerror(self) -> None:
        self.showtraceback()

    def init_history(self) -> None:
        super().init_history()
        self.history_manager.enabled = False


def _exit(code: Any = None) -> NoReturn:
    """Ends this call with `code`; the kernel and its variables stay."""
    raise SystemExit(code)


def _input(prompt: object = "", /) -> str:
    """Standard input is closed: there is nobody who could answer."""
    raise EOFError("input() cannot be used here: nobody can answer. Put the value into the code or pass it in `args`.")


def make_shell() -> Shell:
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.automagic = True
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.enable_tip = False
    config.PlainTextFormatter.pprint = False
    config.StoreMagics.autorestore = False
    Shell.compiler_class = CellCompiler
    Shell.displayhook_class = PlainDisplayHook
    Shell.display_pub_class = FileDisplayPublisher
    shell: Shell = Shell.instance(config=config)
    builtins.input = _input
    for name in ("exit", "quit"):
        shell.user_ns[name] = _exit
        shell.user_ns_hidden[name] = _exit
    # Permanently in place, instead of put in and taken out around every cell.
    shell.builtin_trap.__enter__()
    shell.display_page = False
    shell.set_hook(
        "show_in_pager", lambda _shell, data, *_: print(data["text/plain"] if isinstance(data, dict) else data)
    )
    return shell
