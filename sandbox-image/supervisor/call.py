"""One call: what is asked, and how far it has come."""

from __future__ import annotations

from typing import Any, Literal

from supervisor.collect import Rules
from supervisor.frames import Header
from supervisor.loop import Timer
from supervisor.messages import BadMessage, integer, mapping, text, texts
from supervisor.output import Budget
from supervisor.programs import Program
from supervisor.tools import Tools

_MAX_CODE_BYTES = 64 << 20

Phase = Literal["receiving", "waiting", "running", "collecting"]


class Call:
    """Raises `BadMessage` when the request is not as specified."""

    def __init__(self, header: Header) -> None:
        content = mapping(header, "content")
        self.id = text(header, "msg_id")
        self.language = text(content, "language")
        self.args = texts(content, "args")
        self.code_bytes = integer(content, "code_bytes")
        self.timeout = integer(content, "timeout_ms") / 1000
        self.stdout = Budget(integer(content, "stdout_limit"))
        self.stderr = Budget(integer(content, "stderr_limit"))
        rules = content.get("collect")
        self.rules = None if rules is None else Rules.parse(rules)
        tools = content.get("tools") or []
        self.tool_names = [text(tool, "name") for tool in tools]
        if self.code_bytes > _MAX_CODE_BYTES:
            raise BadMessage(f"execute_request: `code_bytes` is more than {_MAX_CODE_BYTES}")
        self.code = bytearray()
        self.phase: Phase = "receiving"
        self.sequence = 0
        #: The clock: it stands still while the client runs tools.
        self.started = 0.0
        self.paused_at = 0.0
        self.paused = 0.0
        self.left = self.timeout
        self.timer: Timer | None = None
        self.watch: Timer | None = None
        #: The ladder: why the run is being ended, and how far that went.
        self.reason: str | None = None
        self.stage = 0
        self.program: Program | None = None
        self.tools: Tools | None = None
        #: Fields of the reply that the end itself gave.
        self.ended: dict[str, Any] = {}
        self.kernel = "kept"

    def budget(self, name: str) -> Budget:
        return self.stdout if name == "stdout" else self.stderr
