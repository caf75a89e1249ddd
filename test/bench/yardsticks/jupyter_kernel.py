"""Jupyter Kernel Gateway and ipykernel, with a client beside them.

A sandbox has no network, so the client is in it, too: lines of code in, the output and the client's own milliseconds
out. What a network and a client elsewhere would add is not counted.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
import uuid
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

PORT = 8888
HOST = f"127.0.0.1:{PORT}"
READY_WITHIN_S = 120.0


async def make_kernel() -> str:
    """Waits for the gateway; the id of a new kernel."""
    client = AsyncHTTPClient()
    until = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            request = HTTPRequest(
                f"http://{HOST}/api/kernels",
                method="POST",
                body="{}",
                request_timeout=60,
            )
            reply = await client.fetch(request)
            return str(json.loads(reply.body)["id"])
        except (OSError, HTTPClientError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def execute(connection: WebSocketClientConnection, code: str) -> str:
    """What the code printed, when the kernel has answered and is idle."""
    message_id = uuid.uuid4().hex
    header = {
        "msg_id": message_id,
        "msg_type": "execute_request",
        "session": "bench",
        "username": "",
        "version": "5.3",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "allow_stdin": False,
    }
    message = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
    }
    await connection.write_message(json.dumps(message))
    printed, replied, idle = "", False, False
    while not (replied and idle):
        raw = await connection.read_message()
        # Its frames are small and follow each other: without this the second one waits for a delayed acknowledgement.
        connection.stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if raw is None:
            raise ConnectionError("the gateway closed the connection")
        answer: dict[str, Any] = json.loads(raw)
        if answer["parent_header"].get("msg_id") != message_id:
            continue
        kind, said = answer["header"]["msg_type"], answer["content"]
        if kind == "stream":
            printed += said["text"]
        replied = replied or kind == "execute_reply"
        idle = idle or (kind == "status" and said["execution_state"] == "idle")
    return printed


async def converse() -> None:
    """Answers lines until there are no more."""
    connection = await websocket_connect(f"ws://{HOST}/api/kernels/{await make_kernel()}/channels")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        code = json.loads(line)
        began = time.perf_counter()
        printed = await execute(connection, code)
        milliseconds = (time.perf_counter() - began) * 1000
        print(json.dumps({"printed": printed, "ms": milliseconds}), flush=True)


gateway = subprocess.Popen(
    [
        *(sys.executable, "-m", "kernel_gateway", "--KernelGatewayApp.ip=127.0.0.1"),
        *(f"--KernelGatewayApp.port={PORT}", "--log-level=ERROR"),
    ],
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
)
try:
    asyncio.run(converse())
finally:
    gateway.kill()
