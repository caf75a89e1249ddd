"""What a fork has to know of the template to become a plain interpreter, gathered while the template starts."""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import NamedTuple

from interpreter.pristine import Pristine
from interpreter.recorder import Recorder
from interpreter.shelf import Shelf
from interpreter.snapshot import Changes, Snapshots

#: Finders of the image's `site/`.
_NOT_FOR_KERNELS = ("PyplotWatch", "MissingWatch")


class TextForm(NamedTuple):
    encoding: str
    errors: str


class Facts:
    """`modules`: a copy of `sys.modules` from the very first statement of the process, since when `recorder` watches.

    To be filled in this order: libraries, then the kernel, then `complete`.
    """

    shelf: Shelf
    changes: Changes

    def __init__(self, modules: dict[str, ModuleType], recorder: Recorder) -> None:
        self.pristine = Pristine(modules)
        # Kernels have their own ways with figures and errors.
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ not in _NOT_FOR_KERNELS]
        self.environ = dict(os.environb)
        #: Where `python3` is found on PATH.
        self.directory = os.path.dirname(sys.executable)
        #: What `site/` has put last on the path, as a user's own place; None where there is none.
        self.packages: str | None = getattr(modules.get("kernelyard_site"), "PACKAGES", None)
        self.prefixes = (sys.prefix, sys.exec_prefix)
        self.unlimited_memory = (resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_DATA))
        self.streams = {name: _form(name) for name in ("stdin", "stdout", "stderr")}
        self._recorder = recorder
        self._snapshots = Snapshots()
        self._libraries: set[str] = set()

    def import_libraries(self, path: str) -> None:
        """Imports what the image lists."""
        try:
            with open(path, encoding="utf-8") as file:
                names = [line.partition("#")[0].strip() for line in file]
        except OSError as error:
            print(f"kernel: {path} cannot be read ({error}): nothing is imported ahead", file=sys.stderr)
            return
        self.import_all(filter(None, names))
        self._libraries = {name.partition(".")[0] for name in self._recorder.loaded}
        self._snapshots.take_all()

    def import_all(self, names: Iterable[str]) -> None:
        """One that is missing or broken is said so and left out."""
        with self._recorder:
            for name in names:
                try:
                    importlib.import_module(name)
                except Exception as error:
                    print(f"kernel: {name} was not imported ahead: {type(error).__name__}: {error}", file=sys.stderr)

    @contextlib.contextmanager
    def kernel(self) -> Iterator[None]:
        """Within it the kernel is imported and made ready: what that changes is not a plain interpreter's."""
        self._recorder.on_complete = lambda name, module: self._snapshots.take(name, module, contents=True)
        with self._recorder:
            yield
        self._recorder.on_complete = None

    def complete(self) -> None:
        self.shelf = Shelf(self._recorder, self.pristine.modules, self._libraries)
        self.changes = self._snapshots.changes()

    @property
    def variables_read(self) -> set[str]:
        """Environment variables that an import looked at: it might have gone otherwise with other values."""
        return self._recorder.environment


def _form(name: str) -> TextForm:
    stream = getattr(sys, name)
    return TextForm(stream.encoding, stream.errors)
