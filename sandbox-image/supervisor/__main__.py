"""`python3 -I -B <directory>/supervisor`: started by path, imported as a package."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from supervisor.service import main  # noqa: E402

sys.exit(main())
