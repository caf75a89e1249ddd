"""How a running call is ended: by its clock, by what it uses, or because somebody asks.

The ladder: an interrupt (variables stay), a second one, then the end of the process (files stay).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from supervisor import processes
from supervisor.call import Call
from supervisor.kernels import Kernels
from supervisor.loop import Loop
from supervisor.memory import Meter, choose_meter

_GRACE_SECONDS = 0.5
_DEATH_SECONDS = 2.0
#: Under gVisor one look at the memory takes a millisecond, in every sandbox whose code runs: as long as it is less than
#: half used, it is looked at as often as code could fill the rest. A file in memory is written with 0.8 GB a second;
#: two at once are meant to be seen.
_MOST_BYTES_PER_SECOND = 2 << 30
_LONGEST_WATCH_SECONDS = 0.25
_FIRST_WATCH_SECONDS = 0.05
#: One fork of a process with the libraries takes 40 MiB within 30 ms: often when it is tight.
_TIGHT_WATCH_SECONDS = 0.01
#: So much before the end a Python call is told: its code may let go of something, or fail and keep its variables.
_WARNING_BYTES = 64 << 20


class Ladder:
    """`program_gone` is called for a program whose end is not reported although it was killed."""

    def __init__(self, loop: Loop, kernels: Kernels, program_gone: Callable[[Call, int], None]) -> None:
        self._loop = loop
        self._kernels = kernels
        self._memory = 0
        self._meter: Meter | None = None
        self._program_gone = program_gone

    def watch_memory(self, limit: int) -> None:
        """`limit`: bytes that all processes may use together from the next call on, 0 for no watch."""
        self._memory = limit
        self._meter = choose_meter(limit) if limit > 0 else None

    # ------------------------------------------------------------ the clock

    def start(self, call: Call) -> None:
        """The call runs from now on."""
        call.phase = "running"
        self._loop.cancel(call.timer)
        call.started = time.monotonic()
        call.timer = self._loop.after(call.timeout, lambda: self.end(call, "timeout"))
        if self._meter is not None:
            call.watch = self._loop.after(_FIRST_WATCH_SECONDS, lambda: self._watch_memory(call))

    def stop(self, call: Call) -> float:
        """The call is over. Seconds that it ran, without those in which it waited for tools."""
        for timer in (call.timer, call.watch):
            self._loop.cancel(timer)
        now = time.monotonic()
        if call.paused_at:
            call.paused += now - call.paused_at
        return now - call.started - call.paused

    def on_tool_waiting(self, call: Call, waiting: bool) -> None:
        """The program's clock stands still while the client runs its tools."""
        if call.phase != "running" or call.stage:
            return
        now = time.monotonic()
        self._loop.cancel(call.timer)
        if waiting:
            call.paused_at = now
            call.left = call.timeout - (now - call.started - call.paused)
        else:
            call.paused += now - call.paused_at
            call.paused_at = 0.0
            call.timer = self._loop.after(max(call.left, 0.0), lambda: self.end(call, "timeout"))

    # ------------------------------------------------------------ memory

    def _watch_memory(self, call: Call) -> None:
        if call.phase != "running" or self._meter is None:
            return
        table = {} if self._meter.system_wide else processes.parents()
        pids = processes.descendants({os.getpid()}, table) - self._kernels.template_pids
        try:
            used = self._meter.used(pids)
        except (OSError, ValueError):
            used = 0
        if used > self._memory:
            call.reason = call.reason or "out_of_memory"
            self.kill(call)
            return
        tight = used > self._memory - _WARNING_BYTES
        if tight and not call.memory_told and call.program is None:
            self._kernels.tell_memory(used // 2)
        call.memory_told = tight
        if tight:
            # The fork that waits takes about as much.
            self._kernels.drop_waiting()
        if used < self._memory // 2:
            pause = min((self._memory - used) / _MOST_BYTES_PER_SECOND, _LONGEST_WATCH_SECONDS)
        else:
            pause = _TIGHT_WATCH_SECONDS
        call.watch = self._loop.after(pause, lambda: self._watch_memory(call))

    # ------------------------------------------------------------ the steps

    def end(self, call: Call, reason: str) -> None:
        """The first step; the others follow by themselves until the call is over."""
        if call.phase != "running" or call.stage:
            return
        call.reason = call.reason or reason
        self._climb(call)

    def _climb(self, call: Call) -> None:
        if call.phase != "running":
            return
        call.stage += 1
        self._loop.cancel(call.timer)
        if call.stage > 2:
            self.kill(call)
            return
        if call.program is not None:
            call.program.terminate()
        else:
            self._kernels.interrupt()
        call.timer = self._loop.after(_GRACE_SECONDS, lambda: self._climb(call))

    def kill(self, call: Call) -> None:
        """The last step at once."""
        self._loop.cancel(call.timer)
        call.stage = 3
        if call.program is not None:
            call.program.kill()
            call.timer = self._loop.after(_DEATH_SECONDS, lambda: self._program_gone(call, signal.SIGKILL))
            self._kernels.protected = set()
            self._kernels.end_strays()
        else:
            call.timer = self._loop.after(_DEATH_SECONDS, lambda: self._kernels.give_up(signal.SIGKILL))
            self._kernels.kill()
