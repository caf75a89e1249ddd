"""Libraries that are in memory already and are nevertheless imported: when the program asks for them, and not before.

A program that a fork runs begins with the modules of a plain start. Its imports are looked up on `sys.path` like any
others; where the search ends at a file whose module is in memory, that module is handed out with what it imports,
instead of being run again. So a file of the program's own that comes first on the path is found first.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from types import ModuleType
from typing import Any

from interpreter.pristine import is_ours
from interpreter.recorder import Recorder

_FILE_LOADERS = (SourceFileLoader, ExtensionFileLoader)
#: What the interpreter itself looks up while it ends, for instance to print what went wrong.
_NEEDED_AT_END = frozenset(
    (
        *("sys", "builtins", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_io", "io", "abc", "_abc"),
        *("_thread", "_weakref", "_warnings", "_codecs", "codecs", "encodings", "encodings.utf_8"),
    )
)
_SUFFIXES = frozenset((*SOURCE_SUFFIXES, *BYTECODE_SUFFIXES, *EXTENSION_SUFFIXES))


class Shelf:
    """`startup`: the modules of a plain start. `libraries`: top-level names of what the image wants in memory."""

    def __init__(self, recorder: Recorder, startup: dict[str, ModuleType], libraries: Iterable[str]) -> None:
        self._record = recorder
        self._startup = startup
        self._modules: dict[str, ModuleType] = {}
        #: Modules that another one made, by its name.
        self._companions: dict[str, dict[str, ModuleType]] = {}
        #: Built into the interpreter: a second copy would have other types than what has been made with the first.
        self._resident: dict[str, ModuleType] = {}
        self._given: dict[str, ModuleType] = {}
        self._plans: dict[str, list[str]] = {}
        known = sys.stdlib_module_names | set(libraries)
        for name, module in sys.modules.items():
            if name not in startup and name != "__main__" and not is_ours(name):
                self._sort(name, module, known)
        self._resident |= self._companions.pop("", {})
        self.top_level = frozenset(name for name in self._modules if "." not in name)
        self.importers = self._make_importers()
        # Once for all forks.
        for name in self.top_level:
            self._needed_by(name)

    def _sort(self, name: str, module: ModuleType, known: set[str] | frozenset[str]) -> None:
        spec = getattr(module, "__spec__", None)
        if getattr(spec, "origin", None) in ("built-in", "frozen"):
            self._resident[name] = module
        elif name.partition(".")[0] not in known:
            # What only the kernel uses. A program that imports it gets one of its own.
            return
        elif name in self._record.loaded:
            if isinstance(getattr(spec, "loader", None), _FILE_LOADERS):
                self._modules[name] = module
        else:
            self._companions.setdefault(self._maker(name), {})[name] = module

    def _maker(self, name: str) -> str:
        """The nearest package that is in memory; empty when that is one of the interpreter's own."""
        parent = name.rpartition(".")[0]
        while parent and parent not in self._record.loaded:
            parent = parent.rpartition(".")[0]
        return "" if parent in self._startup or parent in self._resident else parent

    def _make_importers(self) -> dict[str, Any]:
        """What `sys.path_importer_cache` is to be: our finders where modules of ours come from."""
        homes: dict[str, dict[str, ModuleType]] = {}
        for name, module in self._modules.items():
            homes.setdefault(_home(module), {})[name] = module
        importers: dict[str, Any] = {}
        for path, finder in list(sys.path_importer_cache.items()):
            if path in homes and type(finder) is FileFinder:
                importers[path] = _ShelfFinder(self, homes[path], finder)
            elif path in sys.path[1:] and (finder is not None or path.endswith(".zip")):
                # A folder that was not there may be by then.
                importers[path] = finder
        return importers

    # ------------------------------------------------------------ handing out

    def hide(self, startup_path: Iterable[str]) -> None:
        """`sys.modules` as after a plain start, but for the program's own module."""
        self._startup_path = frozenset(startup_path)
        # So that the end of the interpreter does not take apart what the program does not know of.
        for kept in (dict(sys.modules), self):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        sys.modules.clear()
        sys.modules.update(self._startup)
        sys.modules.update(self._resident)

    def take_back(self) -> None:
        """Before the interpreter ends: taking every module apart would copy all of the memory that they are in.

        The program's own modules are left to the interpreter's end.
        """
        for modules in (self._given, self._startup, self._resident):
            for name, module in modules.items():
                if name not in _NEEDED_AT_END and sys.modules.get(name) is module:
                    del sys.modules[name]

    def has(self, name: str) -> bool:
        return name in self._modules and name not in self._given

    def can_give(self, name: str) -> bool:
        """Whether a plain import would find the same files: none may be hidden by one that comes first on the path."""
        wanted = {needed.partition(".")[0] for needed in self._needed_by(name)}
        for entry in sys.path:
            if entry in self._startup_path:
                return True
            if finds_any(entry or ".", wanted):
                return False
        return True

    def give(self, name: str) -> None:
        """Puts a module and what it imported into `sys.modules`; what is there already stays."""
        effects: list[tuple[int, Callable[[], object]]] = []
        for needed in self._needed_by(name):
            if not self.has(needed):
                continue
            module = self._modules[needed]
            self._given[needed] = module
            if needed not in sys.modules:
                sys.modules[needed] = module
                sys.modules.update(self._companions.get(needed, {}))
                _bind_in_package(needed, module)
            effects += self._record.effects.get(needed, ())
        for _, effect in sorted(effects, key=_first):
            effect()

    def _needed_by(self, name: str) -> list[str]:
        """In the order of their loading.

        Compiled modules import without being noticed: of a library's package, all that was there when the module was
        complete is taken for needed.
        """
        plan = self._plans.get(name)
        if plan is not None:
            return plan
        record = self._record
        found: set[str] = set()
        waiting = [name]
        while waiting:
            needed = waiting.pop()
            parent = needed.rpartition(".")[0]
            if needed in found or (needed not in self._modules and needed not in self._resident):
                continue
            if parent:
                waiting.append(parent)
            if needed in self._modules:
                found.add(needed)
                waiting += record.imports.get(needed, ())
        packages = {needed.partition(".")[0] for needed in found} - sys.stdlib_module_names
        if packages:
            limit = record.complete[name]
            for other in self._modules:
                if other.partition(".")[0] in packages and record.loaded[other] < limit:
                    found.add(other)
        plan = self._plans[name] = sorted(found, key=record.loaded.__getitem__)
        return plan


