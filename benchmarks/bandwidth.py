"""Measures this machine's memory read bandwidth with a small C program, built by PyPI's ziglang.

python benchmarks/bandwidth.py --threads 2 --megabytes 700
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from build_c import build

SOURCE = Path(__file__).with_name("bandwidth.c")


def measure(cache: Path, threads: int, megabytes: int = 700, passes: int = 15) -> dict:
    """One measurement: {"small_pages": {"median": GB/s, "best": GB/s}, "huge_pages": ..., ...}."""
    program = build(SOURCE, cache / "bin" / "bandwidth")
    command = [str(program), str(megabytes), str(threads), str(passes)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def median_gb_s(measured: dict) -> float:
    """GB/s: the better median of the two page sizes, which is the harder one to be compared with."""
    return max(measured[pages]["median"] for pages in ("small_pages", "huge_pages"))


def main() -> None:
    """Command line: print one line for each thread count, or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--megabytes", type=int, default=700, help="must be well above the last cache")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    measured = measure(args.cache, args.threads, args.megabytes)
    if args.json:
        print(json.dumps(measured))
        return
    for pages in ("small_pages", "huge_pages"):
        figures = measured[pages]
        print(f"{args.threads} threads, {pages}: median {figures['median']:.1f} GB/s, best {figures['best']:.1f} GB/s")


if __name__ == "__main__":
    main()
