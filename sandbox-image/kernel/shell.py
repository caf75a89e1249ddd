"""IPython's shell without a terminal, a history or colours: cells in, text and files out.

IPython's own machinery runs the cells. What is different here, and why, is said where it differs.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from IPython.core.autocall import ExitAutocall
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from kernel.compiler import CellCompiler
from kernel.displays import FileDisplayPublisher, PlainDisplayHook, ends_with_semicolon
from kernel.tracebacks import format_error, from_first_cell

#: Matplotlib's interactive front ends that come with a package of their own.
_WIDGETS = ("widget", "ipympl")


class Exit(ExitAutocall):  # type: ignore[misc]
    """Ends this call with a code; the kernel and its variables stay. There is no program to ask to exit."""

    def __call__(self, code: Any = None) -> NoReturn:
        raise SystemExit(code)


class Shell(InteractiveShell):  # type: ignore[misc]
    compiler_class = CellCompiler
    displayhook_class = PlainDisplayHook
    display_pub_class = FileDisplayPublisher

    # Set around every cell; as traits, which nobody observes, that takes longer than most cells.
    execution_count = 1
    last_execution_succeeded = True
    last_execution_result = None
    # Asked for in every cell, and nobody's to configure.
    builtin_trap: Any = None
    display_trap: Any = None

    #: Told of the statements of a cell that is about to run.
    before_statements: Callable[[list[ast.stmt]], None] | None = None
    #: An interrupt ended the cell: what it does while it is cleaned up is not shown as its error, but where it was is.
    interrupted = False
    interrupted_at: types.TracebackType | None = None

    # ------------------------------------------------------------ cells

    def transform_cell(self, raw_cell: str) -> str:
        """Plain Python needs no transformation, and IPython's takes longer than most cells: it tokenises them.

        Nothing that IPython adds is valid Python, but for a name alone (`pwd`, a macro).
        """
        tree = None
        if not self._has_own_transformers():
            tree = self.compile.try_plain(raw_cell, self.execution_count)
        if tree is not None and not _is_one_name(tree):
            return raw_cell
        transformed: str = super().transform_cell(raw_cell)
        return transformed

    def _has_own_transformers(self) -> bool:
        manager = self.input_transformer_manager
        return (
            bool(self.input_transformers_post)
            or (
                len(manager.cleanup_transforms),
                len(manager.line_transforms),
                len(manager.token_transformers),
            )
            != self._usual_transformers
        )

    def init_prefilter(self) -> None:
        super().init_prefilter()
        manager = self.input_transformer_manager
        self._usual_transformers = tuple(
            map(len, (manager.cleanup_transforms, manager.line_transforms, manager.token_transformers))
        )

    async def run_ast_nodes(
        self,
        nodelist: list[ast.stmt],
        cell_name: str,
        interactivity: str = "last_expr",
        compiler: Any = compile,
        result: Any = None,
    ) -> bool | None:
        """The statements at once, the last expression apart: compiled one by one, a long cell takes twice as long."""
        if not nodelist or interactivity not in ("last_expr", "none"):
            failed: bool | None = await super().run_ast_nodes(nodelist, cell_name, interactivity, compiler, result)
            return failed
        if self.before_statements is not None:
            self.before_statements(nodelist)
        shown = nodelist[-1:] if interactivity == "last_expr" and isinstance(nodelist[-1], ast.Expr) else []
        body = nodelist[: len(nodelist) - len(shown)]
        if shown and ends_with_semicolon(self.compile.source(cell_name)):
            body, shown = nodelist, []
        try:
            flag = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if self.autoawait else 0
            with compiler.extra_flags(flag):
                codes = [compiler(ast.Module(body, []), cell_name, "exec")] if body else []
                codes += [compiler(ast.Interactive(shown), cell_name, "single")] if shown else []
        except Exception as error:
            # It parsed and is not valid all the same: `return` outside of a function and the like.
            if result is not None:
                result.error_before_exec = error
            self.showtraceback()
            return True
        awaits = [bool(code.co_flags & inspect.CO_COROUTINE) for code in codes]
        if any(awaits):
            await _loop_wanted()
        for code, is_async in zip(codes, awaits, strict=True):
            if await self.run_code(code, result, async_=is_async):
                return True
        return False

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """As the original, but an exit is an exit code and not a warning, and a hook of the code's own is its own."""
        try:
            if async_:
                await eval(code_obj, self.user_global_ns, self.user_ns)
            else:
                exec(code_obj, self.user_global_ns, self.user_ns)
        except self.custom_exceptions as error:
            self._note(result, error)
            self.CustomTB(type(error), error, error.__traceback__)
        except BaseException as error:
            self._note(result, error)
            if self.interrupted:
                self.interrupted_at = error.__traceback__
            elif not isinstance(error, SystemExit):
                self.showtraceback(running_compiled_code=True)
        else:
            return False
        return True

    runcode = run_code

    def _note(self, result: Any, error: BaseException) -> None:
        # Hooks and debuggers see it begin where the program does.
        error.__traceback__ = from_first_cell(error.__traceback__, self.compile.is_cell)
        if result is not None:
            result.error_in_exec = error

    # ------------------------------------------------------------ namespaces

    def use_module(self, module: types.ModuleType) -> None:
        """Cells run there from now on."""
        self.user_module = module
        self.user_ns = vars(module)
        self.ns_table = {"user_global": self.user_ns, "user_local": self.user_ns, "builtin": vars(builtins)}

    def reset(self, new_session: bool = True, aggressive: bool = False) -> None:
        super().reset(new_session, aggressive)
        self.forget_results()

    def forget_results(self) -> None:
        """Values and errors of earlier cells, and what they keep alive."""
        self.displayhook.forget()
        self.last_execution_result = None
        for name in ("last_type", "last_value", "last_traceback"):
            if hasattr(sys, name):
                delattr(sys, name)

    # ------------------------------------------------------------ errors

    def init_traceback_handlers(self, custom_exceptions: Any) -> None:
        super().init_traceback_handlers(custom_exceptions)
        self._usual_mode = self.InteractiveTB.mode

    def showtraceback(
        self, exc_tuple: Any = None, filename: Any = None, tb_offset: int | None = None, *_args: Any, **_kwargs: Any
    ) -> None:
        """On standard error, in Python's own form unless `%xmode` asks for one of IPython's: models read the former."""
        try:
            kind, error, trace = self._get_exc_info(exc_tuple)
        except ValueError:
            print("No traceback available to show.", file=sys.stderr)
            return
        if issubclass(kind, UsageError):
            self.show_usage_error(error)
            return
        hook = sys.excepthook
        if exc_tuple is None and hook not in (sys.__excepthook__, self.excepthook):
            try:
                hook(kind, error, trace)
                return
            except Exception as failure:
                # The interpreter's own words.
                text = format_error(type(failure), failure, failure.__traceback__, self.compile.is_cell)
                _to_stderr(f"Error in sys.excepthook:\n{text}\nOriginal exception was:\n")
        if hasattr(error, "_render_traceback_"):
            self._showtraceback(kind, error, error._render_traceback_())
        elif self.InteractiveTB.mode != self._usual_mode:
            first = from_first_cell(trace, self.compile.is_cell)
            lines = self.InteractiveTB.structured_traceback(kind, error, first, tb_offset=tb_offset or 0)
            self._showtraceback(kind, error, lines)
        else:
            _to_stderr(format_error(kind, error, trace, self.compile.is_cell))

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        _to_stderr(self.InteractiveTB.stb2text(stb) + "\n")

    def showsyntaxerror(self, *_args: Any, **_kwargs: Any) -> None:
        self.showtraceback()

    def showindentationerror(self) -> None:
        self.showtraceback()

    # ------------------------------------------------------------ what IPython leaves to its front ends

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no display: event loops of toolkits have nothing to do."""
        if gui not in (None, "inline", "agg", "asyncio"):
            print(f"[sandbox] There is no display for {gui!r}: figures are saved as pictures.", file=sys.stderr)

    def enable_matplotlib(self, gui: str | None = None) -> tuple[str | None, str]:
        """Every figure becomes a picture already, whatever is asked for; its format can still be chosen."""
        from IPython.core.pylabtools import find_gui_and_backend

        if gui in (None, "auto"):
            chosen = None
        elif gui in _WIDGETS:
            chosen = gui
        else:
            chosen = find_gui_and_backend(gui, self.pylab_gui_select)[0]
        self._offer_inline_settings()
        self.enable_gui(chosen)
        return chosen, "inline"

    def _offer_inline_settings(self) -> None:
        """`%config InlineBackend.figure_format = 'svg'`, the second line of many notebooks."""
        from matplotlib_inline.config import InlineBackend

        settings = InlineBackend.instance(parent=self)
        settings.shell = self
        if settings not in self.configurables:
            self.configurables.append(settings)

    def init_hooks(self) -> None:
        super().init_hooks()
        self.set_hook("show_in_pager", _page)

    def init_history(self) -> None:
        super().init_history()
        self.history_manager.enabled = False

    def init_user_ns(self) -> None:
        super().init_user_ns()
        # IPython forbids to open descriptors 0 to 2, for fear of its streams; ours outlive it.
        self.user_ns.pop("open", None)
        self.user_ns_hidden.pop("open", None)


@types.coroutine
def _loop_wanted() -> Generator[None, None, None]:
    """Gives the coroutine back to whoever runs it, to go on with it on an event loop."""
    yield


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text)
    except Exception:
        # Closed, redirected, replaced by something else: an error is worth another way.
        with contextlib.suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))


def _page(_shell: Any, data: Any, start: int = 0, screen_lines: int = 0, pager_cmd: Any = None) -> None:
    """Help is printed: nobody turns pages."""
    print(data["text/plain"] if isinstance(data, dict) else data)


def _is_one_name(tree: ast.Module) -> bool:
    if len(tree.body) != 1:
        return False
    only = tree.body[0]
    return isinstance(only, ast.Expr) and isinstance(only.value, ast.Name)


def _input(prompt: object = "", /) -> str:
    """Standard input is closed: there is nobody who could answer."""
    raise EOFError("input() cannot be used here: nobody can answer. Put the value into the code or pass it in `args`.")


def make_shell() -> Shell:
    config = Config()
    # Costs that nothing here uses: a history in SQLite, all results kept alive, tips, colours.
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.cache_size = 0
    config.InteractiveShell.enable_tip = False
    config.InteractiveShell.colors = "nocolor"
    config.StoreMagics.autorestore = False
    shell: Shell = Shell.instance(config=config)
    shell.exiter = Exit(shell)
    builtins.input = _input
    for name in ("exit", "quit"):
        shell.user_ns[name] = shell.user_ns_hidden[name] = shell.exiter
        # Modules may exit too: IPython takes these two away from them.
        shell.builtin_trap.auto_builtins[name] = shell.exiter
    # Permanently in place, instead of put in and taken out around every cell.
    shell.builtin_trap.__enter__()
    return shell
