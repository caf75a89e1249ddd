"""Runs calls: what a Python call means is decided here.

A call of a session is a cell, as in a notebook. A call without one is a program: it finds what a script finds, and
ends as a script ends.
"""

from __future__ import annotations

import _signal
import contextlib
import os
import signal
import sys
import types
import warnings
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Any

from kernel.control import Control, ControlClosed
from kernel.ending import Ending
from kernel.event_loop import Cells, allow_loops_in_cells
from kernel.figures import Figures
from kernel.forks import flush_before_children
from kernel.missing import after_error
from kernel.names import Names
from kernel.originals import Originals
from kernel.own_modules import OwnModules
from kernel.pages import PageKeeper
from kernel.script import SourceFile, become_script, free_name
from kernel.shell import Shell
from kernel.shown import Shown
from kernel.streams import Streams
from kernel.tools import ToolExecutionError, Tools
from kernel.tracebacks import hide_own_frames

_NAME_CHARACTERS = 256
_VALUE_CHARACTERS = 4096
_SCRIPT_NAME = "main.py"
#: From the supervisor, which sees what all processes use together (`supervisor/kernels.py`).
_MEMORY_SIGNAL = 60
_BYTE_ORDER_MARK = "\ufeff"


def _exit_code(code: object) -> int:
    """What the interpreter makes of `sys.exit(code)`; a text goes to standard error."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _text(body: bytes) -> str:
    """Code as people send it: with a byte order mark, with the line ends of their system."""
    return body.decode("utf-8", "replace").removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n")


class CellRunner:
    def __init__(self, shell: Shell, data: str) -> None:
        self._shell = shell
        self._data = data
        self._home = Path(data)
        self._streams = Streams()
        self._cells = Cells()
        self._modules = OwnModules(data)
        names = Names(data)
        self._shown = Shown(self._flush)
        names.on_saved = self._shown.saved
        shell.display_pub.names = names
        shell.before_statements = self._modules.before_cell
        self._figures = Figures(shell)
        self._pages = PageKeeper(names)
        self._count = 0
        self._running = False
        self._is_child = False
        #: The program's text, while this process is a script.
        self._source: SourceFile | None = None

    # ------------------------------------------------------------ template

    def warm_up(self) -> None:
        """Runs the paths that a first cell takes, so that forks have them in memory."""
        allow_loops_in_cells()
        hide_own_frames()
        self._modules.watch()
        self._pages.become_the_browser()
        self._figures.patch()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
            for code in ("_warm = 1 + 1", "print(_warm)\n_warm", "1 +", "1 / 0", "%precision", "_warm;"):
                self._count += 1
                self._execute(code)
        plotting = sys.modules.get("matplotlib.pyplot")
        if plotting is not None:
            with contextlib.suppress(Exception), open(os.devnull, "wb") as nothing:
                figure, axes = plotting.subplots()
                axes.plot([1, 2], [1, 2])
                axes.set_title("warm")
                figure.savefig(nothing, format="png")
                plotting.close("all")
        frames = sys.modules.get("pandas")
        if frames is not None:
            with contextlib.suppress(Exception):
                repr(frames.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]}).describe())
        self._shell.user_ns.pop("_warm", None)
        self._shell.forget_results()
        self._shell.compile.reset_compiler_flags()
        self._shell.compile.forget()
        self._figures.forget()
        self._count = 0

    # ------------------------------------------------------------ kernel

    def serve(self, control: Control, out_fd: int, err_fd: int, null_fd: int) -> None:
        """Runs one call after another until the supervisor goes away."""
        os.register_at_fork(after_in_child=self._after_fork)
        flush_before_children(self._flush)
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(_MEMORY_SIGNAL, self._on_memory)
        originals = Originals(null_fd, out_fd, err_fd)
        self._restore(originals)
        control.send({"ready": True})
        with contextlib.suppress(ControlClosed, OSError):
            while True:
                request, body = control.receive()
                if control.fds:
                    self._take_pipes(control.fds, originals, for_good=not request.get("guest"))
                self._shown.begin(control, request["run"], request.get("shown", 0))
                outcome = self._call(request, body)
                self._shown.over()
                control.send({"run": request["run"], "count": self._count, **outcome})
                # After the answer, so that nobody waits for it.
                self._restore(originals)
        os._exit(0)

    def _after_fork(self) -> None:
        self._is_child = True
        self._shown.over()

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # One that comes a moment too late must not end the kernel.
        if self._running:
            raise KeyboardInterrupt

    def _on_memory(self, _number: int, _frame: FrameType | None) -> None:
        if self._running:
            raise MemoryError("the memory of this sandbox is nearly used up")

    @staticmethod
    def _take_pipes(fds: list[int], originals: Originals, *, for_good: bool) -> None:
        """New ends of the output pipes: what earlier calls left running keeps the old ones.

        Not for good: a bash program has the cell write where it writes itself.
        """
        for number, fd in zip((1, 2), fds, strict=True):
            os.dup2(fd, number)
            if for_good:
                originals.become(number, fd)
            os.close(fd)

    def _restore(self, originals: Originals) -> None:
        """Code may change the directory, close or redirect 0 to 2; the next call finds them as they were."""
        with contextlib.suppress(OSError):
            os.chdir(self._data)
            # Where `%cd -` goes back to.
            self._shell.history_manager.dir_hist[:] = [self._home]
        self._streams.empty(originals.nowhere)
        originals.put_back()

    # ------------------------------------------------------------ one call

    def _call(self, request: dict[str, Any], body: bytes) -> dict[str, Any]:
        code = _text(body)
        self._prepare(request, code)
        names = self._add_tools(request.get("tools"))
        outcome: dict[str, Any] = {"exit_code": 1}
        try:
            self._running = True
            try:
                outcome = self._execute(code, loop_shown=self._source is None or bool(names))
                if self._source is not None:
                    outcome = self._end_script(outcome)
                self._pages.finish()
            finally:
                self._running = False
        except BaseException as error:
            # An interrupt between the lines above: shown like one within the code.
            outcome = self._failed(error, shown=False)
        for name, stub in names.items():
            if self._shell.user_ns.get(name) is stub:
                del self._shell.user_ns[name]
        self._modules.after_call()
        self._figures.forget()
        self._streams.put_back()
        if self._is_child:
            # A child that the code forked came to the end of the cell: it must not answer in our name.
            os._exit(int(outcome["exit_code"]))
        return outcome

    def _prepare(self, request: dict[str, Any], code: str) -> None:
        """What the previous call may have changed and this one relies on."""
        self._count += 1
        sys.displayhook = self._shell.displayhook
        # All registries of warnings already given are out of date: each call hears of them again.
        warnings._filters_mutated()  # type: ignore[attr-defined]
        if request.get("script"):
            self._become_script(request["args"], code)
            return
        self._modules.before_call()
        # `signal.getsignal` builds an enumeration member each time; this is the function below it.
        if _signal.getsignal(signal.SIGINT) != self._on_interrupt:
            signal.signal(signal.SIGINT, self._on_interrupt)
        sys.argv[:] = [_SCRIPT_NAME, *request["args"]]

    def _become_script(self, args: list[str], code: str) -> None:
        shell = self._shell
        path = free_name(self._data, _SCRIPT_NAME)
        self._streams.become_plain()
        self._source = SourceFile(path, code)
        module = become_script(path, [os.path.basename(path), *args], self._data)
        self._source.attach(module)
        shell.use_module(module)
        shell.compile.script = path

    def _end_script(self, outcome: dict[str, Any]) -> dict[str, Any]:
        source = self._source
        assert source is not None
        try:
            self._cells.close()
        finally:
            ending = Ending(self._leave_figures, self._let_go)
            code = ending.run(self._modules.names)
        source.remove()
        if ending.interrupted:
            outcome = {**outcome, "exit_code": outcome["exit_code"] or 130, "ename": KeyboardInterrupt.__name__}
        if code is not None and outcome["exit_code"] == 0:
            outcome["exit_code"] = code
        return outcome

    def _leave_figures(self) -> None:
        if not self._is_child:
            self._figures.save_open()

    def _let_go(self) -> None:
        """Of the program's namespace and everything in it."""
        self._shell.use_module(types.ModuleType("__main__"))
        self._shell.forget_results()

    def _add_tools(self, tools: dict[str, Any] | None) -> dict[str, Any]:
        if not tools:
            return {}
        client = Tools(tools["socket"])
        stubs: dict[str, Any] = {name: client.stub(name, tool) for name, tool in tools["names"]}
        stubs["ToolExecutionError"] = ToolExecutionError
        self._shell.user_ns.update(stubs)
        return stubs

    def _flush(self) -> None:
        self._streams.flush()

    # ------------------------------------------------------------ one cell

    def _execute(self, code: str, *, loop_shown: bool = False) -> dict[str, Any]:
        """By IPython's own machinery, without the history of outputs that its `run_cell` keeps besides."""
        shell = self._shell
        shell.execution_count = self._count
        failure = None
        try:
            transformed = shell.transform_cell(code)
        except Exception:
            transformed, failure = code, sys.exc_info()
        if transformed is not code and shell.compile.script is not None:
            # A program that uses what is IPython's finds its names too.
            shell.init_user_ns()
        result = None
        try:
            result = self._drive(
                shell.run_cell_async(code, transformed_cell=transformed, preprocessing_exc_tuple=failure), loop_shown
            )
        except BaseException as error:
            return self._failed(error, shown=False)
        finally:
            shell.interrupted = False
            shell.interrupted_at = None
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", result)
        failed = result.error_before_exec or result.error_in_exec
        if failed is None:
            return {"exit_code": 0}
        if isinstance(failed, MemoryError):
            # Whatever the frames hold is in the way of what comes next.
            shell.forget_results()
        return self._failed(failed, shown=True)

    def _drive(self, coroutine: Coroutine[Any, Any, Any], loop_shown: bool) -> Any:
        """A cell that does not await never stops; one that does asks for the loop before any of its code runs."""
        loop = self._cells.show_as_running() if loop_shown else None
        try:
            self._cells.start(coroutine)
        except StopIteration as done:
            return done.value
        finally:
            if loop is not None:
                self._cells.no_longer_shown(loop)
        return self._cells.run(coroutine, interrupted=self._on_broken_off)

    def _on_broken_off(self) -> None:
        self._shell.interrupted = True

    def _failed(self, error: BaseException, *, shown: bool) -> dict[str, Any]:
        if isinstance(error, SystemExit):
            return {"exit_code": _exit_code(error.code)}
        if not shown:
            self._flush()
            self._shell.showtraceback((type(error), error, self._shell.interrupted_at or error.__traceback__))
        if isinstance(error, ImportError):
            line = after_error(error)
            if line is not None:
                print(f"[sandbox] {line}", file=sys.stderr)
        try:
            evalue = str(error)
        except Exception:
            evalue = ""
        return {
            "exit_code": 130 if isinstance(error, KeyboardInterrupt) else 1,
            "ename": type(error).__name__[:_NAME_CHARACTERS],
            "evalue": evalue[:_VALUE_CHARACTERS],
        }
