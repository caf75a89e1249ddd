"""Figures of matplotlib that a program shows or leaves open, in kernels and in every other `python3`.

The standard library only: a plain interpreter loads this file by its path when it imports pyplot (site/).
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any


class OpenFigures:
    """Knows which figures the code saved itself; those are not saved a second time."""

    def __init__(self) -> None:
        self._saved: weakref.WeakSet[Any] = weakref.WeakSet()
        self._patched = False

    def save_one(self, figure: Any) -> None:
        raise NotImplementedError

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

        def show(*_args: Any, block: bool | None = None, **_kwargs: Any) -> None:
            """Saves the open figures as plot_N.png in the working directory."""
            # Unblocking is what an animation does between its frames (`plt.pause`).
            if block is not False:
                self.save_open()

        def show_one(figure: Any, *_args: Any, **_kwargs: Any) -> None:
            """Saves this figure as plot_N.png in the working directory."""
            self.save_one(figure)

        figure_class.savefig = remembering_savefig
        figure_class.show = show_one
        pyplot.show = show

    def draw_once(self, figure: Any, draw: Callable[[Any], Any]) -> Any:
        """What `draw` makes of a figure that has not been saved yet, else None."""
        if figure in self._saved:
            return None
        try:
            return draw(figure)
        except Exception as error:
            print(f"[sandbox] A figure could not be saved: {type(error).__name__}: {error}", file=sys.stderr)
            return None
        finally:
            self._saved.add(figure)

    def save_open(self) -> None:
        """Saves and closes every open figure."""
        self.patch()
        helpers = _helpers()
        if helpers is None or not helpers.Gcf.figs:
            return
        for manager in list(helpers.Gcf.figs.values()):
            figure = manager.canvas.figure
            if figure.axes or figure.texts or figure.images or figure.lines or figure.patches:
                self.save_one(figure)
            with contextlib.suppress(Exception):
                helpers.Gcf.destroy(manager)

    def disown(self) -> None:
        """In a child process: what is open is its parent's."""
        helpers = _helpers()
        if helpers is not None:
            self._saved.update(manager.canvas.figure for manager in helpers.Gcf.figs.values())

    def forget(self) -> None:
        """A call is over: what it saved may be saved again."""
        if self._saved:
            self._saved.clear()


class PlainFigures(OpenFigures):
    """Of a plain interpreter. `make_names`: for a directory, who gives the names in it."""

    def __init__(self, make_names: Callable[[str], Any], data: str) -> None:
        super().__init__()
        self._make_names = make_names
        self._data = os.path.realpath(data)
        self._names: Any = None

    def save_one(self, figure: Any) -> None:
        content = self.draw_once(figure, as_png)
        if content is None:
            return
        names = self._names_here()
        names.save("figure", names.take("plot", "png"), content)

    def _names_here(self) -> Any:
        """In the working directory, if what is there is delivered; else in the data directory."""
        directory = os.getcwd()
        if os.path.isdir(self._data) and os.path.commonpath((directory, self._data)) != self._data:
            directory = self._data
        if self._names is None or self._names.directory != directory:
            self._names = self._make_names(directory)
        return self._names


def as_png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _helpers() -> Any:
    return sys.modules.get("matplotlib._pylab_helpers")
