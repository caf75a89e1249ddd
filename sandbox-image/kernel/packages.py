"""Packages that pip adds, from the operator's mirror of wheels: a virtual environment in the data directory.

The image cannot be written to, and what it has stays as it is: what is added is found after it, and lives as long as
the session's files. Files of the name `*.pth` in it mean nothing but to its own interpreter: the sandbox's processes
run no code of a session's while they start.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

_HOME = os.path.join(os.path.dirname(sys.prefix), "kernelyard")
#: Mounted by the launcher where the operator has one (`gateway/launcher/spec/create-body.ts`).
MIRROR = os.path.join(_HOME, "wheels")
#: What the image has, as pip wants to be told.
CONSTRAINTS = os.path.join(_HOME, "constraints.txt")
#: In the data directory. The name by which editors and package managers know one.
FOLDER = ".venv"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SITE_PACKAGES = os.path.join(FOLDER, "lib", _VERSION, "site-packages")


def is_offered() -> bool:
    return os.path.isdir(MIRROR)


def make_room(data: str) -> None:
    """In a kernel that begins: a folder that is on its path and was not there when the template looked."""
    if is_offered() and prepare(data):
        # By whichever name of the data directory.
        for path, finder in list(sys.path_importer_cache.items()):
            if finder is None and path.endswith(f"/{_SITE_PACKAGES}"):
                del sys.path_importer_cache[path]


def prepare(data: str) -> bool:
    """Makes the environment unless it is there; false where the directory cannot take it."""
    environment = os.path.join(data, FOLDER)
    settings, programs = os.path.join(environment, "pyvenv.cfg"), os.path.join(environment, "bin")
    interpreter = os.path.join(programs, "python3")
    # The interpreter of an earlier image may have been elsewhere.
    if os.path.exists(settings) and os.path.exists(interpreter):
        return True
    real = os.path.realpath(os.path.join(sys.prefix, "bin", _VERSION))
    packages = os.path.join(data, _SITE_PACKAGES)
    image = os.path.join(sys.prefix, "lib", _VERSION, "site-packages")
    try:
        for folder in (packages, programs):
            os.makedirs(folder, exist_ok=True)
        _replace(interpreter, lambda making: os.symlink(real, making))
        _replace(os.path.join(programs, "python"), lambda making: os.symlink("python3", making))
        # For its own interpreter, which pip and the programs that pip adds run under.
        _replace(os.path.join(packages, "image.pth"), lambda making: _write(making, f"{image}\n"))
        home = f"home = {os.path.dirname(real)}\ninclude-system-site-packages = false\n"
        _replace(settings, lambda making: _write(making, home))
    except OSError:
        return False
    return True


def _replace(path: str, make: Callable[[str], None]) -> None:
    """Whole or not at all: several programs may begin at once."""
    making = f"{path}.{os.getpid()}"
    make(making)
    os.rename(making, path)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def run_pip(words: Sequence[str], data: str) -> int:
    """pip's exit code, from the environment's own interpreter: pip adds to that one, and takes away from no other."""
    if not prepare(data):
        print(f"[sandbox] pip cannot write to {os.path.join(data, FOLDER)}", file=sys.stderr)
        return 1
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": MIRROR}
    if os.path.exists(CONSTRAINTS):
        settings["PIP_CONSTRAINT"] = CONSTRAINTS
    # The user's own place is this one.
    wanted = [word for word in words if word != "--user"]
    # Not from the working directory, where a `pip.py` may be.
    command = [os.path.join(data, FOLDER, "bin", "python3"), "-P", "-m", "pip", *wanted]
    return subprocess.run(command, env={**os.environ, **settings}, check=False).returncode
