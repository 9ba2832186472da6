"""The command line: `main` is the entry point of the `edgeq` script."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run `edgeq`; Ctrl-C exits with 130 and SIGTERM with 143, both after cleaning up, neither with a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        import click

        from edgeq.cli.app import app

        try:
            sys.exit(app(prog_name="edgeq", standalone_mode=False) or 0)
        except click.Abort:
            sys.exit(130)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            where = f" (see {context.command_path} --help)" if context else ""
            click.echo(f"edgeq: error: {error.format_message()}{where}", err=True)
            sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is cleaned up: a second Ctrl-C must not cut the exit short
