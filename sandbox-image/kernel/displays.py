"""What a cell shows: text on standard output, and a file that a person can open for what text cannot say."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher

from kernel.names import Names

#: Pictures before pages, since they need nothing to be looked at. The first kind that an object offers is written.
_FILES = (
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("application/pdf", "pdf"),
    ("video/mp4", "mp4"),
    ("audio/wav", "wav"),
)
_HTML = "text/html"
_MARKDOWN = "text/markdown"
_PAGES = (_HTML, _MARKDOWN)
_PLAIN = "text/plain"
_PLOTLY = "application/vnd.plotly.v1+json"
_VEGA = re.compile(r"application/vnd\.(vega|vegalite)\.v(\d+)[\d.]*[+.]json")
#: Says more than the name of the object that holds it.
_TEXTS = (_MARKDOWN, "text/latex", "application/json", "application/javascript")
#: Metadata of a picture that is a figure: it has a series of names of its own.
FIGURE = {"kernelyard": "figure"}
_PAGE = '<!doctype html>\n<meta charset="utf-8">\n{}\n'
_VEGA_PAGE = """<div id="chart"></div>
<script src="https://cdn.jsdelivr.net/npm/vega@{version}"></script>
{lite}<script src="https://cdn.jsdelivr.net/npm/vega-embed@{embed}"></script>
<script>vegaEmbed("#chart", {spec})</script>"""
_VEGA_LITE = '<script src="https://cdn.jsdelivr.net/npm/vega-lite@{}"></script>\n'
#: A name that says nothing of the contents: `<Figure size 640x480 with 1 Axes>`, `<… object at 0x7f…>`.
_ONLY_A_NAME = re.compile(r"<[^\n]*>")


def _page(value: str) -> bytes:
    if "<html" not in value[:1000].lower():
        value = _PAGE.format(value)
    return value.encode("utf-8", "replace")


def _plotly_page(figure: Any) -> bytes | None:
    try:
        from plotly.io import to_html
    except ImportError:
        return None
    parts = {name: figure[name] for name in ("data", "layout", "frames") if name in figure}
    page: str = to_html(parts, config=figure.get("config"), include_plotlyjs=True, validate=False)
    return page.encode("utf-8", "replace")


def _vega_page(kind: re.Match[str], spec: Any) -> bytes:
    version = int(kind[2])
    # vega-lite 5 and 6 are written for vega 5 and 6, which vega-embed 6 and 7 show.
    lite = _VEGA_LITE.format(version) if kind[1] == "vegalite" else ""
    text = json.dumps(spec, default=str).replace("</", "<\\/")
    return _page(_VEGA_PAGE.format(version=version, lite=lite, embed=version + 1, spec=text))


def _as_bytes(kind: str, value: object) -> bytes | None:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if not isinstance(value, str):
        return None
    if kind == "image/svg+xml":
        return value.encode("utf-8", "replace")
    try:
        return base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError):
        return None


def _content(data: dict[str, Any]) -> tuple[str, bytes] | None:
    """Extension and bytes of what is best opened as a file."""
    for kind, extension in _FILES:
        value = data.get(kind)
        content = None if value is None else _as_bytes(kind, value)
        if content is not None:
            return extension, content
    figure = data.get(_PLOTLY)
    page = None if figure is None else _plotly_page(figure)
    if page is not None:
        return "html", page
    if isinstance(data.get(_HTML), str):
        return "html", _page(data[_HTML])
    for kind, spec in data.items():
        vega = _VEGA.fullmatch(kind)
        if vega is not None:
            return "html", _vega_page(vega, spec)
    if isinstance(data.get(_MARKDOWN), str):
        return "md", data[_MARKDOWN].encode("utf-8", "replace")
    return None


class FileDisplayPublisher(DisplayPublisher):  # type: ignore[misc]
    """Where `display` ends up."""

    names: Names
    #: Displays that may be updated, by their id.
    _shown: dict[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shown = {}

    def _setup_execution_tracking(self) -> None:
        """It serves the history of outputs, which is switched off."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: Any = None,
        source: Any = None,
        *,
        transient: Any = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        for kind, handler in getattr(self.shell, "mime_renderers", {}).items():
            if kind in data:
                handler(data[kind], (metadata or {}).get(kind))
                return
        self._write(data, metadata == FIGURE, (transient or {}).get("display_id"), update)
        text = data.get(_PLAIN)
        for kind in _TEXTS:
            value = data.get(kind)
            if value is not None and (text is None or _ONLY_A_NAME.fullmatch(text)):
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                break
        if text is not None:
            print(text)

    def _write(self, data: dict[str, Any], is_figure: bool, display_id: str | None, update: bool) -> None:
        found = _content(data)
        if found is None:
            return
        extension, content = found
        path = self._shown.get(display_id) if update and display_id is not None else None
        if path is None or not path.endswith(extension):
            path = self.names.take("plot" if is_figure else "display", extension)
        if self.names.save("figure" if is_figure else "display", path, content) and display_id is not None and path:
            self._shown[display_id] = path

    def clear_output(self, wait: bool = False) -> None:
        """What was printed has been sent already; there is nothing to clear."""


