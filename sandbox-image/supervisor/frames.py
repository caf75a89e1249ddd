"""Byte layout of the channel to the gateway; the twin of `gateway/common/protocol/frames.ts`.

`u32 header length, u32 body length` (big endian), header (one JSON object, UTF-8), body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024
PREFIX = struct.Struct(">II")

Header = dict[str, Any]

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class FrameError(Exception):
    """The peer broke the layout: whatever follows in the stream cannot be trusted."""


def encode_head(header: Header, body_bytes: int) -> bytes:
    """Prefix and header of a frame whose body follows. Raises `FrameError` above the limits."""
    text = _encode_json(header).encode("utf-8", "replace")
    if len(text) > MAX_HEADER_BYTES:
        raise FrameError(f"header of {len(text)} bytes exceeds {MAX_HEADER_BYTES}")
    if body_bytes > MAX_BODY_BYTES:
        raise FrameError(f"body of {body_bytes} bytes exceeds {MAX_BODY_BYTES}")
    return PREFIX.pack(len(text), body_bytes) + text


def json_bytes(value: object) -> int:
    """Bytes that a value takes inside a header."""
    return len(_encode_json(value).encode("utf-8", "replace"))


class Decoder:
    """Cuts a byte stream into frames; holds at most one incomplete frame plus the piece being fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = PREFIX.size

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[Header, bytes]]:
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._needed:
            return
        offset = 0
        end = len(buffer)
        try:
            while end - offset >= PREFIX.size:
                header_bytes, body_bytes = PREFIX.unpack_from(buffer, offset)
                if not 2 <= header_bytes <= MAX_HEADER_BYTES:
                    raise FrameError(f"header length {header_bytes} is outside 2…{MAX_HEADER_BYTES}")
                if body_bytes > MAX_BODY_BYTES:
                    raise FrameError(f"body length {body_bytes} exceeds {MAX_BODY_BYTES}")
                start = offset + PREFIX.size
                middle = start + header_bytes
                stop = middle + body_bytes
                if end < stop:
                    self._needed = stop - offset
                    return
                offset = stop
                with memoryview(buffer) as view:
                    head, body = bytes(view[start:middle]), bytes(view[middle:stop])
                yield parse_header(head), body
            self._needed = PREFIX.size
        finally:
            del buffer[:offset]


def parse_header(head: bytes) -> Header:
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("header is not a JSON object")
    return header
