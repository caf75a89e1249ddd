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
    openssl: Any = sys.modules.get("_ssl")
    if openssl is not None:
        # It notices a fork by its process id, which is the same in every sandbox that is made from one checkpoint.
        openssl.RAND_add(os.urandom(32), 32.0)
    uuid: Any = sys.modules.get("uuid")
    if uuid is not None:
        uuid._node = uuid._last_timestamp = None
    processes: Any = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process()._config["authkey"] = processes.AuthenticationString(os.urandom(32))
