"""Build step: which profile has which library, from the profiles' lists, for those who miss one.

Usage: elsewhere.py PROFILES_DIRECTORY. Prints lines `import NAME PROFILE` and `pip NAME PROFILE`. Of several profiles
the one nearest to Python is named: those on it have it as well.
"""

import json
import pathlib
import re
import sys
from collections.abc import Iterator

LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)[^#]*(?:\s#\s*(?P<said>.*))?")


def normalized(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(line: str) -> Iterator[tuple[str, str]]:
    """`opencv-python-headless  # import cv2; pip opencv-python`: what code calls it, what people may ask pip for."""
    found = LINE.fullmatch(line.strip())
    if found is None:
        return
    said = {
        kind: names.replace(",", " ").split()
        for kind, _, names in (part.strip().partition(" ") for part in (found["said"] or "").split(";"))
    }
    for name in said.get("import", [normalized(found["name"]).replace("-", "_")]):
        yield "import", name
    for name in [found["name"], *said.get("pip", [])]:
        yield "pip", normalized(name)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    below = {
        path.parent.name: json.loads(path.read_text("utf-8"))["from"] for path in sorted(folder.glob("*/profile.json"))
    }

    def depth(profile: str) -> int:
        return 0 if profile not in below else 1 + depth(below[profile])

    table: dict[tuple[str, str], str] = {}
    for profile in sorted(below, key=lambda name: (depth(name), name)):
        for line in (folder / profile / "requirements.txt").read_text("utf-8").splitlines():
            for entry in names_of(line):
                table.setdefault(entry, profile)
    for (kind, name), profile in sorted(table.items()):
        print(kind, name, profile)


main()
