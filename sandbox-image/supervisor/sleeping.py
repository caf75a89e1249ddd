"""Before the sandbox is saved as a checkpoint, and after it was restored from one."""

from __future__ import annotations

from supervisor.calls import Calls
from supervisor.channel import Channel
from supervisor.files import FileWriter
from supervisor.frames import Header
from supervisor.kernels import Kernels
from supervisor.loop import Loop, Timer
from supervisor.messages import mapping, text
from supervisor.workspace import Workspace

#: Less than whoever asks is ready to wait.
_REST_SECONDS = 3.0


class Sleeping:
    """Time stands still between the two, and starts again with a jump: whoever sleeps must not be waiting.

    At rest nothing is left of what was made ahead: the shell and the fork that wait for the next program take memory,
    and know what was random then.
    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        calls: Calls,
        kernels: Kernels,
        files: FileWriter,
        workspace: Workspace,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._calls = calls
        self._kernels = kernels
        self._files = files
        self._workspace = workspace
        #: Who waits for the answer that all is at rest.
        self._asked: str | None = None
        self._timer: Timer | None = None
        self._forks_rest = False

    def sleep(self, header: Header) -> None:
        """Answered within seconds: what is busy now may be asked again."""
        asked = text(header, "msg_id")
        moving = self._files.writing or self._workspace.busy or self._channel.queued_bytes
        busy = self._calls.busy or moving or self._asked is not None
        if not busy and mapping(header, "content").get("template"):
            # Each sandbox that is made from it gets a kernel of its own, so that nothing random is the same twice.
            self._kernels.retire()
        if busy or not self._kernels.rest():
            self._answer(asked, "busy")
            return
        self._asked = asked
        self._forks_rest = False
        self._calls.dismiss_shell()
        self._timer = self._loop.after(_REST_SECONDS, self.disturb)

    def forks_at_rest(self) -> None:
        self._forks_rest = True
        self.look()

    def look(self) -> None:
        """Something ended: whether it was the last that had to."""
        if self._asked is None or not self._forks_rest or self._calls.shell_leaves:
            return
        asked, self._asked = self._asked, None
        self._loop.cancel(self._timer)
        self._answer(asked, "ready" if self._kernels.resting else "busy")
        self._channel.flush()

    def disturb(self) -> None:
        """It goes on without having been saved."""
        if not self._kernels.resting and self._asked is None:
            return
        self._loop.cancel(self._timer)
        asked, self._asked = self._asked, None
        self._kernels.wake()
        if asked is not None:
            self._answer(asked, "busy")
            self._channel.flush()

    def woken(self, header: Header, kernel_memory: int, call_memory: int) -> bool:
        """Whether it is a new sandbox: `fresh`. The bytes that kernels and whole calls may use are the new ones."""
        fresh = bool(mapping(header, "content").get("fresh"))
        self._asked = None
        self._loop.cancel(self._timer)
        self._calls.watch_memory(call_memory)
        if fresh:
            # The directory is another one than the template's.
            self._files.known.clear()
            self._files.remember_present()
        self._kernels.wake(kernel_memory)
        if not fresh:
            # Elsewhere with the first fork; where a kernel is in use and no `python3` was, none waits.
            self._calls.start_shell()
        self._channel.send({"msg_type": "woken_reply", "parent_id": text(header, "msg_id")})
        return fresh

    def _answer(self, asked: str, status: str) -> None:
        self._channel.send({"msg_type": "sleep_reply", "parent_id": asked, "content": {"status": status}})
