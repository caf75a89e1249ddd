"""Runs at every start of the image's Python.

It puts matplotlib's prebuilt font list where matplotlib looks for it: matplotlib uses a cache directory only if it can
write there, and the root file system is read-only; without this, every sandbox would search all fonts again, which
takes seconds. It sees to it that figures which a program shows or leaves open are saved. Who misses a library is told
which profile of the image has it. And where the operator has a mirror of wheels, pip installs from it into the data
directory, where programs find it after all that the image has.
"""

import os
import sys

_DATA = os.environ.get("KERNELYARD_DATA") or "/mnt/data"
_HOME = os.path.join(os.path.dirname(sys.prefix), "kernelyard")
_PREBUILT = os.path.join(_HOME, "matplotlib")
_WHEELS = os.path.join(_HOME, "wheels")
#: What pip adds (`kernel/packages.py`); None where it adds nothing.
PACKAGES = None


def _provide_font_list() -> None:
    target = os.environ.get("MPLCONFIGDIR")
    if not target or os.path.isdir(target) or not os.path.isdir(_PREBUILT):
        return
    making = f"{target}.{os.getpid()}"
    try:
        os.makedirs(making)
        for name in os.listdir(_PREBUILT):
            with open(os.path.join(_PREBUILT, name), "rb") as source:
                content = source.read()
            with open(os.path.join(making, name), "wb") as copy:
                copy.write(content)
        os.rename(making, target)
    except OSError:
        # Another process was faster, or there is no room: matplotlib then helps itself.
        pass


def _find_packages() -> None:
    """Last on the path, and whether or not there are any yet. As a user's own place, `-s` and `-I` leave it out."""
    global PACKAGES
    if os.path.isdir(_WHEELS):
        PACKAGES = os.path.join(_DATA, ".venv", "lib", "python3.11", "site-packages")
        if not sys.flags.no_user_site and PACKAGES not in sys.path:
            sys.path.append(PACKAGES)


class MissingWatch:
    """The last of the finders: asked for what nobody else found. A program that misses nothing keeps its own hooks."""

    elsewhere = None

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if "." in name or sys.excepthook is not sys.__excepthook__:
            return
        if self.elsewhere is None:
            try:
                with open(os.path.join(_HOME, "elsewhere.txt"), encoding="utf-8") as file:
                    self.elsewhere = {line.split()[1] for line in file if line.startswith("import ")}
            except (OSError, IndexError):
                self.elsewhere = set()
            if PACKAGES is not None:
                try:
                    self.elsewhere.update(wheel.partition("-")[0] for wheel in os.listdir(_WHEELS))
                except OSError:
                    pass
        if name in self.elsewhere:
            sys.excepthook = _show_with_hint


def _show_with_hint(kind, error, trace) -> None:  # type: ignore[no-untyped-def]
    sys.__excepthook__(kind, error, trace)
    _tell(lambda: _ours("missing").after_error(error))


def _tell(line_of) -> None:  # type: ignore[no-untyped-def]
    """Whatever comes of it, the program's own end stays what it is."""
    try:
        line = line_of()
        if line is not None:
            print(f"[sandbox] {line}", file=sys.stderr, flush=True)
    except Exception:
        pass


class LoadWatch:
    """Among the finders of modules: changes a few libraries' modules when they have been loaded."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        then = _LOADED.get(name)
        if then is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                _after_loading(spec.loader, lambda: then(sys.modules[name]))
                return spec
        return None


def _run_pip_here(module) -> None:  # type: ignore[no-untyped-def]
    """Into the session's packages where there is a mirror; and who is refused is told why."""

    def telling(run):  # type: ignore[no-untyped-def]
        def main(args=None):  # type: ignore[no-untyped-def]
            words = sys.argv[1:] if args is None else args
            code = run(args) if PACKAGES is None else _ours("packages").run_pip(words, _DATA)
            if code:
                _tell(lambda: _ours("missing").after_pip(words))
            return code

        return main

    # Older versions have no `cli`.
    for name in ("main", "cli"):
        if hasattr(module, name):
            setattr(module, name, telling(getattr(module, name)))


def _use_own_browser(module) -> None:  # type: ignore[no-untyped-def]
    """The image's kaleido is the one with a browser in it: that it is an old one is no news to a program, and formulas
    that would come from a network are left out."""
    module.ENABLE_KALEIDO_V0_DEPRECATION_WARNINGS = False
    scope = getattr(module, "scope", None)
    if scope is not None:
        scope.mathjax = None


_LOADED = {"pip._internal.cli.main": _run_pip_here, "plotly.io._kaleido": _use_own_browser}


class PyplotWatch:
    """Among the finders of modules until pyplot is imported: nothing else tells of that, whatever backend is chosen."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "matplotlib.pyplot":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _after_loading(spec.loader, _keep_figures)
                return spec
        return None


def _after_loading(loader, then) -> None:  # type: ignore[no-untyped-def]
    load = loader.exec_module

    def exec_module(module) -> None:  # type: ignore[no-untyped-def]
        del loader.exec_module
        load(module)
        then()

    loader.exec_module = exec_module


def _keep_figures() -> None:
    import atexit

    open_figures = _ours("open_figures")
    figures = open_figures.PlainFigures(_ours("names").Names, _DATA)
    figures.patch()
    atexit.register(figures.save_open)
    os.register_at_fork(after_in_child=figures.disown)


def _ours(name):  # type: ignore[no-untyped-def]
    """A module of the kernel's, by its file: the program may have modules of these names."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"kernelyard_site.{name}", os.path.join(_HOME, "kernel", f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_provide_font_list()
_find_packages()
sys.meta_path[:0] = [PyplotWatch(), LoadWatch()]
sys.meta_path.append(MissingWatch())
