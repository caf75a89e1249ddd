"""File names for what a call leaves behind: numbered in the order of their making, taken without a race."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

_HIGHEST = 100_000


class Names:
    """`stem_N.extension` in one directory; a number is not given twice, whatever the extension."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        #: Told of each file that has been written, and with what.
        self.on_saved: Callable[[str, bytes], None] | None = None
        self._next: dict[str, int] = {}

    def take(self, stem: str, extension: str) -> str | None:
        """Creates the next file and returns its path, or None when the directory cannot take it."""
        try:
            number = self._next.get(stem) or self._first(stem)
        except OSError:
            return None
        while number < _HIGHEST:
            path = os.path.join(self.directory, f"{stem}_{number}.{extension}")
            number += 1
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
            except FileExistsError:
                continue
            except OSError:
                return None
            self._next[stem] = number
            return path
        return None

    def save(self, what: str, path: str | None, content: bytes) -> bool:
        """Writes a file whose name was taken; says on stderr when it could not be, or when there was no name."""
        try:
            if path is None:
                raise OSError
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            print(
                f"[sandbox] A {what} could not be saved: the working directory cannot be written to.", file=sys.stderr
            )
            return False
        if self.on_saved is not None:
            self.on_saved(path, content)
        return True

    def _first(self, stem: str) -> int:
        """After those that are there from before this kernel."""
        form = re.compile(rf"{stem}_(\d{{1,5}})\.\w+")
        numbers = [int(found[1]) for found in map(form.fullmatch, os.listdir(self.directory)) if found]
        return max(numbers, default=0) + 1
