"""The conftest under which ipykernel's own tests run: its client is given a kernel of ours, run as a plain process.

What stands in for `jupyter_client.manager` starts the real supervisor and turns its frames into the messages that
those tests read. What this protocol has no message for (completion, comms, debugging …) is refused.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager

from jupyter_client import manager
from jupyter_client.session import Session

SUPERVISOR = os.environ["KERNELYARD_SUPERVISOR"]
PREFIX = struct.Struct(">II")
LANGUAGES = [{"id": "py", "version": "3.11", "command": [], "extension": ".py"}]
#: Those tests ask ipykernel's own streams whether they belong to the kernel's process: ours are made to answer.
MASTER = "import os, sys\ntype(sys.stdout)._is_master_process = lambda self, kernel=os.getpid(): os.getpid() == kernel"


class Kernel:
    """One supervisor; calls are sent one after another, as the gateway sends them."""

    def __init__(self) -> None:
        self.home = tempfile.mkdtemp(prefix="upstream-")
        data = os.path.join(self.home, "data")
        os.mkdir(data)
        for name, text in (("languages.json", json.dumps(LANGUAGES)), ("preload.txt", "")):
            with open(os.path.join(self.home, name), "w") as file:
                file.write(text)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", SUPERVISOR, "--data", data, "--directory", self.home],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
        self.session = Session()
        self.shell: queue.Queue = queue.Queue()
        self.iopub: queue.Queue = queue.Queue()
        self.waiting: list = []
        self.running = None
        self.stderr = ""
        self.lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, header: dict, body: bytes = b"") -> None:
        text = json.dumps(header).encode()
        self.process.stdin.write(PREFIX.pack(len(text), len(body)) + text + body)
        self.process.stdin.flush()

    def execute(self, code: str, silent: bool) -> str:
        message = self.session.msg("execute_request", {"code": code, "silent": silent})
        with self.lock:
            self.waiting.append(message)
            if self.running is None:
                self._next()
        return message["header"]["msg_id"]

    def _next(self) -> None:
        if not self.waiting:
            return
        self.running = message = self.waiting.pop(0)
        self.stderr = ""
        code = message["content"]["code"].encode()
        self._publish("status", {"execution_state": "busy"})
        if not message["content"]["silent"]:
            self._publish("execute_input", {"code": message["content"]["code"], "execution_count": 1})
        self.send(
            {
                "msg_type": "execute_request",
                "msg_id": message["header"]["msg_id"][:60],
                "content": {
                    "language": "py",
                    "args": [],
                    "code_bytes": len(code),
                    "timeout_ms": 60_000,
                    "stdout_limit": 1_000_000,
                    "stderr_limit": 1_000_000,
                },
            },
            code,
        )

    def _publish(self, kind: str, content: dict) -> None:
        self.iopub.put(self.session.msg(kind, content, parent=self.running))

    def _read(self) -> None:
        stream = self.process.stdout
        while prefix := stream.read(PREFIX.size):
            header_bytes, body_bytes = PREFIX.unpack(prefix)
            header, body = json.loads(stream.read(header_bytes)), stream.read(body_bytes)
            if header["msg_type"] == "stream":
                name, text = header["content"]["name"], body.decode()
                self.stderr += text if name == "stderr" else ""
                self._publish("stream", {"name": name, "text": text})
            elif header["msg_type"] == "execute_reply":
                self._ended(header["content"])

    def _ended(self, content: dict) -> None:
        reply = {"status": content["status"], "execution_count": content["execution_count"]}
        if content["status"] == "error":
            trace = self.stderr.splitlines()
            reply |= {"ename": content.get("ename", ""), "evalue": content.get("evalue", ""), "traceback": trace}
            self._publish("error", {name: reply[name] for name in ("ename", "evalue", "traceback")})
        else:
            reply |= {"user_expressions": {}, "payload": []}
        self._publish("status", {"execution_state": "idle"})
        self.shell.put(self.session.msg("execute_reply", reply, parent=self.running))
        with self.lock:
            self.running = None
            self._next()

    def interrupt(self) -> None:
        if self.running is not None:
            self.send(
                {"msg_type": "interrupt_request", "msg_id": "i", "parent_id": self.running["header"]["msg_id"][:60]}
            )

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Client:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.session = kernel.session

    def execute(self, code="", silent=False, **_options):
        return self._kernel.execute(code, silent)

    def get_shell_msg(self, timeout=60):
        return self._kernel.shell.get(timeout=timeout)

    def get_iopub_msg(self, timeout=60):
        return self._kernel.iopub.get(timeout=timeout)

    def stop_channels(self):
        """There are none."""

    def __getattr__(self, name):
        raise NotImplementedError(f"this protocol has no message for {name}")


class Manager:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def interrupt_kernel(self):
        self._kernel.interrupt()

    def shutdown_kernel(self, now=False):
        self._kernel.end()

    def is_alive(self):
        return self._kernel.process.poll() is None

    def __getattr__(self, name):
        raise NotImplementedError(f"this protocol has no message for {name}")


def start_new_kernel(**_options):
    kernel = Kernel()
    client = Client(kernel)
    client.execute(MASTER)
    client.get_shell_msg()
    while not kernel.iopub.empty():
        client.get_iopub_msg()
    return Manager(kernel), client


@contextmanager
def run_kernel(**_options):
    starter, client = start_new_kernel()
    try:
        yield client
    finally:
        starter.shutdown_kernel()


manager.start_new_kernel = start_new_kernel
manager.run_kernel = run_kernel
