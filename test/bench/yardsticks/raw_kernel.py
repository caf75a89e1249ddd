"""The yardstick of the benchmark: IPython in process 1, lines in, results out, nothing else in between."""

import io
import json
import sys
from contextlib import redirect_stdout

from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for line in sys.stdin:
    captured = io.StringIO()
    with redirect_stdout(captured):
        shell.run_cell(json.loads(line), store_history=False)
    sys.stdout.write(json.dumps(captured.getvalue()) + "\n")
    sys.stdout.flush()
