"""File names for what a call leaves behind: the first free number, taken without a race."""

from __future__ import annotations

import os

_HIGHEST = 10_000


def free_path(directory: str, stem: str, extension: str) -> str | None:
    """Creates and returns `stem_N.extension`, or None when the directory cannot take it."""
    for number in range(1, _HIGHEST):
        path = os.path.join(directory, f"{stem}_{number}.{extension}")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            continue
        except OSError:
            return None
        return path
    return None
