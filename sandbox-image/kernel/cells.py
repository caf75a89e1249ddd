"""Runs cells: what a Python call means is decided here."""

from __future__ import annotations

import _signal
import ast
import asyncio
import contextlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from types import CodeType, FrameType
from typing import Any

from kernel.control import Control, ControlClosed
from kernel.figures import Figures
from kernel.shell import Shell, format_error
from kernel.streams import open_stream
from kernel.tools import ToolExecutionError, Tools

_NAME_CHARACTERS = 256
_VALUE_CHARACTERS = 4096
_SCRIPT_NAME = "main.py"


def _exit_code(code: object) -> int:
    """What the interpreter makes of `sys.exit(code)`; a text goes to standard error."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _run_nested(main: Any, **options: Any) -> Any:
    """`asyncio.run` below a running loop (a cell that awaits and also calls it): on a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _asyncio_run(main, **options)
    outcome: list[Any] = []

    def target() -> None:
        try:
            outcome.append((True, _asyncio_run(main, **options)))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=target, name="asyncio.run", daemon=True)
    thread.start()
    thread.join()
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


_asyncio_run = asyncio.run


class CellRunner:
    def __init__(self, shell: Shell, data: str) -> None:
        self._shell = shell
        self._data = data
        self._figures = Figures(data)
        self._display_pub = shell.display_pub
        self._display_pub.directory = data
        shell.display_formatter.formatters["image/png"].for_type_by_name(
            "matplotlib.figure", "Figure", self._figures.save
        )
        self._count = 0
        self._running = False
        self._is_child = False
        self._pipes: dict[int, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stdout = open_stream("stdout")
        self._stderr = open_stream("stderr")
        self._excepthook = sys.__excepthook__

    # ------------------------------------------------------------ template

    def warm_up(self) -> None:
        """Runs the paths that a first cell takes, so that forks have them in memory."""
        asyncio.run = _run_nested
        self._figures.patch()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
            for code in ("_warm = 1 + 1", "print(_warm)\n_warm", "1 +", "1 / 0", "%precision"):
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
        self._shell.compile.reset_compiler_flags()
        self._count = 0

    # ------------------------------------------------------------ kernel

    def serve(self, control: Control, out_fd: int, err_fd: int) -> None:
        """Runs one cell after another until the supervisor goes away."""
        os.register_at_fork(after_in_child=self._after_fork)
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._restore(out_fd, err_fd)
        control.send({"ready": True})
        with contextlib.suppress(ControlClosed, OSError):
            while True:
                request, body = control.receive()
                outcome = self._call(request, body)
                control.send({"run": request["run"], "count": self._count, **outcome})
                # After the answer, so that nobody waits for it.
                self._restore(out_fd, err_fd)
        os._exit(0)

    def _after_fork(self) -> None:
        self._is_child = True

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # One that comes a moment too late must not end the kernel.
        if self._running:
            raise KeyboardInterrupt

    def _restore(self, out_fd: int, err_fd: int) -> None:
        """Code may change the directory, close or redirect 1 and 2; the next call finds them as they were."""
        with contextlib.suppress(OSError):
            os.chdir(self._data)
        for fd, original in ((1, out_fd), (2, err_fd)):
            try:
                wanted = self._pipes.get(original)
                if wanted is None:
                    wanted = self._pipes[original] = os.fstat(original).st_ino
                if os.fstat(fd).st_ino == wanted:
                    continue
            except OSError:
                pass
            with contextlib.suppress(OSError):
                os.dup2(original, fd)

    def _prepare(self, request: dict[str, Any]) -> None:
        """What the previous call may have changed and this one relies on."""
        if self._stdout.closed:
            self._stdout = open_stream("stdout")
        if self._stderr.closed:
            self._stderr = open_stream("stderr")
        sys.stdout, sys.stderr = self._stdout, self._stderr
        # `signal.getsignal` builds an enumeration member each time; this is the function below it.
        if _signal.getsignal(signal.SIGINT) != self._on_interrupt:
            signal.signal(signal.SIGINT, self._on_interrupt)
        sys.displayhook = self._shell.displayhook
        sys.argv[:] = [_SCRIPT_NAME, *request["args"]]

    def _call(self, request: dict[str, Any], body: bytes) -> dict[str, Any]:
        self._prepare(request)
        code = body.decode("utf-8", "replace")
        names = self._add_tools(request.get("tools"))
        outcome: dict[str, Any] = {"exit_code": 1}
        try:
            self._running = True
            try:
                outcome = self._execute(code)
                if self._figures.any_open and not self._is_child:
                    self._figures.save_open()
            finally:
                self._running = False
        except BaseException as error:
            # An interrupt between the lines above: shown like one within the code.
            outcome = self._report(error)
        for name, stub in names.items():
            if self._shell.user_ns.get(name) is stub:
                del self._shell.user_ns[name]
        self._flush()
        if self._is_child:
            # A child that the code forked came to the end of the cell: it must not answer in our name.
            os._exit(int(outcome["exit_code"]))
        return outcome

    def _add_tools(self, tools: dict[str, Any] | None) -> dict[str, Any]:
        if not tools:
            return {}
        client = Tools(tools["socket"])
        stubs: dict[str, Any] = {name: client.stub(name, tool) for name, tool in tools["names"]}
        stubs["ToolExecutionError"] = ToolExecutionError
        self._shell.user_ns.update(stubs)
        return stubs

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr, self._stdout, self._stderr):
            try:
                stream.flush()
            except Exception:
                # Closed, redirected or full: what could not be written is lost, the call is over all the same.
                pass

    # ------------------------------------------------------------ one cell

    def _execute(self, code: str) -> dict[str, Any]:
        shell = self._shell
        self._count += 1
        shell.execution_count = self._count
        try:
            body, last = self._compile(code)
            if body is not None:
                self._run(body)
            if last is not None:
                self._run(last)
        except BaseException as error:
            return self._report(error)
        return {"exit_code": 0}

    def _compile(self, code: str) -> tuple[CodeType | None, CodeType | None]:
        """The statements, and the last one apart when it is an expression whose value is to be shown."""
        shell = self._shell
        compiler = shell.compile
        name = compiler.cache(code, self._count)
        try:
            tree = compiler.ast_parse(code, name)
        except (SyntaxError, ValueError) as error:
            # Not plain Python: perhaps IPython's additions (`%magic`, `!command`, `name?`).
            plain = code
            try:
                code = shell.transform_cell(code)
            except SyntaxError:
                raise error from None
            if code.rstrip("\n") == plain.rstrip("\n"):
                raise error from None
            compiler.cache(code, self._count)
            tree = compiler.ast_parse(code, name)
        tree = shell.transform_ast(tree) if shell.ast_transformers else tree
        statements = tree.body
        last = None
        with compiler.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
            if statements and isinstance(statements[-1], ast.Expr) and not _is_silenced(code):
                last = compiler(ast.Interactive([statements.pop()]), name, "single")
            body = compiler(ast.Module(statements, []), name, "exec") if statements else None
        return body, last

    def _run(self, code: CodeType) -> None:
        namespace = self._shell.user_ns
        if code.co_flags & inspect.CO_COROUTINE:
            self._run_coroutine(eval(code, namespace))
        else:
            exec(code, namespace)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        loop = self._loop
        asyncio.set_event_loop(loop)
        task = loop.create_task(coroutine)
        try:
            loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                # Interrupted: let the code clean up, and do not resume it in a later cell.
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            raise

    def _report(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, SystemExit):
            return {"exit_code": _exit_code(error.code)}
        kind = type(error)
        try:
            evalue = str(error)
        except Exception:
            evalue = ""
        sys.last_type, sys.last_value, sys.last_traceback = kind, error, error.__traceback__
        try:
            self._flush()
            if kind.__name__ == "MemoryError":
                # Whatever the frames hold is in the way of saying what happened.
                sys.last_value = sys.last_traceback = None
            hook = sys.excepthook
            if hook is self._excepthook or hook is sys.__excepthook__ or hook == self._shell.excepthook:
                print(format_error(kind, error, error.__traceback__), end="", file=sys.stderr)
            else:
                hook(kind, error, error.__traceback__)
        except Exception:
            with contextlib.suppress(OSError):
                os.write(2, f"{kind.__name__}: {evalue}\n".encode("utf-8", "replace"))
        return {
            "exit_code": 130 if isinstance(error, KeyboardInterrupt) else 1,
            "ename": kind.__name__[:_NAME_CHARACTERS],
            "evalue": evalue[:_VALUE_CHARACTERS],
        }


def _is_silenced(code: str) -> bool:
    """A `;` at the end hides the value, as in a notebook."""
    text = code.rstrip()
    if not text.endswith(";"):
        return False
    return "#" not in text.rpartition("\n")[2]
