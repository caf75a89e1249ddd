"""The table of languages that the image declares (`languages.json`)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Language:
    """`command` is the argument list that the path of the script is appended to; empty: the live kernel."""

    id: str
    version: str
    command: tuple[str, ...]
    extension: str


def read_languages(path: Path) -> dict[str, Language]:
    """Raises `ValueError` naming the entry: an image with a broken table must not start."""
    table: dict[str, Language] = {}
    for entry in json.loads(path.read_text("utf-8")):
        command = entry.get("command", [])
        language = Language(entry["id"], entry["version"], tuple(command), entry["extension"].lstrip("."))
        if not re.fullmatch(r"[a-z0-9]{1,16}", language.id) or len(language.version) > 64:
            raise ValueError(
                f"{path.name}: bad entry {entry!r}: `id` is 1-16 of a-z0-9, `version` at most 64 characters"
            )
        if not all(isinstance(word, str) for word in command):
            raise ValueError(f"{path.name}: `command` of {language.id} must be a list of strings")
        table[language.id] = language
    return table
