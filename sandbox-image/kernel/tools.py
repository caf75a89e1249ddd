"""Tools as coroutines in the namespace of a program (programmatic tool calling, Python side).

Calls that are issued in the same turn of the event loop go to the supervisor as one batch over its unix socket;
the program waits in its kernel until the answers come.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Coroutine
from typing import Any

_LENGTH = struct.Struct(">I")
#: Larger answers are refused by the supervisor before they come here.
_READ_LIMIT = 1 << 20


class ToolExecutionError(Exception):
    """A tool reported a failure."""


ToolExecutionError.__module__ = "__main__"


class Tools:
    """The batch that is being collected on each running loop."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._batches: dict[asyncio.AbstractEventLoop, list[tuple[dict[str, Any], asyncio.Future[Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def stub(self, callable_name: str, tool: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            arguments: dict[str, Any] = {}
            if args:
                if len(args) > 1 or not isinstance(args[0], dict):
                    raise TypeError(f"{callable_name}() takes keyword arguments only (or one dictionary of them)")
                arguments.update(args[0])
            arguments.update(kwargs)
            arguments = {name: value for name, value in arguments.items() if value is not None}
            # Here, so that what cannot be sent fails in the call that wrote it.
            json.dumps(arguments)
            return await self._enqueue({"name": tool, "input": arguments})

        call.__name__ = call.__qualname__ = callable_name
        call.__module__ = "__main__"
        call.__doc__ = f"Calls the tool {tool!r} and returns its decoded result."
        return call

    def _enqueue(self, call: dict[str, Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        batch = self._batches.get(loop)
        if batch is None:
            batch = self._batches[loop] = []
            # Two turns: tasks that `gather` makes now run in the next turn, before the second call.
            loop.call_soon(loop.call_soon, self._dispatch, loop)
        future: asyncio.Future[Any] = loop.create_future()
        batch.append((call, future))
        return future

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._exchange(self._batches.pop(loop)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _exchange(self, batch: list[tuple[dict[str, Any], asyncio.Future[Any]]]) -> None:
        try:
            results = await self._ask([call for call, _ in batch])
        except (OSError, EOFError, ValueError) as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(ToolExecutionError(f"The tool call could not be delivered: {error}"))
            return
        for (call, future), answer in zip(batch, results, strict=True):
            if future.done():
                continue
            if answer.get("is_error"):
                future.set_exception(ToolExecutionError(str(answer.get("error_message") or f"{call['name']} failed")))
            else:
                future.set_result(answer.get("result"))

    async def _ask(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_READ_LIMIT)
        try:
            text = json.dumps({"calls": calls, "whole": True}, separators=(",", ":")).encode()
            writer.write(_LENGTH.pack(len(text)) + text)
            await writer.drain()
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            answer = json.loads(await reader.readexactly(length))
        finally:
            writer.close()
        if "error" in answer:
            raise ValueError(answer["error"])
        results: list[dict[str, Any]] = answer["results"]
        return results
