"""The event loop: one thread, `poll`, two sets of descriptors.

Output pipes of user code are in the slow set only. While the channel to the gateway is full they are not read at all,
which is the back-pressure on user code.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
Handler = Callable[[int], None]


class Timer:
    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback


class Loop:
    def __init__(self) -> None:
        self._fast = select.poll()
        self._all = select.poll()
        self._handlers: dict[int, Handler] = {}
        self._slow: set[int] = set()
        self._timers: set[Timer] = set()
        self.hold_output = False

    def watch(self, fd: int, handler: Handler, events: int = READ, *, slow: bool = False) -> None:
        self._handlers[fd] = handler
        self._all.register(fd, events)
        if slow:
            self._slow.add(fd)
        else:
            self._fast.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._all.modify(fd, events)
        if fd not in self._slow:
            self._fast.modify(fd, events)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is None:
            return
        self._all.unregister(fd)
        if fd in self._slow:
            self._slow.discard(fd)
        else:
            self._fast.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        if timer is not None:
            self._timers.discard(timer)

    def run(self) -> None:
        while True:
            self.turn()

    def turn(self) -> None:
        now = time.monotonic()
        next_at = min((timer.when for timer in self._timers), default=None)
        poller = self._fast if self.hold_output else self._all
        # Rounded up: a wait cut short would turn once more for nothing.
        wait = None if next_at is None else max(0, int((next_at - now) * 1000) + 1) if next_at > now else 0
        ready = poller.poll(wait)
        if len(ready) > 1 and self._slow:
            # Output first: what was printed before a request came must not be taken for the request's own.
            ready.sort(key=lambda item: item[0] not in self._slow)
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        if not self._timers:
            return
        now = time.monotonic()
        for timer in [timer for timer in self._timers if timer.when <= now]:
            if timer in self._timers:
                self._timers.discard(timer)
                timer.callback()
