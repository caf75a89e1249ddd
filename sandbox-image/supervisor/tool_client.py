"""What a tool's shell function runs: `tool_client.py SOCKET TOOL [JSON]`. Prints the result as compact JSON."""

import json
import socket
import struct
import sys


def main() -> int:
    path, tool, *rest = sys.argv[1:]
    try:
        arguments = json.loads(" ".join(rest)) if rest else {}
    except ValueError as error:
        print(f"{tool}: the argument is not JSON: {error}", file=sys.stderr)
        return 1
    text = json.dumps({"calls": [{"name": tool, "input": arguments}]}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(struct.pack(">I", len(text)) + text)
            with connection.makefile("rb") as stream:
                (length,) = struct.unpack(">I", stream.read(4))
                answer = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error) as error:
        print(f"{tool}: the call could not be delivered: {error}", file=sys.stderr)
        return 1
    if "error" in answer:
        print(f"{tool}: {answer['error']}", file=sys.stderr)
        return 1
    (result,) = answer["results"]
    if result.get("is_error"):
        print(result.get("error_message") or f"{tool} failed", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(
        json.dumps(result.get("result"), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
