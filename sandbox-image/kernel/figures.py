"""Figures of matplotlib that the code shows or leaves open become `plot_N.png`."""

from __future__ import annotations

from typing import Any

from kernel.displays import FIGURE
from kernel.open_figures import OpenFigures, as_png

#: In this order, when the code has chosen formats (`%config InlineBackend.figure_formats`).
_CHOSEN = ("image/png", "image/svg+xml", "image/jpeg", "application/pdf")


class Figures(OpenFigures):
    """Those of a kernel: displays like others."""

    def __init__(self, shell: Any) -> None:
        super().__init__()
        self._shell = shell
        shell.display_formatter.ipython_display_formatter.for_type_by_name("matplotlib.figure", "Figure", self._display)
        # For `%%capture` and the like, which run a cell within a cell.
        shell.events.register("post_execute", self.save_open)

    def save_one(self, figure: Any) -> None:
        self._publish(figure, {})

    def _display(self, figure: Any) -> None:
        """As a value or by `display`: its text too, and the picture, also when it was closed before."""
        self._publish(figure, {"text/plain": repr(figure)})

    def _publish(self, figure: Any, text: dict[str, Any]) -> None:
        picture: dict[str, Any] = self.draw_once(figure, self._draw) or {}
        if picture or text:
            self._shell.display_pub.publish({**text, **picture}, dict(FIGURE))

    def _draw(self, figure: Any) -> dict[str, Any]:
        for kind in _CHOSEN:
            formatter = self._shell.display_formatter.formatters[kind]
            if type(figure) in formatter.type_printers:
                value = formatter.type_printers[type(figure)](figure)
                return {kind: value[0] if isinstance(value, tuple) else value}
        return {"image/png": as_png(figure)}
