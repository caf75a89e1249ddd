"""An interpreter as it is before its program begins: taken down at the template's start, given back to a fork."""

from __future__ import annotations

import _warnings
import builtins
import sys
from types import ModuleType
from typing import Any

_MISSING = object()
_OURS = ("interpreter", "kernel")


def is_ours(name: str) -> bool:
    """Whether a module of this name is the template's own, which user code may have one of as well."""
    return name.partition(".")[0] in _OURS


def _restore(namespace: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in namespace if name not in before]:
        del namespace[name]
    for name, value in before.items():
        if namespace.get(name, _MISSING) is not value:
            namespace[name] = value


class Pristine:
    """`modules`: a copy of `sys.modules` from the very first statement."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self.modules = {name: module for name, module in modules.items() if name != "__main__"}
        #: Without the directory of the template's own program, which stands first.
        self.path = sys.path[1:]
        self._meta_path = list(sys.meta_path)
        self._path_hooks = list(sys.path_hooks)
        self._builtins = dict(vars(builtins))
        self._sys = dict(vars(sys))
        self._filters = list(_warnings.filters)
        self._recursion_limit = sys.getrecursionlimit()
        self._switch_interval = sys.getswitchinterval()

    def give_back(self, importers: dict[str, Any]) -> None:
        """Everything but the modules. `importers`: finders for directories, as `sys.path_importer_cache` has them."""
        _restore(vars(builtins), self._builtins)
        _restore(vars(sys), self._sys)
        sys.meta_path[:] = self._meta_path
        sys.path_hooks[:] = self._path_hooks
        sys.path_importer_cache.clear()
        sys.path_importer_cache.update(importers)
        _warnings.filters[:] = self._filters
        _warnings._filters_mutated()  # type: ignore[attr-defined]
        sys.setrecursionlimit(self._recursion_limit)
        sys.setswitchinterval(self._switch_interval)
        sys.settrace(None)
        sys.setprofile(None)
