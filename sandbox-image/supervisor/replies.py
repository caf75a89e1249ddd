"""What the gateway hears of a call: its output within its budgets, our own words, and the reply."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from supervisor.call import Call
from supervisor.channel import Channel
from supervisor.collect import Report
from supervisor.frames import MAX_BODY_BYTES, json_bytes
from supervisor.output import READ_BYTES, drain

_MAX_REPLY_LISTS = 56 * 1024


class Replies:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    # ------------------------------------------------------------ output

    def pass_on(self, call: Call, fd: int, name: str) -> bool:
        """Sends what is there; false at the end of the file."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._stream(call, name, call.budget(name).take(data))
        self._channel.flush()
        return bool(data)

    def take_rest(self, call: Call, stdout: int, stderr: int) -> None:
        """Everything the program wrote before it ended; it is in the pipes by now."""
        for fd, name in ((stdout, "stdout"), (stderr, "stderr")):
            for data in drain(fd):
                self._stream(call, name, call.budget(name).take(data))

    def show(self, call: Call, name: str, content: bytes) -> None:
        self._channel.send({"msg_type": "display_data", "parent_id": call.id, "content": {"path": name}}, content)
        self._channel.flush()

    def note(self, call: Call, sentence: str) -> None:
        self._stream(call, "stderr", call.stderr.take(f"[sandbox] {sentence}\n".encode("utf-8", "replace")))

    def end_streams(self, call: Call) -> None:
        """What the budgets hold back until nothing more comes."""
        for name in ("stdout", "stderr"):
            self._stream(call, name, call.budget(name).finish())

    def _stream(self, call: Call, name: str, data: bytes) -> None:
        for offset in range(0, len(data), MAX_BODY_BYTES):
            self._channel.send(
                {"msg_type": "stream", "parent_id": call.id, "content": {"name": name}},
                data[offset : offset + MAX_BODY_BYTES],
            )

    # ------------------------------------------------------------ the reply

    def finish(self, call: Call, status: str, execution_count: int, report: Report | None) -> None:
        content: dict[str, Any] = {
            "status": status,
            "execution_count": execution_count,
            "exit_code": None,
            "signal": None,
            "reason": call.reason,
            "kernel": call.kernel,
            "wall_time_ms": 0,
            "stdout_truncated": call.stdout.truncated,
            "stderr_truncated": call.stderr.truncated,
            **call.ended,
        }
        if report is not None:
            content["inputs"] = {
                "unchanged": report.unchanged,
                "modified": report.modified,
                "deleted": report.deleted,
            }
            content["lost"] = report.lost
            content["taken_back"] = report.taken_back
            content["skipped"] = [asdict(skipped) for skipped in report.skipped]
            # The inputs fitted into the request's header; what was skipped gets the room that is left.
            while content["skipped"] and json_bytes(content) > _MAX_REPLY_LISTS:
                content["skipped"] = content["skipped"][: len(content["skipped"]) // 2]
        self._channel.send({"msg_type": "execute_reply", "parent_id": call.id, "content": content})
        self._channel.flush()
