"""Last step of the image build: fills the language table's versions, trims the preload list, says which libraries stay
as they are whatever pip adds, compiles the code.

Usage: finish.py PROFILE_DIRECTORY TARGET_DIRECTORY
"""

import compileall
import importlib.metadata
import importlib.util
import json
import pathlib
import py_compile
import re
import subprocess
import sys
from typing import TypedDict

#: Of the environment itself: no code imports them.
TOOLS = frozenset(("pip", "setuptools", "wheel"))


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


def installed_only(preload: str) -> str:
    """The preload list without what the operator's list of libraries does not have."""
    kept = []
    for line in preload.splitlines():
        module = line.partition("#")[0].strip()
        if not module or importlib.util.find_spec(module.partition(".")[0]) is not None:
            kept.append(line)
        else:
            print(f"preload.txt: {module} is not installed, left out")
    return "\n".join(kept) + "\n"


def constraints() -> str:
    """What is here, as pip takes constraints: where pip may add packages, these are not replaced."""
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name.lower() not in TOOLS)


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
    preload = (profile / "preload.txt").read_text("utf-8")
    (target / "preload.txt").write_text(installed_only(preload), "utf-8")
    (target / "constraints.txt").write_text(constraints(), "utf-8")
    # By content: the root file system is read-only at run time, so nothing needs to look at modification times.
    compiled = compileall.compile_dir(target, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    if not compiled:
        raise SystemExit("the supervisor or the kernel does not compile")


main()
