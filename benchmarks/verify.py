"""Is what comes out right? Checks of a compiled language model, each with its bar; exit code 1 when one is missed.

    edgeq compile demo:smollm2-135m --bits w4a8 -o build/smollm2
    python benchmarks/verify.py regions build/smollm2                      # every region against numpy
    python benchmarks/verify.py threads build/smollm2                      # equal bits: 1 to 4 threads, all variants
    python benchmarks/verify.py teacher build/smollm2 --text FILE          # beside the reference executor
    python benchmarks/verify.py greedy build/smollm2-fp32                  # beside Hugging Face (--bits fp32)
    python benchmarks/verify.py perplexity build/smollm2-w8a8 --text FILE  # beside the float model (--bits w8a8)
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from verification import greedy, perplexity, regions, teacher, threads
from verification.report import Report


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="CHECK")
    for check in (regions, threads, teacher, greedy, perplexity):
        name = check.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=(check.__doc__ or "").splitlines()[0], description=check.__doc__)
        command.add_argument("artifact", type=Path)
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        check.add_options(command)
        command.set_defaults(run=check.run)
    return parser.parse_args(argv)


def main() -> int:
    """Run one check, print its table; 0 when its bars are met."""
    options = parse()
    report: Report = options.run(options)
    print(report.text())
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
