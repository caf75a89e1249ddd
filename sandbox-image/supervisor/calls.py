"""One call at a time: from `execute_request` to `execute_reply`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Literal

from supervisor import processes
from supervisor.channel import Channel
from supervisor.collect import Collector, Report, Rules
from supervisor.files import FileWriter
from supervisor.frames import MAX_BODY_BYTES, Header, json_bytes
from supervisor.kernels import Kernel, Kernels
from supervisor.languages import Language
from supervisor.loop import Loop, Timer
from supervisor.memory import Meter, choose_meter
from supervisor.messages import BadMessage, integer, mapping, text, texts
from supervisor.output import Budget
from supervisor.programs import Program
from supervisor.tools import Tools

_READ_BYTES = 64 * 1024
#: The ladder: an interrupt, a second one, then the end of the process.
_GRACE_SECONDS = 0.5
_DEATH_SECONDS = 2.0
#: A kernel that is not there by then will not come: the call is answered without it.
_KERNEL_SECONDS = 90.0
_FAILURES = 4
_WATCH_SECONDS = 0.05
_TIGHT_WATCH_SECONDS = 0.01
#: Calls shorter than this have no time to leave much behind; the sweep comes when nobody waits.
_SHORT_CALL_SECONDS = 0.02
_IDLE_SWEEP_SECONDS = 0.25
_MAX_CODE_BYTES = 64 << 20
_MAX_REPLY_LISTS = 56 * 1024

Phase = Literal["receiving", "waiting", "running", "collecting"]


class Call:
    """What is asked, and how far it has come."""

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
        self.started = 0.0
        self.paused_at = 0.0
        self.paused = 0.0
        self.left = self.timeout
        self.reason: str | None = None
        self.stage = 0
        self.timer: Timer | None = None
        self.watch: Timer | None = None
        self.program: Program | None = None
        self.tools: Tools | None = None
        self.ended: dict[str, Any] = {}
        self.kernel = "kept"

    def budget(self, name: str) -> Budget:
        return self.stdout if name == "stdout" else self.stderr


class Calls:
    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        kernels: Kernels,
        files: FileWriter,
        languages: dict[str, Language],
        data: str,
        environment: dict[str, str],
        sandbox_memory: int,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._kernels = kernels
        self._languages = languages
        self._data = data
        self._environment = environment
        self._sandbox_memory = sandbox_memory
        self._meter: Meter | None = choose_meter(sandbox_memory) if sandbox_memory > 0 else None
        self._collector = Collector(data, channel, files)
        self._call: Call | None = None
        self._sequence = 0
        self._sweep: Timer | None = None
        #: The call after which children that still printed were ended.
        self._noise_ended = 0
        #: A kernel with variables died while no call ran: the next one must be told.
        self._lost: str | None = None
        kernels.on_ready = self._on_kernel_ready
        kernels.on_message = self._on_kernel_message
        kernels.on_output = self._on_kernel_output
        kernels.on_death = self._on_kernel_death

    @property
    def executing(self) -> str | None:
        return None if self._call is None else self._call.id

    def close(self) -> None:
        """Removes what a running call has in /tmp."""
        call = self._call
        if call is not None and call.tools is not None:
            call.tools.close()
        if call is not None and call.program is not None:
            call.program.close()

    # ------------------------------------------------------------ from the gateway

    def start(self, header: Header, body: bytes) -> None:
        call = Call(header)
        if self._call is not None:
            self._note(call, f"Another call ({self._call.id}) is running in this sandbox.")
            self._reply(call, "aborted", None)
            return
        self._call = call
        self._loop.cancel(self._sweep)
        self._sweep = None
        self._add_code(call, body)

    def chunk(self, parent_id: str, body: bytes, *, aborted: bool) -> None:
        call = self._call
        if call is None:
            return
        if call.phase == "receiving" and parent_id == call.id:
            if aborted:
                self._finish_unrun(call, "The code did not come completely.")
            else:
                self._add_code(call, body)
        elif call.tools is not None:
            call.tools.chunk(body)

    def tool_reply(self, parent_id: str, results_bytes: int, body: bytes) -> None:
        if self._call is not None and self._call.tools is not None:
            self._call.tools.reply(parent_id, results_bytes, body)

    def interrupt(self, parent_id: str) -> None:
        call = self._call
        if call is None or call.id != parent_id:
            return
        if call.phase in ("receiving", "waiting"):
            call.reason = "interrupted"
            self._finish_unrun(call, "Interrupted before it ran.")
        elif call.phase == "running":
            self._end_run(call, "interrupted")

    def restart_kernel(self) -> None:
        call = self._call
        if call is not None and call.phase == "running" and call.program is None:
            call.reason = call.reason or "interrupted"
            self._kill(call)
        else:
            # At once, not when its end is reported: the next call must not meet the old one.
            self._kernels.give_up(signal.SIGKILL)
            self._lost = None

    def _add_code(self, call: Call, body: bytes) -> None:
        call.code += body
        if len(call.code) > call.code_bytes:
            raise BadMessage(f"execute_request: more code came than `code_bytes` ({call.code_bytes}) says")
        if len(call.code) == call.code_bytes:
            self._begin(call)

    # ------------------------------------------------------------ running

    def _begin(self, call: Call) -> None:
        language = self._languages.get(call.language)
        if language is None:
            known = ", ".join(self._languages)
            self._finish_unrun(call, f"This sandbox has no language {call.language[:64]!r}; it has: {known}.")
        elif language.command and language.id != "py":
            self._run_program(call, language)
        else:
            call.phase = "waiting"
            kernel = self._kernels.current
            if kernel is not None and kernel.ready:
                self._run_cell(call, kernel)
            else:
                call.timer = self._loop.after(
                    _KERNEL_SECONDS, lambda: self._finish_unrun(call, "No Python kernel could be started.")
                )

    def _run_cell(self, call: Call, kernel: Kernel) -> None:
        self._sequence += 1
        call.sequence = self._sequence
        request: dict[str, Any] = {"run": call.sequence, "args": call.args, "code_bytes": call.code_bytes}
        if call.tool_names:
            request["tools"] = self._open_tools(call).python_stubs()
        if self._lost is not None:
            self._note(call, self._lost)
            call.kernel = "restarted"
            self._lost = None
        self._clock(call)
        code, call.code = bytes(call.code), bytearray()
        self._kernels.send(request, code)
        if call.tools is None:
            self._kernels.await_quick()

    def _run_program(self, call: Call, language: Language) -> None:
        environment = self._environment
        if call.tool_names:
            environment = {**environment, "BASH_ENV": self._open_tools(call).shell_prelude()}
        try:
            call.program = Program(
                self._loop,
                language,
                bytes(call.code),
                call.args,
                self._data,
                environment,
                lambda name: self._on_program_output(call, name),
            )
        except (OSError, ValueError) as error:
            self._finish_unrun(call, f"{language.id} could not be started: {error}")
            return
        call.code.clear()
        self._kernels.protected = {call.program.pid}
        self._clock(call)

    def _open_tools(self, call: Call) -> Tools:
        call.tools = Tools(
            self._loop, self._channel, call.id, call.tool_names, lambda waiting: self._on_tool_waiting(call, waiting)
        )
        return call.tools

    def _clock(self, call: Call) -> None:
        call.phase = "running"
        self._loop.cancel(call.timer)
        call.started = time.monotonic()
        call.timer = self._loop.after(call.timeout, lambda: self._end_run(call, "timeout"))
        if self._meter is not None:
            call.watch = self._loop.after(_WATCH_SECONDS, lambda: self._watch_memory(call))

    def _on_tool_waiting(self, call: Call, waiting: bool) -> None:
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
            call.timer = self._loop.after(max(call.left, 0.0), lambda: self._end_run(call, "timeout"))

    def _watch_memory(self, call: Call) -> None:
        if call is not self._call or call.phase != "running" or self._meter is None:
            return
        table = {} if self._meter.system_wide else processes.parents()
        keep = {self._kernels.template_pid}
        pids = processes.descendants({os.getpid()}, table) - keep
        try:
            used = self._meter.used(pids)
        except (OSError, ValueError):
            used = 0
        if used > self._sandbox_memory:
            call.reason = call.reason or "out_of_memory"
            self._kill(call)
            return
        # One fork of a process with the libraries takes 40 MiB within 30 ms under gVisor: look often when it is tight.
        pause = _WATCH_SECONDS if used < self._sandbox_memory // 2 else _TIGHT_WATCH_SECONDS
        call.watch = self._loop.after(pause, lambda: self._watch_memory(call))

    # ------------------------------------------------------------ the ladder

    def _end_run(self, call: Call, reason: str) -> None:
        """Interrupt (variables stay), once more, then a new kernel (files stay)."""
        if call is not self._call or call.phase != "running" or call.stage:
            return
        call.reason = call.reason or reason
        self._climb(call)

    def _climb(self, call: Call) -> None:
        if call is not self._call or call.phase != "running":
            return
        call.stage += 1
        self._loop.cancel(call.timer)
        if call.stage > 2:
            self._kill(call)
            return
        if call.program is not None:
            call.program.terminate()
        else:
            self._kernels.interrupt()
        call.timer = self._loop.after(_GRACE_SECONDS, lambda: self._climb(call))

    def _kill(self, call: Call) -> None:
        self._loop.cancel(call.timer)
        call.stage = 3
        if call.program is not None:
            call.program.kill()
            call.timer = self._loop.after(_DEATH_SECONDS, lambda: self._program_over(call, signal.SIGKILL))
            self._kernels.protected = set()
            self._kernels.end_strays()
        else:
            call.timer = self._loop.after(_DEATH_SECONDS, lambda: self._kernels.give_up(signal.SIGKILL))
            self._kernels.kill()

    # ------------------------------------------------------------ from the kernel

    def _on_kernel_ready(self) -> None:
        call, kernel = self._call, self._kernels.current
        if call is not None and call.phase == "waiting" and kernel is not None:
            self._run_cell(call, kernel)

    def _on_kernel_message(self, message: dict[str, Any]) -> None:
        """The end of a cell. Anything else did not come from our code: the kernel is not believed any more."""
        call, kernel = self._call, self._kernels.current
        if kernel is None:
            return
        count, exit_code = message.get("count"), message.get("exit_code")
        if (
            call is None
            or call.phase != "running"
            or call.program is not None
            or message.get("run") != call.sequence
            or not isinstance(count, int)
            or not isinstance(exit_code, int)
            or not 0 <= exit_code <= 255
            or not 0 <= count < 2**53
        ):
            self._kernels.give_up(None)
            return
        kernel.execution_count = count
        ended: dict[str, Any] = {"exit_code": exit_code, "signal": None}
        for name, characters in (("ename", 256), ("evalue", 4096)):
            value = message.get(name)
            if isinstance(value, str):
                ended[name] = value[:characters]
        if call.reason is not None and ended.get("ename") == "KeyboardInterrupt":
            ended["exit_code"], ended["signal"] = None, "SIGINT"
        call.ended = ended
        self._take_rest(call, kernel.stdout, kernel.stderr)
        self._over(call)

    def _on_kernel_output(self, kernel: Kernel, name: str) -> None:
        call = self._call
        fd = kernel.stdout if name == "stdout" else kernel.stderr
        if call is None or call.phase != "running" or call.program is not None:
            if _pending(fd) and self._noise_ended != self._sequence and not kernel.ending:
                # A child that prints after the end would print into the next call. Quiet ones (pools) may stay.
                self._noise_ended = self._sequence
                self._kernels.end_children()
                _pending(fd)
            return
        self._pass_on(call, fd, name)

    def _on_kernel_death(self, status: int | None) -> None:
        call = self._call
        text, ended = _describe(status)
        if call is None or call.phase in ("receiving", "collecting") or call.program is not None:
            self._lost = f"The kernel ended ({text}) after the previous call; variables are lost, files are kept."
            return
        if call.phase == "waiting":
            # It died before it was ready; another one is being started.
            if self._kernels.failures >= _FAILURES:
                self._finish_unrun(call, "No Python kernel could be started.")
            return
        call.ended = ended
        call.kernel = "restarted"
        if call.reason is None:
            call.reason = "kernel_died"
        if call.stage == 3 and call.reason != "out_of_memory":
            self._note(call, "The code did not stop when interrupted: variables are lost, files are kept.")
        else:
            self._note(call, f"The kernel ended ({text}); variables are lost, files are kept.")
        self._over(call)

    # ------------------------------------------------------------ from programs

    def program_ended(self, pid: int, status: int) -> bool:
        """Whether it was the running call's program."""
        call = self._call
        if call is None or call.program is None or call.program.pid != pid:
            return False
        call.program.reaped(status)
        if call.phase == "running":
            self._program_over(call, status)
        return True

    def _program_over(self, call: Call, status: int) -> None:
        program = call.program
        if call is not self._call or program is None or call.phase != "running":
            return
        _, call.ended = _describe(status)
        self._take_rest(call, program.stdout, program.stderr)
        # Nothing that it started survives it.
        self._kernels.protected = set()
        self._kernels.end_strays()
        program.close()
        self._over(call)

    def _on_program_output(self, call: Call, name: str) -> None:
        program = call.program
        if program is None or call.phase != "running":
            return
        fd = program.stdout if name == "stdout" else program.stderr
        if not self._pass_on(call, fd, name):
            program.close_pipe(name)

    # ------------------------------------------------------------ output

    def _pass_on(self, call: Call, fd: int, name: str) -> bool:
        """Sends what is there; false at the end of the file."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._stream(call, name, call.budget(name).take(data))
        self._channel.flush()
        if call.stdout.truncated and not call.stage:
            self._end_run(call, "stdout_limit")
        return bool(data)

    def _take_rest(self, call: Call, stdout: int, stderr: int) -> None:
        """Everything the program wrote before it ended; it is in the pipes by now."""
        for fd, name in ((stdout, "stdout"), (stderr, "stderr")):
            budget = call.budget(name)
            for data in _pending(fd):
                self._stream(call, name, budget.take(data))
            self._stream(call, name, budget.finish())
        if call.stdout.truncated and call.reason is None:
            call.reason = "stdout_limit"

    def _stream(self, call: Call, name: str, data: bytes) -> None:
        for offset in range(0, len(data), MAX_BODY_BYTES):
            self._channel.send(
                {"msg_type": "stream", "parent_id": call.id, "content": {"name": name}},
                data[offset : offset + MAX_BODY_BYTES],
            )

    def _note(self, call: Call, sentence: str) -> None:
        self._stream(call, "stderr", f"[sandbox] {sentence}\n".encode("utf-8", "replace"))

    # ------------------------------------------------------------ the end

    def _finish_unrun(self, call: Call, sentence: str) -> None:
        if call is not self._call or call.phase not in ("receiving", "waiting"):
            return
        self._loop.cancel(call.timer)
        if call.tools is not None:
            call.tools.close()
        self._note(call, sentence)
        self._call = None
        self._reply(call, "aborted", None)
        self._channel.flush()

    def _over(self, call: Call) -> None:
        for timer in (call.timer, call.watch):
            self._loop.cancel(timer)
        if call.tools is not None:
            call.tools.close()
        now = time.monotonic()
        if call.paused_at:
            call.paused += now - call.paused_at
        wall = now - call.started - call.paused
        call.ended["wall_time_ms"] = round(wall * 1000, 3)
        call.phase = "collecting"
        if call.program is None:
            if wall > _SHORT_CALL_SECONDS:
                self._kernels.end_strays()
            else:
                self._sweep = self._loop.after(_IDLE_SWEEP_SECONDS, self._kernels.end_strays)
        if call.rules is None:
            self._complete(call, None)
            return
        outputs, report = self._collector.compare(call.rules)
        self._collector.stream(call.id, call.rules, outputs, report, lambda: self._complete(call, report))

    def _complete(self, call: Call, report: Report | None) -> None:
        self._call = None
        ended = call.ended
        failed = call.reason is not None or ended.get("exit_code") != 0
        self._reply(call, "error" if failed else "ok", report)
        self._channel.flush()

    def _reply(self, call: Call, status: str, report: Report | None) -> None:
        kernel = self._kernels.current
        content: dict[str, Any] = {
            "status": status,
            "execution_count": 0 if kernel is None else kernel.execution_count,
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
            content["skipped"] = [{"path": path, "reason": reason} for path, reason in report.skipped]
            # The inputs fitted into the request's header; what was skipped gets the room that is left.
            while content["skipped"] and json_bytes(content) > _MAX_REPLY_LISTS:
                content["skipped"] = content["skipped"][: len(content["skipped"]) // 2]
        self._channel.send({"msg_type": "execute_reply", "parent_id": call.id, "content": content})


def _describe(status: int | None) -> tuple[str, dict[str, Any]]:
    """For a person, and as fields of the reply."""
    if status is None:
        return "its control channel was closed or written to", {"exit_code": None, "signal": "SIGKILL"}
    if os.WIFSIGNALED(status):
        name = processes.signal_name(os.WTERMSIG(status))
        return name, {"exit_code": None, "signal": name}
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}", {"exit_code": code, "signal": None}


def _pending(fd: int) -> list[bytes]:
    """What is in a pipe now, at most four times what the system lets a pipe hold."""
    pieces: list[bytes] = []
    for _ in range(64):
        try:
            data = os.read(fd, _READ_BYTES)
        except (BlockingIOError, OSError):
            break
        if not data:
            break
        pieces.append(data)
        if len(data) < _READ_BYTES:
            # Less than asked for: the pipe is empty now.
            break
    return pieces
