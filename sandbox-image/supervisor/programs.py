"""Other languages: a script in a child process of its own session."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from supervisor import processes
from supervisor.languages import Language
from supervisor.loop import Loop

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _as_written_here(language: Language, code: bytes) -> bytes:
    """A shell takes a byte order mark and the line ends of another system for part of its words.

    A text that has both kinds of line ends means what it says. Zero bytes are no text for Bash: it leaves them out.
    """
    if language.id != "bash":
        return code
    code = code.removeprefix(_BYTE_ORDER_MARK).replace(b"\0", b"")
    if code.count(b"\r\n") == code.count(b"\n"):
        return code.replace(b"\r\n", b"\n")
    return code


def _command_line(language: Language, script: Path, args: list[str]) -> list[str]:
    """Bash names the file that it reads in its messages and as `$0`: it is to say `bash`, as at a prompt."""
    if language.id != "bash":
        return [*language.command, str(script), *args]
    read = f'IFS= read -rd "" REPLY < {shlex.quote(str(script))}; eval "$REPLY"'
    return [*language.command, "-c", read, "bash", *args]


class Program:
    """One run. `close` ends what is left of it and removes its script."""

    def __init__(
        self,
        loop: Loop,
        language: Language,
        code: bytes,
        args: list[str],
        data: str,
        environment: dict[str, str],
        on_output: Callable[[str], None],
    ) -> None:
        """Raises `OSError` when the program cannot be started."""
        self._loop = loop
        self._directory = tempfile.mkdtemp(prefix=".kernelyard-")
        self.stdout = self.stderr = -1
        out_write = err_write = -1
        try:
            script = Path(self._directory, f"main.{language.extension}")
            script.write_bytes(_as_written_here(language, code))
            self.stdout, out_write = os.pipe()
            self.stderr, err_write = os.pipe()
            self._process = subprocess.Popen(
                _command_line(language, script, args),
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                cwd=data,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            self._close_pipes()
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        finally:
            for fd in (out_write, err_write):
                if fd >= 0:
                    os.close(fd)
        self.pid = self._process.pid
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
        self._process.returncode = status

    def release_pipes(self) -> tuple[int, int]:
        """Their reading ends are the caller's now."""
        pipes = (self.stdout, self.stderr)
        for fd in pipes:
            self._loop.forget(fd)
        self.stdout = self.stderr = -1
        return pipes

    def close_pipe(self, name: str) -> None:
        fd = self.stdout if name == "stdout" else self.stderr
        self._loop.forget(fd)

    def close(self) -> None:
        self._close_pipes()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _close_pipes(self) -> None:
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                self._loop.forget(fd)
                os.close(fd)
        self.stdout = self.stderr = -1
