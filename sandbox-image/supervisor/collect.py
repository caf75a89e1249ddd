"""What became of the data directory during a call, and the bytes of what is new."""

from __future__ import annotations

import os
import re
import time
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from supervisor import tree
from supervisor.channel import Channel
from supervisor.files import FileWriter, Known
from supervisor.frames import Header
from supervisor.messages import integer, texts
from supervisor.walk import MAX_ENTRIES, MAX_SKIPPED, Found, Loss, printable, walk

_CHUNK_BYTES = 1024 * 1024
#: Frames are written out when this much is queued, so that many small files cost few system calls.
_FLUSH_ABOVE = 256 * 1024
_CLOCK_GRAIN_NS = 50_000_000
#: Where the kernel puts a program that looks for its own file; see `kernel/script.py`.
_PROGRAM_NAME = re.compile(r"main(_\d+)?\.py")


@dataclass(frozen=True)
class Rules:
    inputs: list[str]
    max_files: int
    max_file_bytes: int
    max_total_bytes: int
    max_depth: int
    max_path_bytes: int

    @staticmethod
    def parse(content: Header) -> Rules:
        return Rules(
            [unicodedata.normalize("NFC", path) for path in texts(content, "inputs")],
            integer(content, "max_files"),
            integer(content, "max_file_bytes"),
            integer(content, "max_total_bytes"),
            integer(content, "max_depth"),
            integer(content, "max_path_bytes"),
        )


@dataclass(frozen=True)
class Output:
    """`disk` is the name as the program wrote it, `path` the same in NFC."""

    disk: str
    path: str
    change: str


@dataclass(frozen=True)
class Skipped:
    path: str
    reason: str
    loss: Loss | None


@dataclass
class Report:
    unchanged: list[str] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    #: The first of them by name; all that somebody may wait for are counted in `lost`.
    skipped: list[Skipped] = field(default_factory=list)
    lost: Counter[Loss] = field(default_factory=Counter)
    #: The files that were sent are for the next call to report.
    taken_back: bool = False

    def skip(self, path: str, reason: str, loss: Loss | None) -> None:
        if loss is not None:
            self.lost[loss] += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(printable(path), reason[:200], loss))


