"""Watches the template's imports: which module imports which, and what each does outside itself.

Imported before anything else, it needs nothing that imports more: what it missed would be in every program at once.
"""

from __future__ import annotations

import _frozen_importlib
import atexit
import builtins
import os
import sys
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, TypeAlias

    #: Something that a module did outside itself when it was run, to be done again.
    Effect: TypeAlias = Callable[[], object]

_bootstrap: Any = _frozen_importlib
_warnings: Any = warnings


class Recorder:
    """A context: watches while it is entered. Threads are not told apart: the template has one.

    `startup`: the modules of a plain start. Those that came since are ours, or import nothing.
    """

    def __init__(self, startup: Mapping[str, ModuleType]) -> None:
        #: When each module was begun, as a number.
        self.loaded: dict[str, int] = {}
        #: How many modules had been begun when this one was complete.
        self.complete: dict[str, int] = {}
        self.imports: dict[str, set[str]] = {}
        #: By module; with a number for the order in which all of them happened.
        self.effects: dict[str, list[tuple[int, Effect]]] = {}
        self._effects = 0
        #: Names of environment variables that were looked at.
        self.environment: set[str] = set()
        #: Told of every module that is complete.
        self.on_complete: Callable[[str, ModuleType], None] | None = None
        self._loading: list[str] = []
        self._filters: list[Any] = []
        self._undo: list[tuple[Any, str, Any]] = []
        for name in sys.modules:
            if name not in startup and name != "__main__":
                self.loaded[name] = len(self.loaded)
                self.complete[name] = len(self.loaded)

    def __enter__(self) -> None:
        self._replace(builtins, "__import__", self._import)
        self._replace(_bootstrap, "_gcd_import", self._import_absolute)
        self._replace(_bootstrap, "_load_unlocked", self._load)
        self._replace(atexit, "register", self._register_exit)
        self._replace(warnings, "_add_filter", self._add_filter)
        self._replace(os._Environ, "__getitem__", self._look_up)

    def __exit__(self, *_: object) -> None:
        for owner, name, value in reversed(self._undo):
            setattr(owner, name, value)
        self._undo.clear()
        self._filters[:] = _warnings.filters

    def _replace(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        self._undo.append((owner, name, original))
        setattr(owner, name, wrap(original))

    # ------------------------------------------------------------ imports

    def _import(self, original: Any) -> Any:
        def __import__(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
            module = original(name, globals, locals, fromlist, level)
            if self._loading:
                # A relative import has a list of names, and gives the module that they are taken from.
                self._note(module.__name__ if level else name, fromlist)
            return module

        return __import__

    def _import_absolute(self, original: Any) -> Any:
        def _gcd_import(name: str, package: str | None = None, level: int = 0) -> Any:
            module = original(name, package, level)
            if self._loading:
                self._note(module.__name__, ())
            return module

        return _gcd_import

    def _note(self, name: str, fromlist: Iterable[str] | None) -> None:
        names = self.imports.setdefault(self._loading[-1], set())
        names.add(name)
        names.update(module for item in fromlist or () if (module := f"{name}.{item}") in sys.modules)

    def _load(self, original: Any) -> Any:
        def _load_unlocked(spec: ModuleSpec) -> ModuleType:
            name = spec.name
            if self._loading:
                self.imports.setdefault(self._loading[-1], set()).add(name)
            self.loaded.setdefault(name, len(self.loaded))
            finders = list(sys.meta_path)
            self._loading.append(name)
            try:
                module: ModuleType = original(spec)
                for finder in sys.meta_path:
                    if finder not in finders:
                        self._effect(_put_back_finder(finder))
            finally:
                self._loading.pop()
                self.complete[name] = len(self.loaded)
            if self.on_complete is not None:
                self.on_complete(name, module)
            return module

        return _load_unlocked

    # ------------------------------------------------------------ what modules do outside themselves

    def _effect(self, effect: Effect) -> None:
        if self._loading:
            self._effects += 1
            self.effects.setdefault(self._loading[-1], []).append((self._effects, effect))

    def _register_exit(self, original: Any) -> Any:
        def register(function: Any, /, *args: Any, **kwargs: Any) -> Any:
            self._effect(lambda: original(function, *args, **kwargs))
            return original(function, *args, **kwargs)

        return register

    def _add_filter(self, original: Any) -> Any:
        def _add_filter(*item: Any, append: bool) -> None:
            original(*item, append=append)
            # One that was put in for a moment only (`catch_warnings`) is not in force when the imports are over.
            self._effect(lambda: item in self._filters and original(*item, append=append))

        return _add_filter

    def _look_up(self, original: Any) -> Any:
        def __getitem__(environment: Any, key: Any) -> Any:
            if isinstance(key, str):
                self.environment.add(key)
            return original(environment, key)

        return __getitem__


def _put_back_finder(finder: Any) -> Effect:
    def put_back() -> None:
        if finder not in sys.meta_path:
            sys.meta_path.append(finder)

    return put_back
