"""edgeq beside llama.cpp, onnxruntime-genai and OpenVINO on this CPU, in interleaved rounds.

    python benchmarks/setup_peers.py                        # once
    python benchmarks/llm_cpu.py --rounds 5 --json build/bench/llm_cpu.json
    python benchmarks/llm_cpu.py --busy                     # decode with one core taken

Each round runs every system once, in its own process, and measures the memory bandwidth once.
The table prints medians over rounds; --json also keeps every round.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path

import bandwidth
from load import Others, one_core_taken, wait_until_quiet
from models import LLAMA, SMOLLM2, ensure_models
from systems import Bench, FailedError, System, all_systems
from table import render


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="models, peers, prepared files")
    parser.add_argument("--model", action="append", choices=(SMOLLM2, LLAMA), help="repeatable; default: both")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="systems whose name has TEXT")
    parser.add_argument("--bits", default="w4a8", help="what edgeq compiles to")
    parser.add_argument("--artifact", action="append", default=[], metavar="MODEL=FOLDER", help="instead of compiling")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prefill test")
    parser.add_argument("--decode", type=int, default=64, help="tokens of the decode test")
    parser.add_argument("--busy", action="store_true", help="decode only, with one core taken by a spinning process")
    parser.add_argument("--wait", type=float, default=30, metavar="S", help="seconds to wait for a quiet machine")
    parser.add_argument("--quiet-cores", type=float, default=0.15, help="others' cores up to which it counts as quiet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, every round, there")
    return parser.parse_args(argv)


def say(text: str) -> None:
    """Progress goes to stderr, so that stdout is the table alone."""
    print(text, file=sys.stderr, flush=True)


def prepare_all(bench: Bench, systems: tuple[System, ...], model: str, folder: Path) -> dict[str, str]:
    """Convert the model for each system; name -> reason for those that cannot take part."""
    missing = {}
    for system in systems:
        say(f"{model}: preparing {system.name}")
        try:
            bench.prepare(system, model, folder)
        except FailedError as failure:
            missing[system.name] = str(failure)
    return missing


def timed_round(bench: Bench, system: System, model: str, args: argparse.Namespace) -> dict:
    """One system's round, with `others_cores` the cores that unrelated programs took meanwhile."""
    wait_until_quiet(args.wait, args.quiet_cores)
    with one_core_taken(args.busy), Others() as others:
        figures = bench.round(system, model, decode_only=args.busy)
    return figures | {"others_cores": max(0.0, others.cores - float(args.busy))}


def run_rounds(bench: Bench, systems: tuple[System, ...], model: str, folder: Path, args: argparse.Namespace) -> dict:
    """All rounds of one model: {"rounds": {system: [figures]}, "bandwidth": [...], "missing": {system: why}}."""
    missing = prepare_all(bench, systems, model, folder)
    rounds: dict[str, list[dict]] = {system.name: [] for system in systems}
    measured = []
    for number in range(1, args.rounds + 1):
        wait_until_quiet(args.wait, args.quiet_cores)
        measured.append(bandwidth.measure(args.cache, args.threads))
        for system in systems:
            if system.name in missing:
                continue
            try:
                rounds[system.name].append(timed_round(bench, system, model, args))
            except FailedError as failure:
                missing[system.name] = str(failure)
                continue
            say(f"{model}: round {number}, {system.name}: {rounds[system.name][-1]['decode_tok_s']:.1f} tok/s decode")
    return {"rounds": rounds, "bandwidth": measured, "missing": missing}


def main() -> None:
    """Run, print the tables, write the JSON."""
    args = parse()
    artifacts = {name: Path(folder) for name, _, folder in (text.partition("=") for text in args.artifact)}
    bench = Bench(args.cache, args.threads, args.prompt, args.decode, artifacts)
    chosen = [system for system in all_systems(args.bits) if not args.only or any(t in system.name for t in args.only)]
    results = {"date": datetime.date.today().isoformat(), "machine": platform.machine(), "threads": args.threads}
    results |= {"busy": args.busy, "prompt": args.prompt, "decode": args.decode, "models": {}}
    folders = ensure_models(args.cache / "models", tuple(args.model or (SMOLLM2, LLAMA)))
    for model, folder in folders.items():
        results["models"][model] = run_rounds(bench, tuple(chosen), model, folder, args)
        print(render(model, results["models"][model], args.quiet_cores), flush=True)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
