"""What names stood for when a module was complete, so that what the kernel changes for itself can be undone."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import Any

from interpreter.pristine import is_ours

_MISSING = object()
#: Beside the standard library: modules of which the kernel replaces methods.
_CLASSES_OF = frozenset(("matplotlib.figure", "matplotlib.pyplot"))
#: Modules whose settings change when they are used for the first time.
_CONTENTS_OF = frozenset(("matplotlib",))
_MOST_ENTRIES = 500


class Snapshots:
    def __init__(self) -> None:
        self._taken: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._containers: list[tuple[Any, Any]] = []

    def take_all(self) -> None:
        for name, module in list(sys.modules.items()):
            self.take(name, module)

    def take(self, name: str, module: Any, *, contents: bool = False) -> None:
        """`contents`: also what is in the module's own lists, sets and dictionaries."""
        if not isinstance(module, ModuleType) or module is sys or module is builtins or name == "__main__":
            return
        if is_ours(name) or id(module) in self._taken:
            return
        self._note(module)
        standard = name.partition(".")[0] in sys.stdlib_module_names
        for value in list(vars(module).values()):
            if isinstance(value, type):
                if (standard or name in _CLASSES_OF) and value.__module__ == name:
                    self._note(value)
            elif (name in _CONTENTS_OF or (contents and standard)) and _is_small_container(value):
                self._containers.append((value, _contents(value)))

    def _note(self, owner: Any) -> None:
        self._taken[id(owner)] = (owner, dict(vars(owner)))

    def changes(self) -> Changes:
        """Between then and now. The snapshots are dropped."""
        names: list[tuple[Any, str, Any]] = []
        for owner, before in self._taken.values():
            now = vars(owner)
            names += [(owner, name, _MISSING) for name in now if name not in before]
            names += [(owner, name, value) for name, value in before.items() if now.get(name, _MISSING) is not value]
        contents = [item for item in self._containers if _contents(item[0]) != item[1]]
        self._taken.clear()
        self._containers.clear()
        return Changes(names, contents)


class Changes:
    def __init__(self, names: list[tuple[Any, str, Any]], contents: list[tuple[Any, Any]]) -> None:
        self._names = names
        self._contents = contents

    def undo(self) -> None:
        for owner, name, value in self._names:
            if value is not _MISSING:
                _set(owner, name, value)
            elif name in vars(owner):
                _unset(owner, name)
        for container, before in self._contents:
            _refill(container, before)


def _is_small_container(value: Any) -> bool:
    return isinstance(value, (dict, list, set)) and len(value) <= _MOST_ENTRIES and value is not vars(builtins)


def _contents(container: Any) -> Any:
    # Of a class of its own too (`RcParams`): without what that does besides.
    if isinstance(container, dict):
        return dict(dict.items(container))
    return list(container) if isinstance(container, list) else set(container)


def _refill(container: Any, before: Any) -> None:
    if isinstance(container, dict):
        dict.clear(container)
        dict.update(container, before)
    else:
        container.clear()
        container.extend(before) if isinstance(container, list) else container.update(before)


def _set(owner: Any, name: str, value: Any) -> None:
    # A module's own `__setattr__` is not asked.
    if isinstance(owner, ModuleType):
        vars(owner)[name] = value
    else:
        setattr(owner, name, value)


def _unset(owner: Any, name: str) -> None:
    if isinstance(owner, ModuleType):
        del vars(owner)[name]
    else:
        delattr(owner, name)
