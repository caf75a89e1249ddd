"""What runs in this sandbox, read from /proc, and how to end it for good."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

_ROUNDS = 20


def parents(adopted: Mapping[int, int] | None = None) -> dict[int, int]:
    """Parent of every process that can be seen, zombies left out.

    `adopted`: processes that stand for another one, and count as its children as long as it is there.
    """
    table: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                # The command name is in brackets and may hold anything, brackets included.
                fields = file.read(4096).rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) > 1 and fields[0] not in (b"Z", b"X"):
            table[int(name)] = int(fields[1])
    for pid, parent in (adopted or {}).items():
        if pid in table and parent in table:
            table[pid] = parent
    return table


def descendants(roots: AbstractSet[int], table: dict[int, int]) -> set[int]:
    """Everything below `roots`, without them."""
    children: dict[int, list[int]] = {}
    for pid, parent in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def end_all(kept: Callable[[dict[int, int]], AbstractSet[int]], adopted: Mapping[int, int] | None = None) -> bool:
    """Kills every descendant of this process except what `kept` makes of the table of parents.

    Stopped first, until no new ones appear: a process that forks faster than it is killed cannot win that race.
    Returns whether it worked within a bounded number of rounds.
    """
    myself = os.getpid()
    for _ in range(_ROUNDS):
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            table = parents(adopted)
            fresh = descendants({myself}, table) - kept(table) - stopped
            if not fresh:
                break
            for pid in fresh:
                send(pid, signal.SIGSTOP)
            stopped |= fresh
        if not stopped:
            return True
        for pid in stopped:
            send(pid, signal.SIGKILL)
    return False


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
