"""`python -m clarity`, the same as the `clarity` command."""

import sys

from clarity.cli import main

if __name__ == "__main__":
    sys.exit(main())
