"""Whether a fork can be exactly what `python3` would be. What it cannot be is left to the interpreter itself."""

from __future__ import annotations

import os
import resource
import stat
import zipimport

from interpreter.command_line import CommandLine, first_directory
from interpreter.facts import Facts
from interpreter.request import Request
from interpreter.shelf import finds_any

#: Read by libraries or by libc when they start, out of our sight.
_READ_AT_START = (
    *(b"LC_", b"LANG", b"LD_", b"TZ", b"GLIBC_", b"MALLOC_", b"GCONV_PATH", b"LOCPATH"),
    *(b"OMP_", b"GOMP_", b"KMP_", b"OPENBLAS_", b"GOTO_", b"MKL_", b"BLIS_", b"VECLIB_", b"NPY_", b"NUMEXPR_"),
    *(b"OPENSSL_", b"SSL_CERT_"),
)
#: Applied to the fork, or read when they are needed.
_FOLLOWED = frozenset(
    (
        *(b"PYTHONPATH", b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE", b"PYTHONNOUSERSITE", b"PYTHONSAFEPATH"),
        *(b"PYTHONINSPECT", b"PYTHONBREAKPOINT", b"PYTHONSTARTUP", b"PYTHONASYNCIODEBUG"),
    )
)
#: Looked at by imports for no consequence that outlives them.
_HARMLESS = frozenset((b"PATH", b"PWD", b"OLDPWD", b"SHLVL", b"_"))
_STARTUP_HOOKS = frozenset(("sitecustomize", "usercustomize"))
_HIGHEST_FD = 3000


def objection(request: Request, line: CommandLine, facts: Facts) -> str | None:
    """Why the interpreter itself has to do it; None when a fork can. In the client's working directory."""
    if not _is_found_as_us(request, facts):
        return "it is called by another name"
    environ = _as_mapping(request.environ)
    if environ is None:
        return "its environment is not made of names and values"
    variable = _differing_variable(environ, facts)
    if variable is not None:
        return f"{variable} is another than at the template's start"
    return _system_objection(request, facts) or _shadow_objection(line, environ, facts)


def _as_mapping(environ: list[bytes]) -> dict[bytes, bytes] | None:
    mapping: dict[bytes, bytes] = {}
    for item in environ:
        name, equals, value = item.partition(b"=")
        if not name or not equals or name in mapping:
            return None
        mapping[name] = value
    return mapping


def _is_found_as_us(request: Request, facts: Facts) -> bool:
    """The interpreter finds its libraries by the name it was called with."""
    name = os.fsdecode(request.argv[0])
    ours = [os.path.join(facts.directory, known) for known in ("python3", "python")]
    if "/" in name:
        return name in ours
    for item in request.environ:
        if item.startswith(b"PATH="):
            for directory in os.fsdecode(item[5:]).split(":"):
                path = os.path.join(directory, name)
                if os.access(path, os.X_OK) and os.path.isfile(path):
                    return path in ours
    return False


def _differing_variable(environ: dict[bytes, bytes], facts: Facts) -> str | None:
    before = facts.environ
    read = {os.fsencode(name) for name in facts.variables_read} - _HARMLESS
    for name in environ.keys() | before.keys():
        if environ.get(name) == before.get(name) or name in _FOLLOWED:
            continue
        if name in read or name.startswith(b"PYTHON") or name.startswith(_READ_AT_START):
            return os.fsdecode(name)
    return None


def _system_objection(request: Request, facts: Facts) -> str | None:
    limits = request.limits
    if (limits[resource.RLIMIT_AS], limits[resource.RLIMIT_DATA]) != facts.unlimited_memory:
        # What is in memory already would count.
        return "a limit on memory"
    for kind, (_, hard) in limits.items():
        ours = resource.getrlimit(kind)[1]
        if ours != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > ours):
            return "a limit that cannot be raised again"
    if request.nice < os.getpriority(os.PRIO_PROCESS, 0):
        return "a priority that cannot be raised"
    if max(request.fds, default=0) > _HIGHEST_FD:
        return "a descriptor of a high number"
    if not request.processors:
        return "no processors"
    if "matplotlib" in facts.shelf.top_level and os.path.exists("matplotlibrc"):
        # Read from there when matplotlib is imported.
        return "settings of matplotlib in the working directory"
    if 0 in request.fds and stat.S_ISDIR(os.fstat(request.fds[0]).st_mode):
        return "a directory as standard input"
    return None


def _shadow_objection(line: CommandLine, environ: dict[bytes, bytes], facts: Facts) -> str | None:
    """Files of the program's that are found before those of modules in memory."""
    known = facts.shelf.top_level
    safe = line.isolated or line.has("P")
    if not line.ignores_environment:
        safe = safe or bool(environ.get(b"PYTHONSAFEPATH"))
        # These come before the standard library at once, when the interpreter itself begins to import.
        names = known | facts.pristine.modules.keys() | _STARTUP_HOOKS
        for entry in filter(None, os.fsdecode(environ.get(b"PYTHONPATH", b"")).split(":")):
            if os.path.isfile(entry):
                return "an archive on PYTHONPATH"
            if finds_any(entry, names):
                return "a module on PYTHONPATH hides one that is in memory"
    directory = None if safe and line.kind != "script" else first_directory(line)
    if line.kind == "script" and directory is not None:
        script = os.fsdecode(line.script)
        if os.path.isfile(script) and _is_archive(script):
            return "an archive as program"
        if safe and not os.path.isdir(script):
            directory = None
    if directory is not None and finds_any(directory, known):
        return "a module of the program hides one that is in memory"
    return None


def _is_archive(path: str) -> bool:
    try:
        zipimport.zipimporter(path)
    except zipimport.ZipImportError:
        return False
    return True
