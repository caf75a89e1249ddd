"""How a forked process becomes a script: what a program finds that was started as `python3 main.py`."""

from __future__ import annotations

import ast
import builtins
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType

#: Beside the program's own text: what says that it looks for its own file.
_LOOKS_FOR_ITSELF = ("__file__", "argv")
_GUARD = "__name__"


def free_name(directory: str, name: str) -> str:
    """`name`, or the next like it that is not a file of the user's."""
    stem, extension = os.path.splitext(name)
    path, number = os.path.join(directory, name), 1
    while os.path.lexists(path) and number < 1000:
        path, number = os.path.join(directory, f"{stem}_{number}{extension}"), number + 1
    return path


def become_script(path: str, argv: Sequence[str], directory: str) -> ModuleType:
    """A new `__main__` with what a script's has and nothing else. `directory`: where its own modules are."""
    module = ModuleType("__main__")
    vars(module).update(
        __loader__=SourceFileLoader("__main__", path),
        __annotations__={},
        __builtins__=builtins,
        __file__=path,
        __cached__=None,
    )
    sys.modules["__main__"] = module
    sys.argv[:] = argv
    sys.orig_argv[:] = [sys.executable, *argv]
    sys.path[0] = directory
    for prompt in ("ps1", "ps2", "ps3"):
        # Their being there says that somebody types.
        if hasattr(sys, prompt):
            delattr(sys, prompt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return module


class SourceFile:
    """The file that a program sent as text is said to be in: made only when something is about to look for it."""

    def __init__(self, path: str, code: str) -> None:
        self._path = path
        self._code = code
        self._made: dict[str, str] = {}
        self._folder: str | None = None
        self._for_children: str | None = None
        if any(word in code for word in _LOOKS_FOR_ITSELF):
            self._make(path, code)

    def attach(self, module: ModuleType) -> None:
        """`multiprocessing` and its like ask the module where to find functions for processes that they spawn."""
        source = self

        class Main(ModuleType):
            @property
            def __file__(self) -> str:
                asker = sys._getframe(1).f_code.co_name
                return source.for_children() if asker == "get_preparation_data" else source._path

            @__file__.setter
            def __file__(self, value: str) -> None:
                source._path = vars(self)["__file__"] = value

        module.__class__ = Main

    def for_children(self) -> str:
        """A file that a spawned process runs to have the program's functions.

        Without a guard (`if __name__ == "__main__"`) it would start everything over again: definitions only.
        """
        if self._for_children is None:
            if _GUARD in self._code:
                self._for_children = self._path
                self._make(self._path, self._code)
            else:
                self._folder = tempfile.mkdtemp(prefix=".kernelyard-")
                self._for_children = os.path.join(self._folder, os.path.basename(self._path))
                self._make(self._for_children, f"__file__ = {self._path!r}\n{_definitions(self._code)}")
        return self._for_children

    def _make(self, path: str, code: str) -> None:
        with contextlib.suppress(OSError), open(path, "x", encoding="utf-8", newline="") as file:
            file.write(code)
            self._made[path] = code

    def remove(self) -> None:
        """Unless the program has put something else in its place."""
        for path, code in self._made.items():
            with contextlib.suppress(OSError, ValueError):
                with open(path, encoding="utf-8", newline="") as file:
                    unchanged = file.read(len(code) + 1) == code
                if unchanged:
                    os.unlink(path)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self._folder)


def _definitions(code: str) -> str:
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    try:
        statements = ast.parse(code).body
    except SyntaxError:
        return ""
    body: list[ast.stmt] = [
        statement
        for statement in statements
        if isinstance(statement, kept) or (isinstance(statement, ast.Assign) and _is_constant(statement.value))
    ]
    return ast.unparse(ast.Module(body, []))


def _is_constant(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