class _ShelfFinder(FileFinder):
    """The finder of one directory, which knows what was loaded from there."""

    def __init__(self, shelf: Shelf, modules: dict[str, ModuleType], original: FileFinder) -> None:
        self.__dict__.update(original.__dict__)
        self._shelf = shelf
        self._shelved = modules

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        module = self._shelved.get(fullname)
        if module is None or not self._shelf.has(fullname) or not self._shelf.can_give(fullname):
            return super().find_spec(fullname, target)
        original = module.__spec__
        assert original is not None
        spec = ModuleSpec(fullname, _ShelfLoader(self._shelf, module), origin=original.origin)  # type: ignore[arg-type]
        spec.submodule_search_locations = original.submodule_search_locations
        spec.has_location = True
        spec.cached = original.cached
        return spec


class _ShelfLoader:
    """Stands for the loader of the file in everything but the loading."""

    def __init__(self, shelf: Shelf, module: ModuleType) -> None:
        self._shelf = shelf
        self._module = module
        self._spec = module.__spec__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec.loader, name)  # type: ignore[union-attr]

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
        self._shelf.give(module.__name__)


def _bind_in_package(name: str, module: ModuleType) -> None:
    """As the import system does it. A package that has another object of that name keeps it."""
    package, _, child = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None and child not in vars(parent):
        vars(parent)[child] = module


def _first(pair: tuple[int, Any]) -> int:
    return pair[0]


def _home(module: ModuleType) -> str:
    """The directory in whose listing the module was found."""
    spec = module.__spec__
    assert spec is not None and spec.origin is not None
    directory = os.path.dirname(spec.origin)
    return os.path.dirname(directory) if spec.submodule_search_locations is not None else directory


#: By device and inode: when the directory was changed last, stems of its files that could be modules, other names.
_listings: dict[tuple[int, int], tuple[int, set[str], set[str]]] = {}


def _listing(directory: str) -> tuple[set[str], set[str]]:
    status = os.stat(directory)
    key = (status.st_dev, status.st_ino)
    known = _listings.get(key)
    if known is None or known[0] != status.st_mtime_ns:
        stems, names = set(), set()
        for entry in os.listdir(directory):
            stem, dot, _ = entry.partition(".")
            if not dot:
                names.add(entry)
            elif entry[len(stem) :] in _SUFFIXES:
                stems.add(stem)
        known = _listings[key] = (status.st_mtime_ns, stems, names)
    return known[1], known[2]


def finds_any(directory: str, wanted: AbstractSet[str]) -> bool:
    """Whether an import would find one of these top-level names in this directory."""
    try:
        stems, names = _listing(directory)
    except OSError:
        return False
    return not stems.isdisjoint(wanted) or any(
        os.path.exists(f"{directory}/{name}/__init__{suffix}") for name in names & wanted for suffix in _SUFFIXES
    )
