"""The command line: `main` is the entry point of the `edgeq` script."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run `edgeq`; Ctrl-C exits with 130 and SIGTERM with 143, both after cleaning up, neither with a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        from edgeq.cli.app import app

        app(prog_name="edgeq")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is cleaned up: a second Ctrl-C must not cut the exit short
