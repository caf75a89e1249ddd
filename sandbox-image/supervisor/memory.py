"""Notices that user code is about to take the whole sandbox with it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Protocol

_KIB = 1024
_MEMINFO_BYTES = 16 * 1024


class Meter(Protocol):
    #: Whether `used` needs no list of processes.
    system_wide: bool

    def used(self, pids: Iterable[int]) -> int:
        """Bytes that count against the limit now."""


class SystemMeter:
    """gVisor: the sandbox is a system of its own, and its total is the container's limit."""

    system_wide = True

    def __init__(self) -> None:
        # Kept open: it is read many times a second while code runs.
        self._meminfo = open("/proc/meminfo", "rb", buffering=0)

    def used(self, pids: Iterable[int]) -> int:
        values = _parse(os.pread(self._meminfo.fileno(), _MEMINFO_BYTES, 0))
        return values.get("MemTotal", 0) - values.get("MemFree", 0) - values.get("Cached", 0) + values.get("Shmem", 0)


class CgroupMeter:
    """runc: the container's own accounting, without what is only cache."""

    system_wide = True

    def __init__(self, usage: str, statistics: str) -> None:
        self._usage = usage
        self._statistics = statistics

    def used(self, pids: Iterable[int]) -> int:
        with open(self._usage, "rb") as file:
            usage = int(file.read())
        with open(self._statistics, "rb") as file:
            for line in file:
                name, _, value = line.partition(b" ")
                if name in (b"inactive_file", b"total_inactive_file"):
                    return usage - int(value)
        return usage


class ProcessMeter:
    """A plain process: proportional sizes, so that memory shared with the template counts once."""

    system_wide = False

    def used(self, pids: Iterable[int]) -> int:
        return sum(_proportional(pid) for pid in pids)


def _parse(meminfo: bytes) -> dict[str, int]:
    values: dict[str, int] = {}
    for line in meminfo.splitlines():
        words = line.split()
        if len(words) >= 2:
            values[words[0][:-1].decode()] = int(words[1]) * _KIB
    return values


def _total() -> int:
    with open("/proc/meminfo", "rb") as file:
        return _parse(file.read()).get("MemTotal", 0)


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * _KIB
    except OSError:
        pass
    return resident(pid)


def resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def choose_meter(limit: int) -> Meter:
    """The accounting that stands closest to the limit itself."""
    if os.getpid() == 1:
        total = _total()
        if 0 < total <= limit * 1.5:
            return SystemMeter()
        for usage, statistics in (
            ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat"),
        ):
            if os.access(usage, os.R_OK) and os.access(statistics, os.R_OK):
                return CgroupMeter(usage, statistics)
    return ProcessMeter()
