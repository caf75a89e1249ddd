"""Runs at every start of the image's Python.

It puts matplotlib's prebuilt font list where matplotlib looks for it: matplotlib uses a cache directory only if it can
write there, and the root file system is read-only; without this, every sandbox would search all fonts again, which
takes seconds. And it sees to it that figures which a program shows or leaves open are saved.
"""

import os
import sys

_DATA = "/mnt/data"
_HOME = os.path.join(os.path.dirname(sys.prefix), "kernelyard")
_PREBUILT = os.path.join(_HOME, "matplotlib")


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
sys.meta_path.insert(0, PyplotWatch())
