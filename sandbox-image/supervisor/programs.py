"""Other languages: a script in a child process of its own group."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from supervisor import processes
from supervisor.launch import Launch
from supervisor.loop import Loop


class Program:
    """One run. `close` ends what is left of it and removes its script."""

    def __init__(self, loop: Loop, launched: Launch, on_output: Callable[[str], None]) -> None:
        self._loop = loop
        self._launch = launched
        self.pid = launched.pid
        self.stdout, self.stderr = launched.stdout, launched.stderr
        # No limit on address space, as kernels have it: the runtimes of other languages reserve far more than they
        # use. The watchdog ends what really grows.
        for fd, name in ((self.stdout, "stdout"), (self.stderr, "stderr")):
            os.set_blocking(fd, False)
            loop.watch(fd, lambda _events, name=name: on_output(name), slow=True)  # type: ignore[misc]

    def terminate(self) -> None:
        """To the whole group, as a terminal would: the shell and what it waits for."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        processes.send(self.pid, signal.SIGKILL)

    def reaped(self, status: int) -> None:
        self._launch.reaped(status)

    def release_pipes(self) -> tuple[int, int]:
        """Their reading ends are the caller's now."""
        pipes = (self.stdout, self.stderr)
        self._forget_pipes()
        self._launch.stdout = self._launch.stderr = -1
        return pipes

    def close_pipe(self, name: str) -> None:
        fd = self.stdout if name == "stdout" else self.stderr
        self._loop.forget(fd)

    def close(self) -> None:
        self._forget_pipes()
        self._launch.close()

    def _forget_pipes(self) -> None:
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                self._loop.forget(fd)
        self.stdout = self.stderr = -1
