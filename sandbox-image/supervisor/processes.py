"""What runs in this sandbox, read from /proc, and how to end it for good."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

_ROUNDS = 20
#: A process with hundreds of MiB takes this long to give them back, on a busy machine.
_DEATH_SECONDS = 2.0
_PAUSE_SECONDS = 0.001


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


def is_exiting(pid: int) -> bool:
    """Whether it has ended, or runs no code any more: its descriptors are closed before its memory is given back."""
    try:
        return not os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return False
    except OSError:
        return True


def end_all(kept: Callable[[dict[int, int]], AbstractSet[int]], adopted: Mapping[int, int] | None = None) -> bool:
    """Kills every descendant of this process except what `kept` makes of the table of parents.

    Stopped first, until no new ones appear: a process that forks faster than it is killed cannot win that race.
    Returns whether it worked within a bounded number of rounds; one that was killed and is slow to end is no new one.
    """
    myself = os.getpid()
    killed: set[int] = set()
    deadline = time.monotonic() + _DEATH_SECONDS
    rounds = 0
    while rounds < _ROUNDS:
        stopped: set[int] = set()
        for _ in range(_ROUNDS):
            table = parents(adopted)
            ending = descendants({myself}, table) - kept(table)
            fresh = ending - stopped - killed
            if not fresh:
                break
            for pid in fresh:
                send(pid, signal.SIGSTOP)
            stopped |= fresh
        if stopped:
            rounds += 1
            for pid in stopped:
                send(pid, signal.SIGKILL)
            killed |= stopped
        elif not ending or time.monotonic() >= deadline:
            return True
        else:
            # Whoever is told of the end finds the memory free, and the next program does not meet them.
            time.sleep(_PAUSE_SECONDS)
    return False


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
