"""There is no browser: a page that a program opens in one becomes `display_N.html`.

Plotly, bokeh, folium and others show themselves by `webbrowser`; some serve the page once on the loopback interface.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import webbrowser
from urllib.parse import unquote, urlsplit

from kernel.names import Names

_MAX_BYTES = 64 << 20
_SECONDS = 5.0


class PageKeeper(webbrowser.BaseBrowser):
    def __init__(self, names: Names) -> None:
        super().__init__("kernelyard")
        self._names = names
        self._fetching: list[threading.Thread] = []

    def become_the_browser(self) -> None:
        webbrowser.register("kernelyard", None, self, preferred=True)

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            return self._keep_file(unquote(parts.path))
        if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
            # Whoever serves it does so after this call.
            thread = threading.Thread(target=self._keep_page, args=(url,), daemon=True)
            self._fetching.append(thread)
            thread.start()
            return True
        print(f"[sandbox] There is no browser and no network for {url[:500]}", file=sys.stderr)
        return False

    def _keep_file(self, path: str) -> bool:
        directory = os.path.realpath(self._names.directory)
        if os.path.realpath(path).startswith(directory + os.sep):
            # It is where it will be found.
            return True
        target = self._names.take("display", "html")
        if target is None:
            return False
        try:
            shutil.copyfile(path, target)
        except OSError:
            os.unlink(target)
            return False
        return True

    def _keep_page(self, url: str) -> None:
        from urllib.request import urlopen

        try:
            with urlopen(url, timeout=_SECONDS) as answer:
                page = answer.read(_MAX_BYTES)
            target = self._names.take("display", "html")
            if target is not None:
                with open(target, "wb") as file:
                    file.write(page)
        except OSError:
            # It was not served after all.
            return

    def finish(self) -> None:
        """Before the files of a call are looked at."""
        while self._fetching:
            self._fetching.pop().join(_SECONDS)
