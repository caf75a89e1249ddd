"""Programmatic tool calling: a unix socket that programs in the sandbox ask, and the gateway's answers.

A connection sends `u32 length, JSON {"calls": [{"name", "input"}], "whole": bool}` and gets `u32 length, JSON
{"results": […]}` or `{"error": …}`. Calls that come close together are sent to the gateway as one request; one
request is open at a time.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shlex
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.channel import Channel
from supervisor.frames import MAX_BODY_BYTES
from supervisor.loop import READ, WRITE, Loop, Timer

_LENGTH = struct.Struct(">I")
_MAX_REQUEST = 8 << 20
_MAX_RESULTS = 64 << 20
_MAX_CALLS = 1000
_MAX_PER_BATCH = 100
#: The gateway takes 5 MiB of calls at once.
_MAX_CALL_BYTES = 2 << 20
_MAX_BATCH_BYTES = 4 << 20
_MAX_CLIENTS = 256
#: Shell programs announce a call before their client starts; that long the batch waits for the announced ones.
_QUIET_SECONDS = 0.006
_ANNOUNCED_SECONDS = 0.5

_SHELL_WORDS = frozenset(
    "if then else elif fi case esac for select while until do done in function time coproc".split()
)
_SHELL_BUILTINS = frozenset(
    (
        "alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs disown echo "
        "enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout mapfile popd "
        "printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true type "
        "typeset ulimit umask unalias unset wait"
    ).split()
)
#: What prints JSON as readily as a tool takes it.
_PRINTS = frozenset(("echo", "printf"))


@dataclass(eq=False)
class _Client:
    connection: socket.socket
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytes | memoryview = b""
    expected: int = 0
    ids: list[str] = field(default_factory=list)


def python_name(tool: str) -> str:
    """As the client derives it when it scans the code for used tools."""
    name = re.sub(r"[^a-zA-Z0-9_]", "", re.sub(r"[-\s]", "_", tool))
    if re.match(r"[0-9]", name):
        name = "_" + name
    return name + "_tool" if keyword.iskeyword(name) else name


def shell_name(tool: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9_]", "", re.sub(r"[-\s.]", "_", tool))
    if re.match(r"[0-9]", name):
        name = "_" + name
    return name + "_tool" if name in _SHELL_WORDS else name


class Tools:
    """The tools of one call. `on_waiting(True)` while the program waits for the gateway: its clock stands still."""

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        call_id: str,
        names: list[str],
        on_waiting: Callable[[bool], None],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._call_id = call_id
        self._names = names
        self._on_waiting = on_waiting
        self._clients: dict[int, _Client] = {}
        self._calls: list[dict[str, Any]] = []
        self._waiting: list[str] = []
        self._sizes: dict[str, int] = {}
        self._owners: dict[str, _Client] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._issued = 0
        self._requests = 0
        self._open_request = ""
        self._expected_results = -1
        self._reply = bytearray()
        self._announced = 0
        self._arrived = 0
        self._first_at = 0.0
        self._timer: Timer | None = None
        self._directory = tempfile.mkdtemp(prefix=".kernelyard-tools-")
        self.socket_path = os.path.join(self._directory, "socket")
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.socket_path)
        self._server.listen(_MAX_CLIENTS)
        self._server.setblocking(False)
        self._announce_path = os.path.join(self._directory, "announce")
        os.mkfifo(self._announce_path, 0o600)
        # Open for writing too, so that the end of a writer is not the end of the file.
        self._announce_fd = os.open(self._announce_path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        loop.watch(self._server.fileno(), self._on_connection)
        loop.watch(self._announce_fd, self._on_announcement)

    # ------------------------------------------------------------ what programs see

    def python_stubs(self) -> dict[str, Any]:
        return {"socket": self.socket_path, "names": [[python_name(name), name] for name in self._names]}

    def shell_prelude(self) -> str:
        """Path of a file that defines one function per tool."""
        client = Path(__file__).resolve().parent / "tool_client.py"
        start = [sys.executable, "-I", "-S", "-B", str(client), self.socket_path]
        lines = [
            "__kernelyard_tool() {",
            f"  {{ builtin printf . > {shlex.quote(self._announce_path)}; }} 2>/dev/null",
            f'  {shlex.join(start)} "$@"',
            "}",
        ]
        for tool in self._names:
            name = shell_name(tool)
            call = f'__kernelyard_tool {shlex.quote(tool)} "$@"'
            if name in _SHELL_BUILTINS:
                # Clients differ in whether a builtin's name is left to the tool: both spellings work. The builtin
                # itself is meant whenever the argument is not one JSON object.
                lines.append(f"{name}_tool() {{ {call}; }}")
                if name not in _PRINTS:
                    choose = f'if [[ $# -eq 1 && $1 == "{{"* ]]; then {call}; else builtin {name} "$@"; fi'
                    lines.append(f"{name}() {{ {choose}; }}")
            elif name:
                lines.append(f"{name}() {{ {call}; }}")
        path = Path(self._directory, "prelude.sh")
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return str(path)

    # ------------------------------------------------------------ connections

    def _on_connection(self, _events: int) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return
        if len(self._clients) >= _MAX_CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        client = _Client(connection)
        fd = connection.fileno()
        self._clients[fd] = client
        self._loop.watch(fd, lambda events: self._on_client(client, events))

    def _on_client(self, client: _Client, events: int) -> None:
        if events & WRITE:
            self._write(client)
            return
        try:
            data = client.connection.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.incoming += data
        if len(client.incoming) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack_from(client.incoming)
        if length > _MAX_REQUEST:
            self._refuse(client, f"the arguments are larger than {_MAX_REQUEST} bytes")
        elif len(client.incoming) >= _LENGTH.size + length and not client.expected:
            self._accept(client, bytes(client.incoming[_LENGTH.size : _LENGTH.size + length]))

    def _accept(self, client: _Client, text: bytes) -> None:
        try:
            request = json.loads(text)
            calls = [(str(call["name"]), call["input"]) for call in request["calls"]]
            whole = bool(request.get("whole"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse(client, "the request is not understood")
            return
        unknown = [name for name, _ in calls if name not in self._names]
        if unknown or not calls:
            self._refuse(client, f"there is no tool {unknown[0][:200]!r}" if unknown else "no tool is named")
            return
        if self._issued + len(calls) > _MAX_CALLS:
            self._refuse(client, f"one program may call tools {_MAX_CALLS} times")
            return
        if not all(isinstance(arguments, dict) for _, arguments in calls):
            self._refuse(client, "the arguments must be one JSON object")
            return
        sizes = [len(json.dumps(arguments)) for _, arguments in calls]
        if max(sizes) > _MAX_CALL_BYTES:
            self._refuse(client, f"the arguments of one call may have {_MAX_CALL_BYTES} bytes")
            return
        client.expected = len(calls)
        for (name, arguments), size in zip(calls, sizes, strict=True):
            self._issued += 1
            call_id = f"call_{self._issued:03d}"
            client.ids.append(call_id)
            self._owners[call_id] = client
            self._calls.append({"id": call_id, "name": name, "input": arguments})
            self._sizes[call_id] = size
        self._arrived += 1
        if not self._first_at:
            self._first_at = time.monotonic()
        self._schedule(0.0 if whole else _QUIET_SECONDS)

    def _on_announcement(self, _events: int) -> None:
        try:
            self._announced += len(os.read(self._announce_fd, 4096))
        except BlockingIOError:
            pass

    # ------------------------------------------------------------ batches

    def _schedule(self, seconds: float) -> None:
        self._loop.cancel(self._timer)
        self._timer = self._loop.after(seconds, self._maybe_dispatch)

    def _maybe_dispatch(self) -> None:
        self._timer = None
        if self._open_request or not self._calls:
            return
        late = time.monotonic() - self._first_at
        if self._arrived < self._announced and late < _ANNOUNCED_SECONDS:
            self._schedule(_QUIET_SECONDS)
            return
        batch: list[dict[str, Any]] = []
        room = _MAX_BATCH_BYTES
        for call in self._calls[:_MAX_PER_BATCH]:
            room -= self._sizes[call["id"]]
            if batch and room < 0:
                break
            batch.append(call)
        self._calls = self._calls[len(batch) :]
        self._arrived = self._announced = 0
        self._first_at = time.monotonic() if self._calls else 0.0
        self._waiting = [call["id"] for call in batch]
        self._requests += 1
        self._open_request = f"{self._call_id[:48]}.t{self._requests}"
        text = json.dumps(batch, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        self._channel.send(
            {
                "msg_type": "tool_call_request",
                "msg_id": self._open_request,
                "parent_id": self._call_id,
                "content": {"calls_bytes": len(text)},
            },
            text[:MAX_BODY_BYTES],
        )
        for offset in range(MAX_BODY_BYTES, len(text), MAX_BODY_BYTES):
            header: dict[str, Any] = {"msg_type": "chunk", "parent_id": self._open_request}
            if offset + MAX_BODY_BYTES >= len(text):
                header["content"] = {"last": True}
            self._channel.send(header, text[offset : offset + MAX_BODY_BYTES])
        self._channel.flush()
        self._on_waiting(True)

    def reply(self, parent_id: str, results_bytes: int, body: bytes) -> None:
        """The answer's parent is the request; the call's own id is taken too while one request is open."""
        if not self._open_request or parent_id not in (self._open_request, self._call_id):
            return
        self._expected_results = min(results_bytes, _MAX_RESULTS + 1)
        self._reply = bytearray()
        self.more(body)

    def chunk(self, body: bytes) -> bool:
        """Whether an answer was waiting for more bytes."""
        if self._expected_results < 0:
            return False
        self.more(body)
        return True

    def more(self, body: bytes) -> None:
        self._reply += body
        if len(self._reply) < self._expected_results:
            return
        self._expected_results = -1
        text, self._reply = bytes(self._reply), bytearray()
        answers: dict[str, dict[str, Any]] = {}
        if len(text) <= _MAX_RESULTS:
            try:
                answers = {str(answer["call_id"]): answer for answer in json.loads(text)}
            except (ValueError, KeyError, TypeError, RecursionError):
                answers = {}
        waiting, self._waiting, self._open_request = self._waiting, [], ""
        self._on_waiting(False)
        missing = {"is_error": True, "error_message": "the client gave no result for this call"}
        for call_id in waiting:
            self._results[call_id] = answers.get(call_id, missing)
            client = self._owners.pop(call_id, None)
            if client is not None and all(known in self._results for known in client.ids):
                self._answer(client, {"results": [self._results.pop(known) for known in client.ids]})
            elif client is None:
                self._results.pop(call_id, None)
        if self._calls:
            self._schedule(0.0)

    # ------------------------------------------------------------ answers

    def _refuse(self, client: _Client, reason: str) -> None:
        client.expected = 1
        self._answer(client, {"error": reason})

    def _answer(self, client: _Client, answer: dict[str, Any]) -> None:
        text = json.dumps(answer, separators=(",", ":")).encode()
        client.outgoing = memoryview(_LENGTH.pack(len(text)) + text)
        self._write(client)

    def _write(self, client: _Client) -> None:
        fd = client.connection.fileno()
        if fd not in self._clients:
            return
        try:
            while client.outgoing:
                sent = client.connection.send(client.outgoing)
                client.outgoing = client.outgoing[sent:]
        except BlockingIOError:
            self._loop.change(fd, READ | WRITE)
            return
        except OSError:
            pass
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        """A program that goes away takes back what has not been sent yet."""
        fd = client.connection.fileno()
        if self._clients.pop(fd, None) is None:
            return
        self._loop.forget(fd)
        client.connection.close()
        gone = set(client.ids)
        self._calls = [call for call in self._calls if call["id"] not in gone]
        for call_id in gone:
            self._owners.pop(call_id, None)
            self._results.pop(call_id, None)

    def close(self) -> None:
        for client in list(self._clients.values()):
            self._drop(client)
        self._loop.cancel(self._timer)
        self._loop.forget(self._server.fileno())
        self._loop.forget(self._announce_fd)
        self._server.close()
        os.close(self._announce_fd)
        shutil.rmtree(self._directory, ignore_errors=True)
