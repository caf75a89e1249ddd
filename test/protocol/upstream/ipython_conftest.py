"""The conftest under which IPython's own tests run: in a cell of our kernel, on its shell instead of a terminal's.

The rest is what IPython's own conftest sets up: shell commands print what they print, help is printed.
"""

from __future__ import annotations

import builtins
import os
import pathlib
import shutil
import sys
import types

import pytest
from IPython.core import page
from IPython.core.history import HistoryManager

pytest.register_assert_rewrite("IPython.testing.tools")

SHELL = builtins.get_ipython()


@pytest.fixture(scope="session", autouse=True)
def work_path():
    path = pathlib.Path("./ipython-directory").absolute()
    os.environ["IPYTHONDIR"] = str(path)
    path.mkdir()
    yield
    shutil.rmtree(path)


def _print(text, start=0, screen_lines=0, pager_cmd=None):
    print(text.get("text/plain", "") if isinstance(text, dict) else text)


def _system(shell, command):
    print(shell.getoutput(command, split=False, depth=1).rstrip(), end="", flush=True, file=sys.stdout)


builtins.get_ipython = lambda: SHELL
builtins._ip = builtins.ip = SHELL
SHELL.system = types.MethodType(_system, SHELL)
page.pager_page = _print
HistoryManager._max_inst = 1