class Collector:
    """Compares the tree with what was known before the call, then streams what differs as fast as it is taken."""

    def __init__(self, data: str, channel: Channel, files: FileWriter) -> None:
        self._data = data
        self._channel = channel
        self._files = files
        #: Hashes of names that were told: a directory of the largest size that is looked through fits.
        self._told: set[int] = set()
        #: What was known of the files that the last call reported.
        self._before: dict[str, Known | None] = {}
        self._empty_key: tree.Key | None = None
        self._buffer = bytearray(_CHUNK_BYTES)

    # ------------------------------------------------------------ comparing

    def compare(self, rules: Rules, program: bytes | None) -> tuple[list[Output], Report]:
        """`program`: the text that ran, which may have been put into a file for its own use."""
        report = Report()
        self._before = {}
        inputs = set(rules.inputs)
        try:
            found = self._walk(rules, report)
        except OSError as error:
            found = Found()
            report.skip(".", f"the data directory cannot be read: {error.strerror}", None)

        outputs: list[tuple[int, Output]] = []
        present: set[str] = set()
        for disk, status in found.files.items():
            path = unicodedata.normalize("NFC", disk)
            if path in present:
                if self._is_news(disk):
                    report.skip(disk, "another file has the same name in Unicode's NFC form", "path")
                continue
            present.add(path)
            known = self._files.known.get(disk)
            changed = known is None or known.key != tree.key_of(status)
            if known is None and program is not None and self._holds(disk, status, program):
                continue
            if known is not None and changed and self._same_content(disk, known, status):
                changed = False
            if changed and known is not None and known.read_only:
                # It is the gateway's own: whatever was done to the copy, the original stays.
                changed = False
                known.key = tree.key_of(status)
            if path in inputs:
                (report.modified if changed else report.unchanged).append(path)
            if changed:
                change = "modified" if known is not None or path in inputs else "created"
                outputs.append((status.st_mtime_ns, Output(disk, path, change)))
        for path in rules.inputs:
            if path not in present:
                # What could not be put in place is as it was, wherever the gateway has it.
                (report.unchanged if path in self._files.left_out else report.deleted).append(path)
        if found.complete:
            for disk in [disk for disk in self._files.known if disk not in found.files]:
                del self._files.known[disk]
        outputs.sort(key=lambda item: (item[0], item[1].path))
        return self._within_limits([output for _, output in outputs], found, rules, report), report

    def _holds(self, disk: str, status: os.stat_result, program: bytes) -> bool:
        if status.st_size != len(program) or not _PROGRAM_NAME.fullmatch(disk):
            return False
        try:
            fd = tree.open_file(self._data, disk.split("/"))
        except (OSError, tree.BadPath):
            return False
        with open(fd, "rb") as file:
            return file.read(len(program) + 1) == program

    def _walk(self, rules: Rules, report: Report) -> Found:
        """The usual case is nothing there before and nothing there now: one look at the directory tells."""
        status = os.stat(self._data)
        tree.mend_root(self._data, status)
        key = tree.key_of(status)
        if key == self._empty_key:
            return Found()

        def skip(path: str, reason: str, loss: Loss | None) -> None:
            # What a session had before this process, within other bounds, is nobody's output.
            old = loss in ("depth", "path") and path in self._files.known
            if self._is_news(path) and not old:
                report.skip(path, reason, loss)

        found = walk(self._data, rules.inputs, skip, max_depth=rules.max_depth, max_path_bytes=rules.max_path_bytes)
        # Times have the grain of the clock's tick: a directory changed just now may change again unnoticed.
        settled = time.time_ns() - max(key[2], key[3]) > _CLOCK_GRAIN_NS
        self._empty_key = key if settled and found.entries == 0 else None
        return found

    def _is_news(self, path: str) -> bool:
        """Once per name: a link that stays in a session is not worth a word at every call."""
        name = hash(path)
        if name in self._told:
            return False
        if path != "." and len(self._told) < MAX_ENTRIES:
            self._told.add(name)
        return True

    def _same_content(self, disk: str, known: Known, status: os.stat_result) -> bool:
        """A `touch` or `chmod` of an input is no change. Reads only what was written for a call and kept its size."""
        if known.checksum is None or known.key[1] != status.st_size:
            return False
        try:
            fd = tree.open_file(self._data, disk.split("/"))
        except (OSError, tree.BadPath):
            return False
        try:
            checksum = 0
            with memoryview(self._buffer) as view:
                while size := os.readv(fd, [view]):
                    checksum = zlib.crc32(view[:size], checksum)
            opened = os.fstat(fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        if checksum != known.checksum or tree.key_of(opened) != tree.key_of(status):
            return False
        known.key = tree.key_of(status)
        return True

    def _within_limits(self, outputs: list[Output], found: Found, rules: Rules, report: Report) -> list[Output]:
        taken: list[Output] = []
        total = 0
        for output in outputs:
            status = found.files[output.disk]
            left: tuple[str, Loss] | None = None
            if status.st_size > rules.max_file_bytes:
                left = f"{status.st_size} bytes: larger than {rules.max_file_bytes}", "size"
            elif len(taken) >= rules.max_files:
                left = f"more than {rules.max_files} new or changed files", "max_files"
            elif total + status.st_size > rules.max_total_bytes:
                left = f"together more than {rules.max_total_bytes} bytes", "size"
            if left is None:
                taken.append(output)
                total += status.st_size
            else:
                report.skip(output.path, *left)
                self._remember(output.disk, status)
        return taken

    def _remember(self, disk: str, status: os.stat_result) -> None:
        known = self._before[disk] = self._files.known.get(disk)
        read_only = known is not None and known.read_only
        self._files.remember(disk, Known(tree.key_of(status), None, read_only))

    def take_back(self, report: Report) -> None:
        """Nobody took the last call's files: they are as new as before it."""
        report.taken_back = True
        for disk, known in self._before.items():
            if known is None:
                self._files.known.pop(disk, None)
            else:
                self._files.known[disk] = known
        self._before = {}

    # ------------------------------------------------------------ streaming

    def stream(
        self, parent_id: str, rules: Rules, outputs: list[Output], report: Report, done: Callable[[], None]
    ) -> None:
        """Sends the files one after another; continues whenever the channel has taken what was sent."""
        sender = _Sender(self, parent_id, rules, outputs, report)

        def advance() -> None:
            while not self._channel.blocked:
                if not sender.step():
                    done()
                    return
            self._channel.on_drained.append(advance)

        advance()


class _Sender:
    """One step sends at most one frame of content."""

    def __init__(
        self, collector: Collector, parent_id: str, rules: Rules, outputs: list[Output], report: Report
    ) -> None:
        self._rules = rules
        self._room = rules.max_total_bytes
        self._collector = collector
        self._channel = collector._channel
        self._parent_id = parent_id
        self._report = report
        self._waiting = list(reversed(outputs))
        self._number = 0
        self._fd = -1
        self._left = 0
        self._id = ""

    def step(self) -> bool:
        """Whether there is more to do."""
        if self._fd < 0 and not self._open_next():
            return False
        buffer = self._collector._buffer
        want = min(self._left, len(buffer))
        # The buffer is used again only when nothing of it waits in the channel.
        view = memoryview(buffer)[:want]
        try:
            size = os.readv(self._fd, [view]) if want else 0
        except OSError:
            size = 0
        self._left -= size
        header: dict[str, Any] = {"msg_type": "chunk", "parent_id": self._id}
        if want and not size:
            header["content"] = {"aborted": True}
        elif self._left == 0:
            header["content"] = {"last": True}
        if size < 64 * 1024:
            self._channel.send(header, bytes(view[:size]))
        else:
            self._channel.send(header, view[:size])
        if "content" in header:
            os.close(self._fd)
            self._fd = -1
        if size >= 64 * 1024 or self._channel.queued_bytes > _FLUSH_ABOVE:
            self._channel.flush()
        return True

    def _open_next(self) -> bool:
        while self._waiting:
            output = self._waiting.pop()
            try:
                fd = tree.open_file(self._collector._data, output.disk.split("/"))
            except (OSError, tree.BadPath) as error:
                reason = f"cannot be read: {getattr(error, 'strerror', None) or error}"
                self._report.skip(output.path, reason, "unreadable")
                continue
            status = os.fstat(fd)
            grown = status.st_size > self._rules.max_file_bytes or status.st_size > self._room
            if grown or not tree.is_regular(status):
                os.close(fd)
                self._report.skip(output.path, "changed while the files were collected", "unreadable")
                continue
            self._room -= status.st_size
            self._number += 1
            self._id = f"{self._parent_id[:48]}.f{self._number}"
            self._fd = fd
            # A file that grows while it is read is sent as large as it was now.
            self._left = status.st_size
            self._collector._remember(output.disk, status)
            content = {"path": output.path, "size": status.st_size, "change": output.change}
            header = {"msg_type": "file_output", "msg_id": self._id, "parent_id": self._parent_id, "content": content}
            self._channel.send(header)
            return True
        return False
