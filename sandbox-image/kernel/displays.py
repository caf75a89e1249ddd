"""`display()` leaves a file that a person can open, and the plain text on standard output."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from typing import Any

from IPython.core.displaypub import DisplayPublisher

from kernel.names import free_path

#: The first kind that an object offers is written: pictures before pages, since they need nothing to be looked at.
_FILES = (
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("application/pdf", "pdf"),
    ("text/html", "html"),
    ("video/mp4", "mp4"),
    ("audio/wav", "wav"),
)
_TEXTS = ("text/markdown", "text/latex", "application/json", "application/javascript")


def _as_bytes(kind: str, value: object) -> bytes | None:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        return None
    if kind in ("image/svg+xml", "text/html"):
        if kind == "text/html" and "<html" not in value[:1000].lower():
            value = f'<!doctype html>\n<meta charset="utf-8">\n{value}\n'
        return value.encode("utf-8", "replace")
    try:
        return base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError):
        return None


class FileDisplayPublisher(DisplayPublisher):  # type: ignore[misc]
    """Where `display` ends up."""

    directory = "."

    def publish(
        self, data: dict[str, Any], metadata: Any = None, source: Any = None, *, transient: Any = None, **_: Any
    ) -> None:
        text = data.get("text/plain")
        written = self._write_file(data)
        if written is None:
            # Markdown, LaTeX or JSON says more than the name of the object that holds it.
            for kind in _TEXTS:
                value = data.get(kind)
                if value is not None:
                    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                    break
        if text is not None:
            print(text)
        sys.stdout.flush()

    def _write_file(self, data: dict[str, Any]) -> str | None:
        for kind, extension in _FILES:
            value = data.get(kind)
            content = None if value is None else _as_bytes(kind, value)
            if content is None:
                continue
            path = free_path(self.directory, "display", extension)
            if path is None:
                print(
                    "[sandbox] A display could not be saved: the working directory cannot be written to.",
                    file=sys.stderr,
                )
                return None
            with open(path, "wb") as file:
                file.write(content)
            return path
        return None

    def clear_output(self, wait: bool = False) -> None:
        """What was printed has been sent already; there is nothing to clear."""
