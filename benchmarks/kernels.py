"""All kernels in one run: every weight format, sparse weights, signs, caches, coded attention.

    python benchmarks/kernels.py [--rounds 15] [--threads 2] [--only formats] [--json build/bench/kernels.json]

One run: what the machine can do (`peaks.py`), then each family's own script, which takes turns between its kernels and
what they are compared with, and measures the bandwidth again in every round. What a script prints is shown as it is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FAMILIES = {
    "formats": "GEMV and GEMM of every weight format beside w4a8",
    "sparse": "2:4 sparse weights beside dense ones",
    "binary": "signs by signs beside OpenBLAS float32 and the peak",
    "kv": "attention over caches of 4 and 2 bits beside fp16",
    "attend": "coded probabilities times int8 values",
}


def run(script: str, *options: object) -> str:
    """What a script of this folder prints; it ends this one where it fails."""
    command = [sys.executable, str(HERE / f"{script}.py"), *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=HERE)
    if done.returncode:
        raise SystemExit(f"{script}.py ended with {done.returncode}")
    return done.stdout


def main() -> None:
    """Run the families asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", choices=tuple(FAMILIES), help="repeatable; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was printed there, by family")
    args = parser.parse_args()
    peaks: dict[str, Any] = json.loads(run("peaks", "--threads", args.threads, "--json"))
    dot, fma = peaks["dot"] / 1e12, peaks["fma"] / 1e9
    read = peaks["read"] / 1e9
    print(f"read {read:.1f} GB/s, vpdpbusd {dot:.2f} Top/s, fma {fma:.0f} GFLOP/s, {args.threads} threads")
    printed: dict[str, Any] = {"peaks": peaks}
    for name in args.only or FAMILIES:
        print(f"\n## {FAMILIES[name]}\n", flush=True)
        printed[name] = run(f"kernels_{name}", "--rounds", args.rounds)
        print(printed[name], end="", flush=True)
    if args.json:
        args.json.write_text(json.dumps(printed, indent=1))


if __name__ == "__main__":
    main()
