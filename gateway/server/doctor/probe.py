"""Runs inside a probe sandbox, as the code of a user would, and reports on one line what it found.

The host passes the text on the command line; the first argument says which probe. Standard library only; the
libraries of the image are what is probed.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import socket
import sys
import threading
from typing import Any

MARK = "kernelyard-doctor:"
MIB = 1024 * 1024

# Numbers of x86_64 and aarch64, from the kernel's unistd headers.
REFUSED_CALLS = {
    "x86_64": {"keyctl": 250, "unshare": 272, "setns": 308, "bpf": 321, "userfaultfd": 323, "ptrace": 101},
    "aarch64": {"keyctl": 219, "unshare": 97, "setns": 268, "bpf": 280, "userfaultfd": 282, "ptrace": 117},
}


def errno_of_calls() -> dict[str, str]:
    libc = ctypes.CDLL(None, use_errno=True)
    found: dict[str, str] = {}
    for name, number in REFUSED_CALLS.get(os.uname().machine, {}).items():
        ctypes.set_errno(0)
        result = libc.syscall(number, *[ctypes.c_long(0)] * 5)
        found[name] = "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")
    return found


def status() -> dict[str, str]:
    with open("/proc/self/status", encoding="ascii") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def network() -> str:
    """`none`, or how far this got."""
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if others:
        return "interfaces: " + ", ".join(others)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            # An address of the documentation range: nobody is there, a route would be.
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EACCES):
                return "none"
            return f"a route out: {error}"
    return "a connection out"


def loopback() -> list[str]:
    """The addresses of this machine that a program can serve on and reach."""
    found = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.create_server((address, 0), family=family) as server:
                socket.create_connection(server.getsockname()[:2], timeout=2).close()
            found.append(address)
        except OSError:
            pass
    return found


def written(path: str, limit: int) -> int:
    """Bytes that could be written below `path`, at most `limit`."""
    block = b"\1" * MIB
    total = 0
    name = os.path.join(path, "kernelyard-doctor")
    try:
        with open(name, "wb", buffering=0) as file:
            while total < limit:
                total += file.write(block)
            os.fsync(file.fileno())
    except OSError:
        pass
    finally:
        if os.path.exists(name):
            os.unlink(name)
    return total


def libraries(names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = str(getattr(importlib.import_module(name), "__version__", "present"))
        except Exception as error:  # whatever a broken library throws is the finding
            found[name] = f"error: {error}"
    return found


def threads() -> bool:
    done = threading.Event()
    thread = threading.Thread(target=done.set)
    thread.start()
    thread.join(10)
    return done.is_set()


def confinement(names: list[str]) -> dict[str, Any]:
    with open("/proc/version", encoding="utf-8") as file:
        version = file.read().strip()
    process = status()
    root_writable = []
    for path in ("/", "/etc", "/opt", "/usr/local", "/var/lib"):
        try:
            with open(os.path.join(path, "kernelyard-doctor"), "w", encoding="ascii"):
                root_writable.append(path)
        except OSError:
            pass
    return {
        "kernel": version,
        "uid": os.getuid(),
        "seccomp": process.get("Seccomp", ""),
        "capabilities": process.get("CapEff", ""),
        "no_new_privileges": process.get("NoNewPrivs", ""),
        "calls": errno_of_calls(),
        "network": network(),
        "loopback": loopback(),
        "root_writable": root_writable,
        "threads": threads(),
        "libraries": libraries(names),
    }


def memory(limit: int) -> dict[str, Any]:
    held = []
    for _ in range(2 * limit // (16 * MIB)):
        held.append(bytearray(os.urandom(1024)) * (16 * 1024))
    return {"survived_bytes": sum(map(len, held))}


def processes(limit: int) -> dict[str, Any]:
    started = 0
    parent = os.getpid()
    try:
        for _ in range(limit):
            if os.fork() == 0:
                # A child lives until its parent does not.
                while os.getppid() == parent:
                    threading.Event().wait(1)
                os._exit(0)
            started += 1
    except OSError:
        pass
    return {"started": started}


def main(arguments: list[str]) -> None:
    probe, *rest = arguments
    if probe == "confinement":
        result = confinement(rest)
    elif probe == "memory":
        result = memory(int(rest[0]))
    elif probe == "processes":
        result = processes(int(rest[0]))
    else:
        result = {"written_bytes": written(rest[0], int(rest[1]))}
    print(MARK + json.dumps(result), flush=True)


main(sys.argv[1:])
