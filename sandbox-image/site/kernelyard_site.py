"""Runs at every start of the image's Python: puts matplotlib's prebuilt font list where matplotlib looks for it.

matplotlib uses a cache directory only if it can write there, and the root file system is read-only: without this,
every sandbox would search all fonts again, which takes seconds.
"""

import os

_PREBUILT = "/opt/kernelyard/matplotlib"


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


_provide_font_list()
