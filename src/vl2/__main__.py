"""`python -m vl2` is the same program as the `vl2` command."""

import sys

from vl2.cli import main

if __name__ == "__main__":
    sys.exit(main())
