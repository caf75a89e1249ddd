"""`python3 -B <directory>/kernel REQUESTS_FD DATA PRELOAD MEMORY`: the template, started by the supervisor."""

import os
import sys

_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[0] = _root

from kernel.template import serve  # noqa: E402

if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
