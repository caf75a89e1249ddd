"""Compiles cells under names that people understand, and keeps their source for tracebacks."""

from __future__ import annotations

import ast
import linecache
from collections import deque

from IPython.core.compilerop import CachingCompiler

#: Cells whose source is kept for tracebacks and `inspect.getsource`.
_SOURCES_KEPT = 500


class CellCompiler(CachingCompiler):  # type: ignore[misc]
    """Names cells by their number, or by the file that a program stands for, and forgets the source of old ones."""

    def __init__(self) -> None:
        super().__init__()
        self._names: deque[str] = deque()
        #: The program's path, when there is one program and no cells.
        self.script: str | None = None
        self._parsed: tuple[str, int, ast.Module] | None = None

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        name = self.script or f"<cell {number}>"
        # A cell within a cell (`%%capture`, `run_cell`) has a name of its own.
        inner = 1
        while name in linecache.cache and self.source(name) != transformed_code:
            name = f"<cell {number}.{inner}>"
            inner += 1
        return name

    def is_cell(self, filename: str) -> bool:
        return filename in self._filename_map

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        name = self.get_code_name("", transformed_code, number)
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

    def source(self, name: str) -> str:
        return "".join(linecache.getlines(name))

    def forget(self) -> None:
        while self._names:
            name = self._names.popleft()
            linecache.cache.pop(name, None)
            self._filename_map.pop(name, None)

    def try_plain(self, code: str, number: int) -> ast.Module | None:
        """What `code` is as Python, or None; kept for `ast_parse`, which is asked for the same next."""
        try:
            tree: ast.Module = super().ast_parse(code, self.script or f"<cell {number}>")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
        self._parsed = (code, self.flags, tree)
        return tree

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> ast.AST:
        parsed, self._parsed = self._parsed, None
        if parsed is not None and parsed[0] is source and parsed[1] == self.flags and symbol == "exec":
            return parsed[2]
        tree: ast.AST = super().ast_parse(source, filename, symbol)
        return tree
