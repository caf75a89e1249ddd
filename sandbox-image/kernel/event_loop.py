"""One event loop for all cells of a kernel.

A cell that awaits runs on it as a whole. A cell that does not finds it as the running loop all the same, as in
Jupyter, so that tasks can be made; and unlike there, `asyncio.run` and loops of the code's own work inside of cells.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import selectors
from asyncio import events
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class CellLoop(asyncio.SelectorEventLoop):
    """Takes no descriptor before it runs: a kernel that never awaits has none, and a script's numbers are its own."""

    def __init__(self) -> None:
        super().__init__(selectors.PollSelector())

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None

    def _close_self_pipe(self) -> None:
        if self._ssock is not None:
            super()._close_self_pipe()

    def run_forever(self) -> None:
        if self._ssock is None and not self.is_closed():
            super()._make_self_pipe()  # type: ignore[misc]
        super().run_forever()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), (SystemExit, KeyboardInterrupt)):
            super().call_exception_handler(context)
        # Those two ended the cell, and have been told.

    @property
    def has_work(self) -> bool:
        return bool(self._ready or self._scheduled)  # type: ignore[attr-defined]


def allow_loops_in_cells() -> None:
    """What starts another loop, or this one, within a cell: our loop steps aside meanwhile."""
    asyncio.run = asyncio.runners.run = _aside(asyncio.run)
    for owner, names in (
        (asyncio.Runner, ("run", "close")),
        (asyncio.BaseEventLoop, ("run_until_complete", "run_forever")),
    ):
        for name in names:
            setattr(owner, name, _aside(getattr(owner, name)))


def _aside(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def aside(*args: Any, **kwargs: Any) -> Any:
        running = events._get_running_loop()
        if not isinstance(running, CellLoop):
            return function(*args, **kwargs)
        events._set_running_loop(None)
        try:
            return function(*args, **kwargs)
        finally:
            events._set_running_loop(running)

    return aside


class Cells:
    """The loop, from the cell's point of view, and the context that all cells share."""

    def __init__(self) -> None:
        self._loop: CellLoop | None = None
        self._context = contextvars.copy_context()

    def _open(self) -> CellLoop:
        if self._loop is None or self._loop.is_closed():
            self._loop = CellLoop()
        return self._loop

    def show_as_running(self) -> CellLoop:
        """For code that does not await; `no_longer_shown` follows."""
        loop = self._open()
        events._set_running_loop(loop)
        return loop

    @staticmethod
    def no_longer_shown(loop: CellLoop) -> None:
        events._set_running_loop(None)
        if loop.has_work and not loop.is_closed():
            # A task begins with the cell that made it, and goes on for a turn with each that follows.
            loop.call_soon(loop.stop)
            loop.run_forever()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Until it is over (`StopIteration`) or asks for the loop."""
        self._context.run(coroutine.send, None)

    def run(self, coroutine: Coroutine[Any, Any, Any], *, interrupted: Callable[[], None]) -> Any:
        """To its end. `interrupted` is told before a coroutine that was broken off may clean up."""
        loop = self._open()
        task = loop.create_task(coroutine, context=self._context)
        try:
            return loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                # Let the code clean up, and do not resume it in a later cell.
                interrupted()
                task.cancel()
                with suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)
            raise

    def close(self) -> None:
        """As `asyncio.run` ends: tasks cancelled, generators and the executor shut down."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        runner = asyncio.Runner(loop_factory=lambda: loop)
        runner.get_loop()
        runner.close()
