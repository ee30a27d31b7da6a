"""``python -m spfast``: the command."""

import sys

from spfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