def _is_registered(formatter: Any, value: Any) -> bool:
    """Whether somebody gave this formatter a function for the type; it then goes before the object's own bundle."""
    try:
        formatter.lookup(value)
    except KeyError:
        return False
    return True


def ends_with_semicolon(code: str) -> bool:
    """By IPython's rule, which looks at tokens."""
    if ";" not in code:
        return False
    try:
        return bool(DisplayHook.semicolon_at_end_of_expression(code))
    except Exception:
        return False


#: Whose text says all there is to say: nothing else is asked for.
_SIMPLE = frozenset((bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range))


class PlainDisplayHook(DisplayHook):  # type: ignore[misc]
    """The last expression: its text, `_` for the next cell, and a file where the text is but a name."""

    #: Set around every cell; as a trait, which nobody observes, that takes longer than most cells.
    exec_result = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Not 0, which means no underscores either; `do_full_cache` stays off.
        self.cache_size = 3

    def quiet(self) -> bool:
        """By the cell itself; IPython looks into the history, which is switched off."""
        info = None if self.exec_result is None else self.exec_result.info
        return info is not None and ends_with_semicolon(info.transformed_cell or "")

    def write_output_prompt(self) -> None:
        """Nobody counts prompts here."""

    def compute_format_data(self, result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        display = self.shell.display_formatter
        plain = display.formatters[_PLAIN]
        # Without the decorator that shows an error and goes on: a value whose text fails is the code's failure.
        text_of: Any = type(plain).__call__
        text_of = text_of.__wrapped__
        if type(result) in _SIMPLE:
            return {_PLAIN: text_of(plain, result)}, {}
        if display.ipython_display_formatter(result):
            return {}, {}
        bundle, details = display.mimebundle_formatter(result)
        data, metadata = dict(bundle or {}), dict(details or {})
        own_text = _PLAIN in data
        text = data[_PLAIN] if own_text else data.setdefault(_PLAIN, text_of(plain, result))
        telling = _ONLY_A_NAME.fullmatch(text) is None
        if telling and own_text:
            # A table, a model: the object says itself that its text will do.
            for kind in _PAGES:
                data.pop(kind, None)
        for kind, formatter in display.formatters.items():
            if (
                kind == _PLAIN
                or (telling and kind in _PAGES)
                or (kind in data and not _is_registered(formatter, result))
            ):
                continue
            value = formatter(result)
            if isinstance(value, tuple) and len(value) == 2:
                value, metadata[kind] = value
            if value is not None:
                data[kind] = value
        return data, metadata

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self.shell.display_pub.publish(format_dict, md_dict)

    def update_user_ns(self, result: Any) -> None:
        """The underscores alone: the cache of all results would keep alive whatever was ever shown."""
        if "_oh" in self.shell.user_ns:
            super().update_user_ns(result)

    _: Any
    __: Any
    ___: Any

    def forget(self) -> None:
        """Lets go of the values that were shown."""
        self._ = self.__ = self.___ = ""
        if "_oh" in self.shell.user_ns:
            self.shell.push({"_": "", "__": "", "___": ""}, interactive=False)
        self.exec_result = None

    flush = forget

    def log_output(self, format_dict: dict[str, Any]) -> None:
        """The history is switched off."""

    def finish_displayhook(self) -> None:
        self._is_active = False
