"""``python -m sentinelzer0`` is the command ``sentinelzer0``."""

from __future__ import annotations

import sys

from sentinelzer0.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
