"""The data directory as a whole: packed for another host, and unpacked there before any code runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any

from supervisor import processes, tree
from supervisor.channel import Channel
from supervisor.files import FileWriter
from supervisor.frames import Header
from supervisor.loop import Loop, Timer
from supervisor.messages import integer, mapping, text

_READ_BYTES = 256 * 1024
_MAX_ENTRIES = 100_000
#: For looking at the directory, of this process' own CPU time.
_SURVEY_SECONDS = 4.0
#: Less than whoever asks is ready to wait.
_PACK_SECONDS = 100.0
_MAX_MESSAGE = 500
_TAR = "/usr/bin/tar"
#: A file that changed while it was read: it is there as it was read.
_CHANGED = 1
#: A file could not be read, and all others were.
_LEFT_OUT = 2


@dataclass(frozen=True)
class Survey:
    """`stamp`: another one whenever anything in the directory is; `None`: it is too large to tell."""

    stamp: str | None
    #: That the files take on the disk.
    size: int


def survey(data: str) -> Survey:
    """Looks at every name once, without following links."""
    digest = hashlib.blake2b(digest_size=16)
    deadline = time.process_time() + _SURVEY_SECONDS
    size = entries = 0
    whole = True
    waiting = [data]
    while waiting and whole:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as found:
                names = sorted(found, key=lambda entry: entry.name)
        except OSError:
            # Of no use to anybody here either.
            digest.update(os.fsencode(f"{directory}\0"))
            continue
        for entry in names:
            entries += 1
            if entries > _MAX_ENTRIES or time.process_time() > deadline:
                whole = False
                break
            if entry.name.startswith(tree.PART_PREFIX) and entry.name.endswith(tree.PART_SUFFIX):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            digest.update(os.fsencode(f"{entry.path}\0{tree.key_of(status)}\0"))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(entry.path)
            elif stat.S_ISREG(status.st_mode):
                size += status.st_blocks * 512
    return Survey(digest.hexdigest() if whole else None, size)


@dataclass
class _Job:
    id: str
    kind: str
    process: subprocess.Popen[bytes]
    #: What it says of failures. A file: nobody has to read it while it runs.
    said: IO[bytes]
    #: Where its archive comes from or goes to; -1 from its end on.
    pipe: int
    timer: Timer | None = None
    limit: int = 0
    stamp: str | None = None
    size: int = 0
    failed: str | None = None
    exit_code: int | None = None


class Workspace:
    """One at a time, while no call runs. The archive is tar's, in pax format."""

    def __init__(self, loop: Loop, channel: Channel, files: FileWriter, data: str) -> None:
        self._loop = loop
        self._channel = channel
        self._files = files
        self._data = data
        self._job: _Job | None = None

    @property
    def busy(self) -> bool:
        return self._job is not None

    # ------------------------------------------------------------ messages

    def read(self, header: Header, *, busy: bool) -> None:
        """Sends the archive as chunks, then the reply. `unless`: the stamp of what the asker has."""
        asked, content = text(header, "msg_id"), mapping(header, "content")
        limit = integer(content, "max_bytes")
        if busy or self._job is not None:
            self._reply("read", asked, {"status": "error", "message": "something runs in this sandbox"})
            return
        found = survey(self._data)
        if found.stamp is not None and found.stamp == content.get("unless"):
            self._reply("read", asked, {"status": "unchanged", "stamp": found.stamp})
            return
        if found.size > limit:
            self._reply("read", asked, {"status": "too_large", "bytes": found.size})
            return
        left_out = f"{tree.PART_PREFIX}*{tree.PART_SUFFIX}"
        job = self._start(
            "read", asked, "--create", "--sparse", f"--exclude={left_out}", "--exclude=./lost+found", "--file=-", "."
        )
        if job is None:
            return
        job.limit, job.stamp = limit, found.stamp
        os.set_blocking(job.pipe, False)
        # Among the outputs of programs: while the channel is full it is not read.
        self._loop.watch(job.pipe, lambda _events: self._on_archive(job), slow=True)
        job.timer = self._loop.after(_PACK_SECONDS, lambda: self._stop(job, "it took too long"))

    def write(self, header: Header, *, busy: bool) -> None:
        """Unpacks the archive that comes as chunks."""
        asked = text(header, "msg_id")
        if busy or self._job is not None:
            self._reply("write", asked, {"status": "error", "message": "something runs in this sandbox"})
            return
        tree.mend_root(self._data)
        self._start("write", asked, "--extract", "--preserve-permissions", "--no-same-owner", "--file=-")

    def chunk(self, parent_id: str, body: bytes, *, last: bool, aborted: bool) -> bool:
        """Whether the chunk belonged to an archive."""
        job = self._job
        if job is None or job.kind != "write" or job.id != parent_id:
            return False
        if aborted:
            self._stop(job, "the sender gave up")
        elif job.pipe >= 0:
            try:
                view = memoryview(body)
                while view:
                    view = view[os.write(job.pipe, view) :]
            except OSError:
                # It ended, and says why.
                self._close_pipe(job)
        if last:
            self._close_pipe(job)
        return True

    def ended(self, pid: int, status: int) -> bool:
        """Whether the process was ours."""
        job = self._job
        if job is None or job.process.pid != pid:
            return False
        job.exit_code = job.process.returncode = os.waitstatus_to_exitcode(status)
        if job.kind == "write":
            self._close_pipe(job)
        if job.pipe < 0:
            self._finish(job)
        return True

    def close(self) -> None:
        if self._job is not None:
            self._stop(self._job, "the sandbox ends")

    # ------------------------------------------------------------ the archive

    def _start(self, kind: str, asked: str, *arguments: str) -> _Job | None:
        said = tempfile.TemporaryFile()
        try:
            process = subprocess.Popen(
                [_TAR, "--format=posix", *arguments],
                stdin=subprocess.PIPE if kind == "write" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if kind == "read" else subprocess.DEVNULL,
                stderr=said,
                cwd=self._data,
                env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                process_group=0,
                bufsize=0,
            )
        except OSError as error:
            said.close()
            self._reply(kind, asked, {"status": "error", "message": f"tar cannot be started: {error.strerror}"})
            return None
        stream = process.stdout if kind == "read" else process.stdin
        assert stream is not None
        # Ours from here on: closed once, by number.
        pipe = os.dup(stream.fileno())
        stream.close()
        self._job = _Job(asked, kind, process, said, pipe)
        return self._job

    def _on_archive(self, job: _Job) -> None:
        try:
            data = os.read(job.pipe, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            job.size += len(data)
            if job.size > job.limit + _READ_BYTES:
                self._stop(job, f"it is larger than {job.limit} bytes")
                return
            self._channel.send({"msg_type": "chunk", "parent_id": job.id}, data)
            self._channel.flush()
            return
        self._close_pipe(job)
        if job.exit_code is not None:
            self._finish(job)

    def _stop(self, job: _Job, why: str) -> None:
        job.failed = job.failed or why
        self._close_pipe(job)
        if job.exit_code is None:
            processes.send(job.process.pid, signal.SIGKILL)
        else:
            self._finish(job)

    def _close_pipe(self, job: _Job) -> None:
        if job.pipe >= 0:
            self._loop.forget(job.pipe)
            os.close(job.pipe)
            job.pipe = -1

    def _finish(self, job: _Job) -> None:
        self._job = None
        self._loop.cancel(job.timer)
        said = self._said(job)
        code = job.exit_code
        enough = (0,) if job.kind == "write" else (0, _CHANGED, _LEFT_OUT)
        fine = job.failed is None and code in enough
        if job.kind == "write":
            # Whatever came of it: it is what the next kernel finds, and nobody's output.
            self._files.known.clear()
            self._files.remember_present()
        else:
            end: dict[str, Any] = {"last": True} if fine else {"aborted": True}
            self._channel.send({"msg_type": "chunk", "parent_id": job.id, "content": end})
        if not fine:
            why = job.failed or said or f"tar ended with {code}"
            self._reply(job.kind, job.id, {"status": "error", "message": why})
        elif job.kind == "write":
            self._reply(job.kind, job.id, {"status": "ok"})
        else:
            content = {"status": "ok", "stamp": job.stamp, "bytes": job.size}
            self._reply(job.kind, job.id, content if code == 0 else {**content, "message": said})
        self._channel.flush()

    def _said(self, job: _Job) -> str:
        with contextlib.closing(job.said) as file:
            file.seek(0)
            return file.read(_MAX_MESSAGE).decode("utf-8", "replace").strip()

    def _reply(self, kind: str, asked: str, content: dict[str, Any]) -> None:
        message = content.get("message")
        if message is not None:
            content["message"] = message[:_MAX_MESSAGE]
        self._channel.send({"msg_type": f"workspace_{kind}_reply", "parent_id": asked, "content": content})
