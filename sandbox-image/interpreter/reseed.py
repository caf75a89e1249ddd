"""Forks of one template must not draw the same numbers, nor know each other's secrets."""

from __future__ import annotations

import os
import random
import sys
from typing import Any


def reseed() -> None:
    """While the modules can be found in `sys.modules`."""
    random.seed()
    mtrand = sys.modules.get("numpy.random.mtrand")
    if mtrand is not None:
        mtrand.seed(None)
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process()._config["authkey"] = processes.AuthenticationString(os.urandom(32))
