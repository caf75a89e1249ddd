"""Standard output and error of a kernel, which user code cannot break.

Whatever a call does to `sys.stdout` or to descriptor 1, the objects stay usable: loggers that hold them go on in the
next call. They are the standard library's own classes; only what would close or take away a layer is replaced.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

_NUMBERS = {"stdout": 1, "stderr": 2}
_MODE = "w"
_OWN_ATTRIBUTES = {"mode", "reconfigured"}


class _Raw(io.FileIO):
    def close(self) -> None:
        """The descriptor is everybody's."""


class _Bytes(io.BufferedWriter):
    def close(self) -> None:
        self.flush()

    def detach(self) -> io.RawIOBase:
        self.flush()
        return _raw(self.fileno(), self.name)


class Stream(io.TextIOWrapper):
    """Line by line, so that output of this process and its children stays in order."""

    reconfigured = False

    def close(self) -> None:
        self.flush()

    def detach(self) -> Any:
        """As the original: a layer below to write to. Another one, so that this stream keeps its own."""
        self.flush()
        return _Bytes(_raw(self.fileno(), self.name))

    def reconfigure(self, **options: Any) -> None:
        super().reconfigure(**options)
        self.reconfigured = True


def _raw(fd: int, name: str) -> _Raw:
    raw = _Raw(fd, "wb", closefd=False)
    raw.name = name
    return raw


def _options(name: str) -> dict[str, Any]:
    # What the interpreter chose at its start: it depends on the locale.
    chosen = getattr(sys, f"__{name}__")
    return {"encoding": chosen.encoding, "errors": chosen.errors, "line_buffering": True}


class Streams:
    """The two streams, and a way back to them after each call."""

    def __init__(self) -> None:
        self._options = {name: _options(name) for name in _NUMBERS}
        self._streams: dict[str, io.TextIOWrapper] = {}
        for name, fd in _NUMBERS.items():
            self._streams[name] = Stream(_Bytes(_raw(fd, f"<{name}>")), **self._options[name])
            self._streams[name].mode = _MODE  # type: ignore[misc]
        self.put_back()

    def become_plain(self) -> None:
        """For a program that ends with its call: the classes and the meaning that a script finds."""
        for name, fd in _NUMBERS.items():
            raw = io.FileIO(fd, "wb", closefd=False)
            raw.name = f"<{name}>"
            self._streams[name] = io.TextIOWrapper(io.BufferedWriter(raw), **self._options[name])
            self._streams[name].mode = _MODE  # type: ignore[misc]
        self.put_back()

    def put_back(self) -> None:
        """Whatever took their place is flushed and let go; nothing is left in them."""
        self.flush()
        for name, stream in self._streams.items():
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
            if vars(stream).keys() - _OWN_ATTRIBUTES:
                # Methods that code put over those of the class.
                for attribute in vars(stream).keys() - _OWN_ATTRIBUTES:
                    delattr(stream, attribute)
                flush(stream)
            if isinstance(stream, Stream) and stream.reconfigured:
                stream.reconfigure(**self._options[name], newline=None, write_through=False)
                stream.reconfigured = False

    def flush(self) -> None:
        """Also what code has put in their place. What is in the way of it is the code's own affair."""
        for name, stream in self._streams.items():
            shown = getattr(sys, name, None)
            if shown is not stream:
                flush(shown)
            flush(stream)

    def empty(self, nowhere: int) -> None:
        """What could not be written will never be. `nowhere`: a descriptor that takes everything."""
        for name, stream in self._streams.items():
            if flush(stream) is not None:
                os.dup2(nowhere, _NUMBERS[name])
                flush(stream)


def flush(stream: Any) -> Exception | None:
    """Why it could not be flushed: closed, redirected, full, not a stream at all."""
    try:
        stream.flush()
    except Exception as error:
        return error
    return None
