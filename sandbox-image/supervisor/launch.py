"""A script and the process that runs it; and a shell that is started ahead and waits for its script."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from supervisor import processes
from supervisor.languages import Language

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Read by bash before it opens its script. What the waiting shell has from an earlier time is made new.
_GATE = """\
IFS=' ' read -r -u {fd} RANDOM BASH_ENV || exit 1
exec {fd}<&-
SECONDS=0
if [[ $BASH_ENV ]]; then . "$BASH_ENV"; else unset BASH_ENV; fi
: {command}
"""


class Launch:
    """A script's directory, the process that runs it, and the reading ends of its output."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self.directory = Path(tempfile.mkdtemp(prefix=".kernelyard-"))
        self._script = self.directory / f"main.{language.extension}"
        self._process: subprocess.Popen[bytes] | None = None
        self.stdout = self.stderr = -1

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def write(self, code: bytes) -> None:
        self._script.write_bytes(_as_written_here(self._language, code))

    def start(self, args: list[str], data: str, environment: dict[str, str], inherited: int = -1) -> None:
        """`inherited`: a descriptor that the process is to have as well. Raises `OSError` when it cannot be started."""
        self.stdout, out_write = os.pipe()
        self.stderr, err_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                _command_line(self._language, self._script, args),
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                cwd=data,
                env=environment,
                # In our session: what the template forks for it can join its group, and get its signals.
                process_group=0,
                pass_fds=() if inherited < 0 else (inherited,),
            )
        finally:
            os.close(out_write)
            os.close(err_write)

    def reaped(self, status: int) -> None:
        assert self._process is not None
        self._process.returncode = status

    def close(self) -> None:
        """Closes the pipes and removes the script; the process is left alone."""
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1
        shutil.rmtree(self.directory, ignore_errors=True)


def launch(language: Language, code: bytes, args: list[str], data: str, environment: dict[str, str]) -> Launch:
    """Raises `OSError` when the process cannot be started."""
    made = Launch(language)
    try:
        made.write(code)
        made.start(args, data, environment)
    except BaseException:
        made.close()
        raise
    return made


class ReadyShell:
    """A bash that has started and waits. Starting one takes most of what a short script takes."""

    def __init__(self, language: Language, data: str, environment: dict[str, str]) -> None:
        """Raises `OSError` when it cannot be started."""
        self._launch = Launch(language)
        reading, self._gate = os.pipe()
        try:
            script = self._launch.directory / "gate"
            script.write_text(_GATE.format(fd=reading, command=language.command[0]))
            self._launch.start([], data, {**environment, "BASH_ENV": str(script)}, inherited=reading)
        except BaseException:
            os.close(self._gate)
            self._launch.close()
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        return self._launch.pid

    def run(self, code: bytes, prelude: str) -> Launch:
        """Lets it run. `prelude`: a script to be read first, or empty. Raises `OSError` when it cannot be used."""
        try:
            self._launch.write(code)
            os.write(self._gate, f"{secrets.randbelow(1 << 15)} {prelude}\n".encode())
        except OSError:
            self.close()
            raise
        os.close(self._gate)
        # Somebody may have stopped it meanwhile.
        processes.send(self.pid, signal.SIGCONT)
        return self._launch

    def close(self) -> None:
        """Ends it."""
        processes.send(self.pid, signal.SIGKILL)
        self.forget()

    def forget(self) -> None:
        """It has ended."""
        os.close(self._gate)
        self._launch.close()


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
