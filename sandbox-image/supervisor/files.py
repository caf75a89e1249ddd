"""Files that the gateway puts into the data directory, and what is known about those that are there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import zlib
from dataclasses import dataclass
from typing import Any

from supervisor import tree
from supervisor.channel import Channel
from supervisor.frames import Header
from supervisor.messages import BadMessage, mapping, text
from supervisor.walk import walk

#: Writes that may be open at once; the gateway sends one after another.
_MAX_OPEN = 64
_MAX_KNOWN = 100_000


@dataclass
class Known:
    """A file as it was last seen: `checksum` only for those that the gateway wrote."""

    key: tree.Key
    checksum: int | None = None
    read_only: bool = False


@dataclass
class _Write:
    path: str
    segments: list[str]
    size: int | None
    read_only: bool
    parent: int = -1
    fd: int = -1
    temporary: str = ""
    written: int = 0
    checksum: int = 0
    failed: bool = False


class FileWriter:
    """Writes through a hidden temporary name, so that a half-written file is never seen under its own."""

    def __init__(self, data: str, channel: Channel) -> None:
        self._data = data
        self._channel = channel
        self._writes: dict[str, _Write] = {}
        #: By the name on disk.
        self.known: dict[str, Known] = {}
        #: Inputs of the next call that could not be put in place, and why.
        self.left_out: dict[str, str] = {}

    @property
    def writing(self) -> bool:
        return bool(self._writes)

    def remember_present(self) -> None:
        """A session's directory may hold files from before this process: they are nobody's output."""
        try:
            found = walk(self._data, [], lambda _path, _reason, _loss: None, max_depth=64, max_path_bytes=4096)
        except OSError:
            return
        for path, status in found.files.items():
            self.known[path] = Known(tree.key_of(status))

    def remember(self, path: str, known: Known) -> None:
        if len(self.known) < _MAX_KNOWN or path in self.known:
            self.known[path] = known

    def tell_left_out(self) -> list[str]:
        return [f"The file {path} was not put in place: {reason}." for path, reason in self.left_out.items()]

    # ------------------------------------------------------------ messages

    def begin(self, header: Header) -> None:
        message_id = text(header, "msg_id")
        content = mapping(header, "content")
        size = content.get("size")
        if size is not None and (not isinstance(size, int) or size < 0):
            raise BadMessage("file_write_request: `size` must be a count or null")
        if message_id in self._writes or len(self._writes) >= _MAX_OPEN:
            raise BadMessage("file_write_request: too many writes at once, or an id used twice")
        write = _Write(text(content, "path"), [], size, bool(content.get("read_only")))
        self._writes[message_id] = write
        try:
            self._open(write)
        except (tree.BadPath, OSError) as error:
            self._fail(message_id, write, error)

    def chunk(self, parent_id: str, body: bytes, *, last: bool, aborted: bool) -> bool:
        """Whether the chunk belonged to a file."""
        write = self._writes.get(parent_id)
        if write is None:
            return False
        if not write.failed:
            try:
                self._append(write, body)
                if aborted:
                    raise tree.BadPath("the sender gave up")
                if last:
                    self._commit(write)
            except (tree.BadPath, OSError) as error:
                self._fail(parent_id, write, error)
        if last or aborted:
            del self._writes[parent_id]
            if not write.failed:
                self._reply(parent_id, {"status": "ok"})
        return True

    # ------------------------------------------------------------ one file

    def _open(self, write: _Write) -> None:
        write.segments = tree.split(write.path)
        tree.mend_root(self._data)
        write.parent = tree.open_parent(self._data, write.segments, create=True)
        try:
            status = os.stat(write.segments[-1], dir_fd=write.parent, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(status.st_mode):
                raise tree.PlaceTaken(f"{write.path} is a directory")
        write.temporary = f"{tree.PART_PREFIX}{secrets.token_hex(8)}{tree.PART_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        write.fd = os.open(write.temporary, flags, 0o600, dir_fd=write.parent)

    def _append(self, write: _Write, body: bytes) -> None:
        view = memoryview(body)
        while view:
            view = view[os.write(write.fd, view) :]
        write.written += len(body)
        write.checksum = zlib.crc32(body, write.checksum)
        if write.size is not None and write.written > write.size:
            raise tree.BadPath(f"more than the announced {write.size} bytes came")

    def _commit(self, write: _Write) -> None:
        if write.size is not None and write.written != write.size:
            raise tree.BadPath(f"{write.written} of the announced {write.size} bytes came")
        os.fchmod(write.fd, 0o444 if write.read_only else 0o644)
        name = write.segments[-1]
        os.rename(write.temporary, name, src_dir_fd=write.parent, dst_dir_fd=write.parent)
        write.temporary = ""
        self.left_out.pop("/".join(write.segments), None)
        key = tree.key_of(os.fstat(write.fd))
        self.remember("/".join(write.segments), Known(key, write.checksum, write.read_only))
        self._close(write)

    def _close(self, write: _Write) -> None:
        if write.temporary:
            with contextlib.suppress(OSError):
                os.unlink(write.temporary, dir_fd=write.parent)
            write.temporary = ""
        for fd in (write.fd, write.parent):
            if fd >= 0:
                os.close(fd)
        write.fd = write.parent = -1

    def _fail(self, message_id: str, write: _Write, error: tree.BadPath | OSError) -> None:
        """Exactly one reply per request; what still comes of its bytes is swallowed."""
        write.failed = True
        self._close(write)
        reason = _reason(error)[:500]
        content: dict[str, Any] = {"status": "error", "message": reason}
        if isinstance(error, (tree.PlaceTaken, OSError)):
            content["left_out"] = "taken" if isinstance(error, tree.PlaceTaken) else "unwritable"
            self.left_out["/".join(write.segments)] = reason
        self._reply(message_id, content)

    def _reply(self, parent_id: str, content: dict[str, Any]) -> None:
        self._channel.send({"msg_type": "file_write_reply", "parent_id": parent_id, "content": content})


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
