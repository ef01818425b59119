"""`python -m ddspx.cli`: the `ddspx` command without its script."""

import sys

from ddspx.cli import main

if __name__ == "__main__":
    sys.exit(main())
