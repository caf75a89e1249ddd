"""Modules of the working directory: a file that changed is read again by the next import.

LibreChat tells its model that each call is a new process: a model that writes `helper.py` anew and imports it expects
the new one. What has not changed keeps its state, as in Jupyter.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import FunctionType, ModuleType

from kernel import packages

Key = tuple[int, int, int]


def _key(path: str) -> Key | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


class OwnModules:
    """`directory`: the working directory, by whatever name it is reached."""

    def __init__(self, directory: str) -> None:
        self._root = os.path.realpath(directory)
        self._packages = os.path.join(self._root, packages.FOLDER)
        #: Path and state of the file when a module was read from it.
        self._read: dict[str, tuple[str, Key | None]] = {}
        #: Modules that the running cell is about to import: given back when they are still what their files say.
        self._aside: dict[str, ModuleType] = {}

    @property
    def names(self) -> list[str]:
        """Of all that were read, in the order of their imports."""
        return list(self._read)

    def watch(self) -> None:
        sys.path_hooks.insert(0, self._finder)

    def _finder(self, path: str) -> FileFinder:
        real = os.path.realpath(path or ".")
        ours = real == self._root or real.startswith(self._root + os.sep)
        # What pip has added is a library like any other.
        if not ours or not os.path.isdir(real) or f"{real}{os.sep}".startswith(self._packages + os.sep):
            raise ImportError(f"{path} is no folder of the working directory", path=path)
        owner = self

        class Loader(SourceFileLoader):
            def create_module(self, spec: ModuleSpec) -> ModuleType | None:
                return owner._give_back(spec.name)

            def exec_module(self, module: ModuleType) -> None:
                if owner._aside.pop(module.__name__, None) is not module:
                    owner._read[module.__name__] = (self.path, _key(self.path))
                    super().exec_module(module)

        return FileFinder(
            path or ".",
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (Loader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    def _give_back(self, name: str) -> ModuleType | None:
        module = self._aside.get(name)
        if module is None or not self._changed(self._needed_by({name})):
            return module
        # Whatever took from the old one is out of date with it, until it is read again itself.
        for other in list(self._read):
            if name in self._needed_by({other}):
                self._read[other] = (self._read[other][0], None)
        del self._aside[name]
        return None

    # ------------------------------------------------------------ around a call

    def before_call(self) -> None:
        """Forgets modules whose files changed since they were read, and those that took from them."""
        if not self._read or _autoreload_is_on():
            return
        changed = self._changed(self._read)
        if not changed:
            return
        while more := {name for name in self._read if name not in changed and self._needs(name) & changed}:
            changed |= more
        for name in changed:
            del self._read[name]
            sys.modules.pop(name, None)

    def before_cell(self, statements: Iterable[ast.stmt]) -> None:
        """A cell may write a module and import it then: what it imports is looked at again when it does."""
        if not self._read or _autoreload_is_on():
            return
        named = {name for statement in statements for node in ast.walk(statement) for name in _imported(node)}
        for name in self._needed_by(named & self._read.keys()):
            module = sys.modules.pop(name, None)
            if module is not None:
                self._aside[name] = module

    def after_call(self) -> None:
        """What was not imported after all is where it was."""
        for name, module in self._aside.items():
            sys.modules.setdefault(name, module)
        self._aside.clear()

    # ------------------------------------------------------------ what depends on what

    def _changed(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if name in self._read and self._read[name][1] != _key(self._read[name][0])}

    def _needed_by(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting |= self._needs(name) - found
        return found

    def _needs(self, name: str) -> set[str]:
        """Our modules that this one holds, has something from, or shares a package with."""
        module = sys.modules.get(name) or self._aside.get(name)
        if module is None:
            return set()
        package = name.partition(".")[0]
        found = {other for other in self._read if other.partition(".")[0] == package}
        for value in list(vars(module).values()):
            if isinstance(value, ModuleType):
                found.add(value.__name__)
            else:
                found.add(str((value if isinstance(value, (FunctionType, type)) else type(value)).__module__))
        return found & self._read.keys()


def _imported(node: ast.AST) -> Iterable[str]:
    """Names of modules, with those of the packages they are in."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 256:
        # `importlib.import_module("helper")`
        names = [node.value]
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _autoreload_is_on() -> bool:
    """It reloads in place, and needs to find them."""
    return "IPython.extensions.autoreload" in sys.modules
