"""Figures of matplotlib that the code left open become `plot_N.png`."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import weakref
from typing import Any

from kernel.names import free_path


class Figures:
    """Knows which figures the code saved itself during this call; those are not saved a second time."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._saved: weakref.WeakSet[Any] = weakref.WeakSet()
        self._patched = False

    def patch(self) -> None:
        """Makes `savefig` remember and `show` save. Done once, as soon as pyplot is there."""
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if self._patched or pyplot is None or not hasattr(pyplot, "show"):
            return
        self._patched = True
        figure_class = sys.modules["matplotlib.figure"].Figure
        savefig = figure_class.savefig

        @functools.wraps(savefig)
        def remembering_savefig(figure: Any, *args: Any, **kwargs: Any) -> Any:
            result = savefig(figure, *args, **kwargs)
            self._saved.add(figure)
            return result

        def show(*_args: Any, **_kwargs: Any) -> None:
            """Saves the open figures as plot_N.png in the working directory."""
            self.save_open()

        def show_one(figure: Any, *_args: Any, **_kwargs: Any) -> None:
            """Saves this figure as plot_N.png in the working directory."""
            self.save(figure)

        figure_class.savefig = remembering_savefig
        figure_class.show = show_one
        pyplot.show = show

    def save(self, figure: Any) -> None:
        if figure in self._saved:
            return
        path = free_path(self._directory, "plot", "png")
        if path is None:
            print("[sandbox] A figure could not be saved: the working directory cannot be written to.", file=sys.stderr)
            return
        try:
            figure.savefig(path)
        except BaseException as error:
            os.unlink(path)
            if not isinstance(error, Exception):
                raise
            print(f"[sandbox] A figure could not be saved: {type(error).__name__}: {error}", file=sys.stderr)
            self._saved.add(figure)

    def save_open(self) -> None:
        """Saves and closes every open figure."""
        self.patch()
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is None or not helpers.Gcf.figs:
            return
        for manager in list(helpers.Gcf.figs.values()):
            figure = manager.canvas.figure
            if figure.axes or figure.texts or figure.images or figure.lines or figure.patches:
                self.save(figure)
            with contextlib.suppress(Exception):
                helpers.Gcf.destroy(manager)
        self._saved.clear()

    @property
    def any_open(self) -> bool:
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        return helpers is not None and bool(helpers.Gcf.figs)
