"""One call: what is asked, and how far it has come."""

from __future__ import annotations

import json
from typing import Any, Literal

from supervisor.collect import Rules
from supervisor.frames import Header
from supervisor.loop import Timer
from supervisor.messages import BadMessage, integer, mapping, text, texts
from supervisor.output import Budget, HeadAndTail
from supervisor.programs import Program
from supervisor.shown import Shown
from supervisor.tools import Tools

_MAX_CODE_BYTES = 64 << 20
#: Arguments as JSON: 2 MiB of them, each byte escaped at the worst.
_MAX_ARGS_BYTES = 13 << 20

Phase = Literal["receiving", "waiting", "running", "collecting"]


class Call:
    """Raises `BadMessage` when the request is not as specified."""

    def __init__(self, header: Header) -> None:
        content = mapping(header, "content")
        self.id = text(header, "msg_id")
        self.language = text(content, "language")
        self.args = texts(content, "args")
        self.code_bytes = integer(content, "code_bytes")
        #: Arguments that are too long for a header precede the code, as JSON.
        self.args_bytes = integer(content, "args_bytes") if "args_bytes" in content else 0
        #: Nothing follows: a program that ends as programs end, instead of a cell of a session.
        self.script = bool(content.get("script"))
        self.timeout = integer(content, "timeout_ms") / 1000
        self.stdout = Budget(integer(content, "stdout_limit"))
        self.stderr = HeadAndTail(integer(content, "stderr_limit"))
        rules = content.get("collect")
        self.rules = None if rules is None else Rules.parse(rules)
        displays = content.get("displays")
        #: Somebody looks on; None: what is shown is in the collected files alone.
        self.shown = None if displays is None else Shown(displays)
        tools = content.get("tools") or []
        self.tool_names = [text(tool, "name") for tool in tools]
        if self.code_bytes > _MAX_CODE_BYTES:
            raise BadMessage(f"execute_request: `code_bytes` is more than {_MAX_CODE_BYTES}")
        if self.args_bytes > _MAX_ARGS_BYTES:
            raise BadMessage(f"execute_request: `args_bytes` is more than {_MAX_ARGS_BYTES}")
        self._received = bytearray()
        self.code = b""
        self.program_text: bytes | None = None
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
        self.memory_told = False
        #: Nobody waits for it: its files are for the next call to report.
        self.abandoned = False
        self.program: Program | None = None
        self.tools: Tools | None = None
        #: Fields of the reply that the end itself gave.
        self.ended: dict[str, Any] = {}
        self.kernel = "kept"

    def receive(self, body: bytes) -> bool:
        """Whether all has come that the request announced."""
        self._received += body
        announced = self.args_bytes + self.code_bytes
        if len(self._received) > announced:
            raise BadMessage(f"execute_request: more came than the announced {announced} bytes")
        if len(self._received) < announced:
            return False
        received, self._received = bytes(self._received), bytearray()
        if self.args_bytes:
            self.args = self._parse_args(received[: self.args_bytes])
        self.code = received[self.args_bytes :]
        return True

    @staticmethod
    def _parse_args(text: bytes) -> list[str]:
        try:
            args = json.loads(text)
        except ValueError:
            args = None
        return texts({"args": args}, "args")

    def budget(self, name: str) -> Budget | HeadAndTail:
        return self.stdout if name == "stdout" else self.stderr
