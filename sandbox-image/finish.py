"""Last step of the image build: fills the language table's versions and compiles what the image runs.

Usage: finish.py PROFILE_DIRECTORY TARGET_DIRECTORY
"""

import compileall
import json
import pathlib
import py_compile
import re
import shutil
import subprocess
import sys
from typing import TypedDict


class Language(TypedDict):
    """One entry of a profile's languages.json."""

    id: str
    command: list[str]
    extension: str
    version_command: list[str]


def version_of(language: Language) -> str:
    """The first dotted number that the language's own program prints."""
    done = subprocess.run(
        language["version_command"],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    found = re.search(r"\d+(\.\d+)*", done.stdout)
    if found is None:
        raise SystemExit(f"{language['id']}: no version in {done.stdout[:200]!r}")
    return found.group()


def main() -> None:
    profile, target = (pathlib.Path(argument) for argument in sys.argv[1:])
    declared: list[Language] = json.loads((profile / "languages.json").read_text("utf-8"))
    table = [
        {
            "id": language["id"],
            "command": language["command"],
            "extension": language["extension"],
            "version": version_of(language),
        }
        for language in declared
    ]
    (target / "languages.json").write_text(json.dumps(table, indent=2) + "\n", "utf-8")
    shutil.copyfile(profile / "preload.txt", target / "preload.txt")
    # By content: the root file system is read-only at run time, so nothing needs to look at modification times.
    compiled = compileall.compile_dir(target, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    if not compiled:
        raise SystemExit("the supervisor or the kernel does not compile")


main()
