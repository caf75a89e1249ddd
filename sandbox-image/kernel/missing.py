"""Which profile of the image has a library that this one lacks: one plain line after the error, for whoever reads it.

The table is made of the profiles' lists when the image is built; without one nothing is said.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable

_TABLE = os.path.join(os.path.dirname(sys.prefix), "kernelyard", "elsewhere.txt")
#: Of pip's options, those that take a word of their own.
_WITH_VALUE = frozenset("-r --requirement -c --constraint -i --index-url --extra-index-url -f --find-links -t".split())
_MOST_NAMES = 8
#: Errors that stand on each other; more is no program of a person's.
_MOST_ERRORS = 100


def _profiles(kind: str) -> dict[str, str]:
    """`kind`: `import` or `pip`."""
    try:
        with open(_TABLE, encoding="utf-8") as file:
            entries = [line.split() for line in file]
    except OSError:
        return {}
    return {entry[1]: entry[2] for entry in entries if len(entry) == 3 and entry[0] == kind}


def _is_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def profile_of(name: str) -> str | None:
    """Of a module that code imports: the profile that has it, when this image does not."""
    top = name.partition(".")[0]
    profile = _profiles("import").get(top)
    return None if profile is None or _is_here(top) else profile


def after_error(error: BaseException) -> str | None:
    """The line for an error that is, or came of, an import that found nothing."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(seen) < _MOST_ERRORS:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ModuleNotFoundError) and isinstance(one.name, str):
            profile = profile_of(one.name)
            if profile is not None:
                return f"{one.name.partition('.')[0]} is not in this image; profile {profile} has it"
        waiting += [one.__context__, one.__cause__]
    return None


def after_pip(args: Iterable[str]) -> str | None:
    """The line for a `pip install` that failed."""
    words = iter(args)
    wanted: list[str] = []
    command = None
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif word.startswith("-"):
            continue
        elif command is None:
            command = word
        else:
            distribution = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", word)
            if distribution is not None:
                wanted.append(distribution.group())
    if command != "install" or not wanted:
        return None
    packages, modules = _profiles("pip"), _profiles("import")
    said = []
    for name in wanted[:_MOST_NAMES]:
        # Models ask for what they import, too.
        profile = packages.get(re.sub(r"[-_.]+", "-", name).lower()) or modules.get(name)
        said.append(
            f"{name} is not in this image; profile {profile} has it"
            if profile is not None
            else f"{name} is in no profile of this service, and pip has no network here"
        )
    return ". ".join(said)
