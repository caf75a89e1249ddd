"""Fields of a message, checked: what the gateway sends is specified, and a mistake must be loud."""

from __future__ import annotations

from typing import Any

from supervisor.frames import Header


class BadMessage(Exception):
    """A known message lacks a field or has it in another type."""


def text(source: Header, name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str):
        raise BadMessage(f"{source.get('msg_type', 'content')}: `{name}` must be a string")
    return value


def integer(source: Header, name: str) -> int:
    value = source.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
        raise BadMessage(f"`{name}` must be a number that is not negative")
    return int(value)


def mapping(source: Header, name: str) -> dict[str, Any]:
    value = source.get(name)
    if not isinstance(value, dict):
        raise BadMessage(f"{source.get('msg_type', 'content')}: `{name}` must be an object")
    return value


def texts(source: Header, name: str) -> list[str]:
    value = source.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadMessage(f"`{name}` must be a list of strings")
    return value
