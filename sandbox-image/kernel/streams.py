"""Standard output and error of a kernel."""

from __future__ import annotations

import io
import sys

_ERRORS = {"stdout": "strict", "stderr": "backslashreplace"}


def open_stream(name: str) -> io.TextIOWrapper:
    """Puts a new stream in place. Line by line, so that output of this process and its children stays in order."""
    raw = io.FileIO(1 if name == "stdout" else 2, "wb", closefd=False)
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors=_ERRORS[name], line_buffering=True)
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)
    return stream
