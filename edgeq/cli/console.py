"""Where words go: results to stdout, everything else to stderr, as loud as -q, -v and --debug say."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from typing import Any

import click

QUIET, NORMAL, VERBOSE, DEBUG = -1, 0, 1, 2
_LOG_LEVELS = {QUIET: logging.ERROR, NORMAL: logging.WARNING, VERBOSE: logging.INFO, DEBUG: logging.DEBUG}
_state = {"level": NORMAL}


def level() -> int:
    """QUIET, NORMAL, VERBOSE or DEBUG."""
    return _state["level"]


def set_level(value: int) -> None:
    """Set how much is said; one process runs one command, so this is a plain module state."""
    _state["level"] = value


def configure_logging() -> None:
    """Send edgeq's log records to stderr; those of libraries only when they are errors, unless --debug."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if level() == DEBUG else logging.ERROR, force=True)
    logging.getLogger("edgeq").setLevel(_LOG_LEVELS[level()])


class _Line(logging.Formatter):
    """`edgeq: warning: ...`; of libraries their own name, and of edgeq's modules too with --debug."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        own = record.name.partition(".")[0] == "edgeq" and level() < DEBUG
        return f"{f'edgeq: {record.levelname.lower()}' if own else record.name}: {record.getMessage()}"


def animated() -> bool:
    """True when stderr is a terminal that a progress bar may redraw (not CI, not a dumb one)."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def colour() -> bool:
    """True when stderr may be coloured."""
    return animated() and not os.environ.get("NO_COLOR")


def error(message: str) -> None:
    """One message that ends the command."""
    head = click.style("edgeq: error:", fg="red", bold=True) if colour() else "edgeq: error:"
    click.echo(f"{head} {message}", err=True)


def note(message: str) -> None:
    """A remark on stderr; silent with -q."""
    if level() > QUIET:
        click.echo(f"edgeq: {message}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON object; numbers that JSON lacks (NaN, infinity) become null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
