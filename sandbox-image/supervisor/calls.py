"""One call at a time: from `execute_request` to `execute_reply`."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from supervisor import processes
from supervisor.background import Background
from supervisor.call import Call
from supervisor.channel import Channel
from supervisor.collect import Collector, Report
from supervisor.files import FileWriter
from supervisor.frames import Header
from supervisor.guests import Guests
from supervisor.kernels import Kernel, Kernels
from supervisor.ladder import Ladder
from supervisor.languages import Language
from supervisor.launch import Launch, ReadyShell, launch
from supervisor.loop import Loop
from supervisor.output import READ_BYTES
from supervisor.programs import Program
from supervisor.replies import Replies
from supervisor.tools import Tools

#: A kernel that is not there by then will not come: the call is answered without it.
_KERNEL_SECONDS = 90.0
_FAILURES = 4
_SHELL = "bash"
#: So long after a bash program the next shell is started: not in the way of the reply.
_SHELL_SECONDS = 0.02


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
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._kernels = kernels
        self._languages = languages
        self._data = data
        self._environment = environment
        self._ladder = Ladder(loop, kernels, self._program_over)
        self._replies = Replies(channel)
        self._collector = Collector(data, channel, files)
        self._files = files
        self._background = Background(loop)
        #: Cells of bash programs.
        self.guests = Guests(
            loop, kernels, self._guest_refusal, self._guest_begins, self._kernel_free, self._most_shown
        )
        self._call: Call | None = None
        self._shell: ReadyShell | None = None
        self._leaving: ReadyShell | None = None
        self._sequence = 0
        #: A kernel with variables died while no call ran: the next one must be told.
        self._lost: str | None = None

    @property
    def executing(self) -> str | None:
        return None if self._call is None else self._call.id

    @property
    def busy(self) -> bool:
        return self._call is not None or self.guests.running

    @property
    def shell_leaves(self) -> bool:
        """Whether a dismissed shell has not ended yet."""
        return self._leaving is not None

    def watch_memory(self, limit: int) -> None:
        """Ends a call at which the sandbox uses more bytes than `limit`, from the next one on; 0: never."""
        self._ladder.watch_memory(limit)

    def close(self) -> None:
        """Removes what a running call has in /tmp."""
        self._background.close()
        if self._shell is not None:
            self._shell.close()
        call = self._call
        if call is not None and call.tools is not None:
            call.tools.close()
        if call is not None and call.program is not None:
            call.program.close()

    # ------------------------------------------------------------ from the gateway

    def start(self, header: Header, body: bytes) -> None:
        call = Call(header)
        if self._call is not None:
            self._replies.note(call, f"Another call ({self._call.id}) is running in this sandbox.")
            self._replies.end_streams(call)
            self._reply(call, "aborted", None)
            return
        self._call = call
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

    def interrupt(self, parent_id: str, *, wanted: bool) -> None:
        """`wanted`: somebody still waits for what the call did."""
        call = self._call
        if call is None or call.id != parent_id:
            return
        call.abandoned = call.abandoned or not wanted
        if call.phase in ("receiving", "waiting"):
            call.reason = "interrupted"
            self._finish_unrun(call, "Interrupted before it ran.")
        else:
            self._ladder.end(call, "interrupted")

    def restart_kernel(self) -> None:
        call = self._call
        if call is not None and call.phase == "running" and call.program is None:
            call.reason = call.reason or "interrupted"
            self._ladder.kill(call)
        else:
            # At once, not when its end is reported: the next call must not meet the old one.
            self._kernels.give_up(signal.SIGKILL)
            self._lost = None

    def _add_code(self, call: Call, body: bytes) -> None:
        if call.receive(body):
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
            self._kernels.provide()
            kernel = self._kernels.current
            if kernel is not None and kernel.ready and not self.guests.running:
                self._run_cell(call, kernel)
            else:
                call.timer = self._loop.after(
                    _KERNEL_SECONDS, lambda: self._finish_unrun(call, "No Python kernel could be started.")
                )

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _run_cell(self, call: Call, kernel: Kernel) -> None:
        call.sequence = self._next_sequence()
        request: dict[str, Any] = {"run": call.sequence, "args": call.args, "code_bytes": call.code_bytes}
        if call.script:
            request["script"] = kernel.spent = True
        if call.shown is not None:
            request["shown"] = call.shown.left
        if call.tool_names:
            request["tools"] = self._open_tools(call).python_stubs()
        self._tell_lost(call)
        for sentence in (self._background.tell(), *self._files.tell_left_out()):
            if sentence is not None:
                self._replies.note(call, sentence)
        self._ladder.start(call)
        code, call.code = call.code, b""
        if call.script:
            call.program_text = code
        if kernel.noisy:
            # What was left running keeps the pipes it has, and does not print into this call.
            for fd in self._kernels.renew_pipes(request, code):
                self._background.adopt(fd)
        else:
            self._kernels.send(request, code)
        if call.tools is None:
            self._kernels.await_quick()

    def _tell_lost(self, call: Call) -> None:
        """Who runs a cell may miss variables; other programs have none."""
        if self._lost is not None:
            self._replies.note(call, self._lost)
            call.kernel = "restarted"
            self._lost = None

    def _run_program(self, call: Call, language: Language) -> None:
        prelude = self._open_tools(call).shell_prelude() if call.tool_names else ""
        try:
            launched = self._launch(call, language, prelude)
        except (OSError, ValueError) as error:
            self._finish_unrun(call, f"{language.id} could not be started: {error}")
            return
        call.program = Program(self._loop, launched, lambda name: self._on_program_output(call, name))
        call.code = b""
        self._kernels.protected = {call.program.pid}
        for sentence in self._files.tell_left_out():
            self._replies.note(call, sentence)
        self._ladder.start(call)

    def _launch(self, call: Call, language: Language, prelude: str) -> Launch:
        if self._shell is not None and language.id == _SHELL and not call.args:
            with contextlib.suppress(OSError):
                return self._take_shell().run(call.code, prelude)
        environment = {**self._environment, "BASH_ENV": prelude} if prelude else self._environment
        return launch(language, call.code, call.args, self._data, environment)

    def _take_shell(self) -> ReadyShell:
        shell, self._shell = self._shell, None
        self._kernels.spared = set()
        assert shell is not None
        return shell

    def start_shell(self) -> None:
        """One that waits for the next bash program."""
        language = self._languages.get(_SHELL)
        if self._shell is None and language is not None and self._call is None and not self._kernels.resting:
            with contextlib.suppress(OSError):
                self._shell = ReadyShell(language, self._data, self._environment)
                self._kernels.spared = {self._shell.pid}

    def dismiss_shell(self) -> None:
        """It ends, which is reported as any end is."""
        if self._shell is not None:
            self._leaving = self._take_shell()
            processes.send(self._leaving.pid, signal.SIGKILL)

    def _open_tools(self, call: Call) -> Tools:
        call.tools = Tools(
            self._loop,
            self._channel,
            call.id,
            call.tool_names,
            lambda waiting: self._ladder.on_tool_waiting(call, waiting),
        )
        return call.tools

    def _pass_on(self, call: Call, fd: int, name: str) -> bool:
        """False at the end of the file."""
        more = self._replies.pass_on(call, fd, name)
        if call.stdout.truncated:
            self._ladder.end(call, "stdout_limit")
        return more

    def _take_rest(self, call: Call, stdout: int, stderr: int) -> None:
        self._replies.take_rest(call, stdout, stderr)
        if call.stdout.truncated and call.reason is None:
            call.reason = "stdout_limit"

    # ------------------------------------------------------------ from the kernel

    def _guest_refusal(self) -> str | None:
        """Why a bash program's cell cannot run now."""
        call = self._call
        if call is None or call.phase != "running":
            return "It runs cells only while a call runs."
        return "It is running this call." if call.program is None else None

    def _guest_begins(self) -> int:
        if self._call is not None:
            self._tell_lost(self._call)
        return self._next_sequence()

    def kernel_ready(self) -> None:
        self.guests.kernel_ready()
        self._kernel_free()

    def _kernel_free(self) -> None:
        if self.guests.running:
            return
        call, kernel = self._call, self._kernels.current
        if call is not None and call.phase == "waiting" and kernel is not None:
            self._run_cell(call, kernel)

    def _most_shown(self) -> int:
        """How much of what a bash program's cell shows is sent on."""
        call = self._call
        return 0 if call is None or call.shown is None else call.shown.left

    def _show(self, kernel: Kernel, message: dict[str, Any]) -> None:
        """Not what comes late, or is no such file: a thread outlives its call, code speaks in our name."""
        call, run, name = self._call, message.get("run"), message["shown"]
        if call is None or call.phase != "running" or call.shown is None or not isinstance(name, str):
            return
        if call.program is None:
            if run != call.sequence:
                return
        elif not self.guests.runs(run):
            return
        content = call.shown.take(self._data, name, message.get("bytes"), message.get("crc32"))
        if content is None:
            return
        # What was printed before it comes before it.
        for stream in ("stdout", "stderr"):
            if call.program is None:
                self.kernel_output(kernel, stream)
            else:
                self._on_program_output(call, stream)
        self._replies.show(call, name, content)

    def kernel_message(self, message: dict[str, Any]) -> None:
        """What a cell shows, and its end. Anything else is not from our code: the kernel is not believed any more."""
        call, kernel = self._call, self._kernels.current
        if kernel is None:
            return
        if "shown" in message:
            self._show(kernel, message)
            return
        count, exit_code = message.get("count"), message.get("exit_code")
        if not isinstance(count, int) or not isinstance(exit_code, int):
            self._kernels.give_up(None)
            return
        if not 0 <= exit_code <= 255 or not 0 <= count < 2**53:
            self._kernels.give_up(None)
            return
        kernel.execution_count = count
        if self.guests.message(message):
            return
        if call is None or call.phase != "running" or call.program is not None or message.get("run") != call.sequence:
            self._kernels.give_up(None)
            return
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

    def kernel_output(self, kernel: Kernel, name: str) -> None:
        call = self._call
        fd = kernel.stdout if name == "stdout" else kernel.stderr
        if call is not None and call.phase == "running" and call.program is None:
            self._pass_on(call, fd, name)
            return
        # A child, or a thread, that prints when its call is over.
        try:
            data = os.read(fd, READ_BYTES)
        except OSError:
            return
        if data and not kernel.ending:
            self._background.heard(data)
            self._kernels.hush(kernel)

    def kernel_died(self, kernel: Kernel, status: int | None) -> None:
        call = self._call
        text, ended = _describe(status)
        if self.guests.died(text):
            if call is not None:
                call.kernel = "restarted"
            return
        if call is None or call.phase in ("receiving", "collecting") or call.program is not None:
            if kernel.ready and not kernel.spent:
                self._lost = f"The kernel ended ({text}) after the previous call; variables are lost, files are kept."
            return
        if call.phase == "waiting":
            # It died before it was ready; another one is being started.
            if self._kernels.failures >= _FAILURES:
                self._finish_unrun(call, "No Python kernel could be started.")
            return
        self._take_rest(call, kernel.stdout, kernel.stderr)
        call.ended = ended
        if call.script and call.reason is None and status is not None and os.WIFEXITED(status):
            # As a script may end: `os._exit`.
            self._over(call)
            return
        call.kernel = "restarted"
        if call.reason is None:
            call.reason = "kernel_died"
        what = "program" if call.script else "kernel"
        lost = "." if call.script else ": variables are lost, files are kept."
        if call.stage == 3 and call.reason != "out_of_memory":
            self._replies.note(call, f"The code did not stop when interrupted{lost}")
        else:
            self._replies.note(call, f"The {what} ended ({text}){lost.replace(':', ';')}")
        self._over(call)

    # ------------------------------------------------------------ from programs

    def program_ended(self, pid: int, status: int) -> bool:
        """Whether it was the running call's program, or the shell that waits for the next one."""
        if self._shell is not None and self._shell.pid == pid:
            self._take_shell().forget()
            return True
        if self._leaving is not None and self._leaving.pid == pid:
            self._leaving.forget()
            self._leaving = None
            return True
        call = self._call
        if call is None or call.program is None or call.program.pid != pid:
            return False
        call.program.reaped(status)
        self._program_over(call, status)
        return True

    def _program_over(self, call: Call, status: int) -> None:
        program = call.program
        if program is None or call.phase != "running":
            return
        _, call.ended = _describe(status)
        self.guests.cancel()
        self._take_rest(call, program.stdout, program.stderr)
        self._kernels.protected = set()
        if call.script or call.stage:
            # Nothing that it started survives it.
            self._kernels.end_strays()
        else:
            # In a session its jobs go on, as those of a shell do, and may print.
            for fd in program.release_pipes():
                self._background.adopt(fd)
        program.close()
        self._over(call)

    def _on_program_output(self, call: Call, name: str) -> None:
        program = call.program
        if program is None or call.phase != "running":
            return
        fd = program.stdout if name == "stdout" else program.stderr
        if not self._pass_on(call, fd, name):
            program.close_pipe(name)

    # ------------------------------------------------------------ the end

    def _finish_unrun(self, call: Call, sentence: str) -> None:
        if call.phase not in ("receiving", "waiting"):
            return
        self._loop.cancel(call.timer)
        call.phase = "collecting"
        if call.tools is not None:
            call.tools.close()
        self._replies.note(call, sentence)
        self._replies.end_streams(call)
        self._call = None
        self._reply(call, "aborted", None)

    def _over(self, call: Call) -> None:
        if call.tools is not None:
            call.tools.close()
        wall = self._ladder.stop(call)
        call.ended["wall_time_ms"] = round(wall * 1000, 3)
        call.phase = "collecting"
        self._replies.end_streams(call)
        if call.script and call.program is None:
            self._kernels.retire()
        if call.rules is None or call.abandoned:
            self._files.left_out.clear()
            self._complete(call, None)
            return
        outputs, report = self._collector.compare(call.rules, call.program_text)
        self._files.left_out.clear()
        self._collector.stream(call.id, call.rules, outputs, report, lambda: self._complete(call, report))

    def _complete(self, call: Call, report: Report | None) -> None:
        self._call = None
        if call.abandoned and report is not None:
            self._collector.take_back(report)
        if call.program is not None and not call.script:
            self._loop.after(_SHELL_SECONDS, self.start_shell)
        failed = call.reason is not None or call.ended.get("exit_code") != 0
        self._reply(call, "error" if failed else "ok", report)

    def _reply(self, call: Call, status: str, report: Report | None) -> None:
        kernel = self._kernels.current
        self._replies.finish(call, status, 0 if kernel is None else kernel.execution_count, report)


def _describe(status: int | None) -> tuple[str, dict[str, Any]]:
    """For a person, and as fields of the reply."""
    if status is None:
        return "its control channel was closed or written to", {"exit_code": None, "signal": "SIGKILL"}
    if os.WIFSIGNALED(status):
        name = processes.signal_name(os.WTERMSIG(status))
        return name, {"exit_code": None, "signal": name}
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}", {"exit_code": code, "signal": None}
