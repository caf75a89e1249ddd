"""Figures of matplotlib that the code shows or leaves open become `plot_N.png`."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import weakref
from typing import Any

from kernel.displays import FIGURE

#: In this order, when the code has chosen formats (`%config InlineBackend.figure_formats`).
_CHOSEN = ("image/png", "image/svg+xml", "image/jpeg", "application/pdf")


class Figures:
    """Knows which figures the code saved itself during this call; those are not saved a second time."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._saved: weakref.WeakSet[Any] = weakref.WeakSet()
        self._patched = False
        shell.display_formatter.ipython_display_formatter.for_type_by_name("matplotlib.figure", "Figure", self._display)
        # For `%%capture` and the like, which run a cell within a cell.
        shell.events.register("post_execute", self.save_open)

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
            self._publish(figure, {})

        figure_class.savefig = remembering_savefig
        figure_class.show = show_one
        pyplot.show = show

    def _display(self, figure: Any) -> None:
        """As a value or by `display`: its text too, and the picture, also when it was closed before."""
        self._publish(figure, {"text/plain": repr(figure)})

    def _publish(self, figure: Any, text: dict[str, Any]) -> None:
        picture: dict[str, Any] = {}
        if figure not in self._saved:
            try:
                picture = self._draw(figure)
            except Exception as error:
                print(f"[sandbox] A figure could not be saved: {type(error).__name__}: {error}", file=sys.stderr)
            self._saved.add(figure)
        if picture or text:
            self._shell.display_pub.publish({**text, **picture}, dict(FIGURE))

    def _draw(self, figure: Any) -> dict[str, Any]:
        for kind in _CHOSEN:
            formatter = self._shell.display_formatter.formatters[kind]
            if type(figure) in formatter.type_printers:
                value = formatter.type_printers[type(figure)](figure)
                return {kind: value[0] if isinstance(value, tuple) else value}
        content = io.BytesIO()
        figure.savefig(content, format="png")
        return {"image/png": content.getvalue()}

    def save_open(self) -> None:
        """Saves and closes every open figure."""
        self.patch()
        helpers = sys.modules.get("matplotlib._pylab_helpers")
        if helpers is None or not helpers.Gcf.figs:
            return
        for manager in list(helpers.Gcf.figs.values()):
            figure = manager.canvas.figure
            if figure.axes or figure.texts or figure.images or figure.lines or figure.patches:
                self._publish(figure, {})
            with contextlib.suppress(Exception):
                helpers.Gcf.destroy(manager)

    def forget(self) -> None:
        """A call is over: what it saved may be saved again."""
        if self._saved:
            self._saved.clear()
