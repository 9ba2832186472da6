"""`python -m edgeq.frontend MODEL`: print the raised graph."""

from __future__ import annotations

import sys

from edgeq.errors import EdgeqError, UsageError


def main(arguments: list[str]) -> int:
    """Print the graph of one model; returns the exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError("usage: python -m edgeq.frontend MODEL")
        from edgeq.frontend import load_graph, open_model
        from edgeq.ir.text import show

        print(show(load_graph(open_model(arguments[0]))), end="")
    except EdgeqError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
