"""What a call shows while it runs: its kernel names a file, and the gateway gets the file at once, within limits."""

from __future__ import annotations

import os
import re
import stat
import zlib

from supervisor.frames import Header
from supervisor.messages import integer

#: By `kernel/displays.py`. Anything else is not from our code.
_NAME = re.compile(r"(plot|display)_[0-9]{1,6}\.[a-z0-9]{1,8}")


class Shown:
    """Of one call. `left`: how many may come."""

    def __init__(self, limits: Header) -> None:
        self.left = integer(limits, "max_files")
        self._file_bytes = integer(limits, "max_file_bytes")
        self._bytes = integer(limits, "max_total_bytes")

    def take(self, data: str, name: str, size: object, checksum: object) -> bytes | None:
        """The contents; None for what is too large, too much, no such file, or written anew since it was told of."""
        if self.left <= 0 or _NAME.fullmatch(name) is None:
            return None
        self.left -= 1
        try:
            # Code may have put a pipe, a device or a link there meanwhile.
            fd = os.open(os.path.join(data, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size or size == 0:
                return None
            if status.st_size > min(self._file_bytes, self._bytes):
                return None
            content = os.read(fd, status.st_size)
        except OSError:
            return None
        finally:
            os.close(fd)
        if zlib.crc32(content) != checksum:
            return None
        self._bytes -= len(content)
        return content
