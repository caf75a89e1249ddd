"""The interpreter's own command line, as far as a fork can follow it."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

_SIMPLE = frozenset(b"BEIPRiqsux")


class CommandLine(NamedTuple):
    options: frozenset[int]
    kind: Literal["command", "module", "script", "input"]
    #: The script's path.
    script: bytes = b""

    @property
    def isolated(self) -> bool:
        return ord("I") in self.options

    @property
    def ignores_environment(self) -> bool:
        return self.isolated or ord("E") in self.options

    def has(self, option: str) -> bool:
        return ord(option) in self.options


def parse(argv: list[bytes]) -> CommandLine | None:
    """None for what only the real interpreter can do, errors included."""
    options: set[int] = set()
    for place, word in enumerate(argv[1:], 1):
        if word == b"-":
            return CommandLine(frozenset(options), "input")
        if not word.startswith(b"-"):
            return CommandLine(frozenset(options), "script", word)
        for index, letter in enumerate(word[1:], 2):
            if letter in b"cm":
                if index == len(word) and place + 1 == len(argv):
                    return None
                return CommandLine(frozenset(options), "command" if letter == ord("c") else "module")
            if letter not in _SIMPLE:
                return None
            options.add(letter)
    return CommandLine(frozenset(options), "input")


def first_directory(line: CommandLine) -> str | None:
    """Where the program's own modules are looked for first; None for a script that is not there."""
    if line.kind != "script":
        return "."
    path = os.fsdecode(line.script)
    if os.path.isdir(path):
        return path
    return os.path.dirname(os.path.realpath(path)) if os.path.exists(path) else None
