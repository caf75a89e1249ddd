"""How to come by a library that this image lacks: one plain line after the error, for whoever reads it.

Pip has it where the operator's mirror has, or another profile of the image does. The table of profiles is made of their
lists when the image is built; without one nothing is said of them. This file is loaded by its path as well: it imports
nothing of ours.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable

_HOME = os.path.join(os.path.dirname(sys.prefix), "kernelyard")
_TABLE = os.path.join(_HOME, "elsewhere.txt")
_MIRROR = os.path.join(_HOME, "wheels")
_CONSTRAINTS = os.path.join(_HOME, "constraints.txt")
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.+\.whl")
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


def _normalized(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _offered() -> dict[str, list[str]] | None:
    """What the operator's mirror of wheels has: versions by normalized name; None where there is no mirror."""
    try:
        files = sorted(os.listdir(_MIRROR))
    except OSError:
        return None
    found: dict[str, list[str]] = {}
    for wheel in filter(None, map(_WHEEL.fullmatch, files)):
        found.setdefault(_normalized(wheel["name"]), []).append(wheel["version"])
    return found


def _fixed() -> dict[str, str]:
    """What the image has, which pip leaves as it is: versions by normalized name."""
    try:
        with open(_CONSTRAINTS, encoding="utf-8") as file:
            entries = [line.strip().partition("==") for line in file]
    except OSError:
        return {}
    return {_normalized(name): version for name, _, version in entries if version}


def _how_to_import(name: str) -> str | None:
    """Of a module that code imports and this image does not have."""
    top = name.partition(".")[0]
    if _is_here(top):
        return None
    if _normalized(top) in (_offered() or {}):
        return f"{top} is not in this image; `pip install {_normalized(top)}` adds it, for this call or session"
    profile = _profiles("import").get(top)
    return None if profile is None else f"{top} is not in this image; profile {profile} has it"


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
            line = _how_to_import(one.name)
            if line is not None:
                return line
        waiting += [one.__context__, one.__cause__]
    return None


def after_pip(args: Iterable[str]) -> str | None:
    """The line for a `pip install` that failed."""
    words = iter(args)
    wanted: list[tuple[str, str]] = []
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
                wanted.append((distribution.group(), word))
    if command != "install" or not wanted:
        return None
    offered, fixed = _offered(), _fixed()
    said = [_how_to_install(name, word, offered, fixed) for name, word in wanted[:_MOST_NAMES]]
    return ". ".join(filter(None, said)) or None


def _how_to_install(
    name: str, requirement: str, offered: dict[str, list[str]] | None, fixed: dict[str, str]
) -> str | None:
    """None where pip's own words say what is wrong."""
    key = _normalized(name)
    if offered is not None and key in fixed:
        if _allows(requirement, [fixed[key]]):
            return None
        return f"{name} is in this image as {fixed[key]}, and stays as it is"
    if offered is not None and key in offered:
        if _allows(requirement, offered[key]):
            return None
        return f"{name} can be installed here as {', '.join(offered[key])}"
    # Models ask for what they import, too.
    profile = _profiles("pip").get(key) or _profiles("import").get(name)
    if profile is not None:
        return f"{name} is not in this image; profile {profile} has it"
    if offered is not None:
        return f"{name} is not among the packages that can be installed here; the service's operator can add it"
    return f"{name} is in no profile of this service, and pip has no network here"


def _allows(requirement: str, versions: list[str]) -> bool:
    """By pip's own reading, in whose process this runs. What it cannot read is not a matter of versions."""
    try:
        from pip._vendor.packaging.requirements import Requirement

        specifier = Requirement(requirement).specifier
        return any(specifier.contains(version, prereleases=True) for version in versions)
    except Exception:
        return True
