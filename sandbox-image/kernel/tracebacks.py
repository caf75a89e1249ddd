"""Errors as Python itself shows them, beginning in the user's code: our own files are no part of it."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

import IPython

_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IPYTHON = os.path.dirname(IPython.__file__) + os.sep


def _is_own(filename: str) -> bool:
    return filename.startswith(_OWN_DIRECTORY)


def from_first_cell(trace: TracebackType | None, is_cell: Callable[[str], bool]) -> TracebackType | None:
    """Where the user's code begins; the whole when it is nowhere."""
    first = trace
    while first is not None and not is_cell(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first or trace


def format_error(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    is_cell: Callable[[str], bool],
) -> str:
    first = from_first_cell(trace, is_cell)
    if isinstance(error, SyntaxError) and (first is None or not is_cell(first.tb_frame.f_code.co_filename)):
        # It does not compile: nothing has run, so there is nothing to trace.
        if error.text is None and is_cell(str(error.filename)):
            # The compiler looks for the line in a file.
            error.text = linecache.getline(str(error.filename), error.lineno or 0)
        return "".join(traceback.format_exception_only(kind, error))
    formatted = traceback.TracebackException(kind, error, first, compact=True)
    _leave_out_own_frames(formatted, set())
    return "".join(formatted.format())


def _leave_out_own_frames(formatted: traceback.TracebackException, seen: set[int]) -> None:
    """What our own functions do (`input`, the interrupt) is not part of the user's program."""
    if id(formatted) in seen:
        return
    seen.add(id(formatted))
    kept = [frame for frame in formatted.stack if not _is_own(frame.filename)]
    if kept and not kept[-1].filename.startswith(_IPYTHON):
        # Nor is what IPython does on the way from a cell to a `__repr__`.
        kept = [frame for frame in kept if not frame.filename.startswith(_IPYTHON)]
    if kept:
        formatted.stack[:] = kept
    for other in (formatted.__cause__, formatted.__context__, *(formatted.exceptions or ())):
        if other is not None:
            _leave_out_own_frames(other, seen)


def hide_own_frames() -> None:
    """Stacks that code prints, and warnings about its caller's caller, end where its program begins."""
    walk_stack = traceback.walk_stack
    format_warning = warnings._formatwarnmsg_impl  # type: ignore[attr-defined]

    def walk(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
        if frame is None:
            # As the original: who asked, not this generator and not the function that runs it.
            frame = sys._getframe().f_back.f_back.f_back.f_back  # type: ignore[union-attr]
        for pair in walk_stack(frame):
            if _is_own(pair[0].f_code.co_filename):
                return
            yield pair

    def describe(message: warnings.WarningMessage) -> str:
        if _is_own(message.filename):
            # What Python says of a level above the program.
            message.filename, message.lineno = "sys", 1
        text: str = format_warning(message)
        return text

    def tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        # The interpreter's own looks for source in files; a program has none here.
        what = unraisable.err_msg or "Exception ignored in"
        head = f"{what}: {unraisable.object!r}\n" if unraisable.object is not None else f"{what}:\n"
        error = unraisable.exc_value or unraisable.exc_type()
        formatted = traceback.TracebackException(unraisable.exc_type, error, unraisable.exc_traceback)
        _leave_out_own_frames(formatted, set())
        print(head + "".join(formatted.format()), end="", file=sys.stderr)

    sys.unraisablehook = tell_unraisable
    traceback.walk_stack = walk  # type: ignore[assignment]
    warnings._formatwarnmsg_impl = describe  # type: ignore[attr-defined]
