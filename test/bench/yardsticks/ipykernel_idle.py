"""An ipykernel alone, as a notebook server starts it, with the libraries imported; a line when that is done."""

import os
import sys
import threading

from ipykernel.kernelapp import IPKernelApp

IMPORTS = "import IPython, matplotlib.pyplot, numpy, pandas, scipy"


def end_with_input() -> None:
    """Nobody ends a kernel that is never asked anything."""
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_input, daemon=True).start()
# What the kernel tells its user goes to standard error: the first line is ours.
OUTPUT = os.dup(1)
os.dup2(2, 1)
app = IPKernelApp.instance()
app.capture_fd_output = False
app.exec_lines = [IMPORTS, f"import os; os.write({OUTPUT}, b'ready\\n')"]
app.initialize(["-f", os.path.join("/tmp", "connection.json")])
app.start()
