"""What a language model keeps and costs in every weight format: edgeq's formats and methods beside llama.cpp's types.

    python benchmarks/setup_peers.py                                   # once
    python benchmarks/formats_llm.py --text eval_en.txt --windows 20
    python benchmarks/formats_llm.py --text eval_en.txt --row 'w2a8g64a gptq{range=weighted}' --peer Q2_K --rounds 3

A row is bits, then passes by commas (none: the default recipe; `none`: no pass). Perplexity of all is of the same text
in the same windows (llama-perplexity's protocol); speeds are medians of interleaved rounds, two threads. Bits a weight
count everything that is stored of the layers' linears: codes, scales, zero points, tables, indexes; neither embedding
nor head. llama.cpp's k-quants and TQ types need rows of a multiple of 256: what it stores other tensors as is in the
column `types`. `--model` compiles something else with edgeq (a GGUF to be imported), `--gguf` scores a GGUF as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import bandwidth
from models import SMOLLM2, ensure_models
from systems import EDGEQ, Bench, FailedError, System

from edgeq.artifact.manifest import read
from edgeq.compiling.recipes import measures

ROWS = (
    "fp16", "w8a8", "w4a8g128a", "w4a8g128a gptq", "w3a8g64a none", "w3a8g64a gptq{range=weighted}", "w2a8g64a none",
    "w2a8g64a gptq{range=weighted}", "t2a8 none", "t2a8 gptq", "t1.6a8 gptq", "w1a8 none", "w1a8 gptq", "w1a8 billm",
    "p2a8 fdb", "nf4a8 none", "mxfp4a8 none", "fp8a16 none", "s8a8 jsq", "s4a8 jsq", "w1a1 none", "w4a8kv4",
)  # fmt: skip
COLUMNS = (
    "format, method", "bits a weight", "weights MB", "perplexity", "decode tok/s", "of bandwidth", "prefill tok/s",
    "types",
)  # fmt: skip
PEERS = ("Q8_0", "Q4_K_M", "IQ4_XS", "Q2_K", "TQ2_0", "TQ1_0")


@dataclass
class Row:
    """One line of the table; what failed has a reason and no figures."""

    name: str
    system: System
    path: Path | None = None
    bits: float = 0.0
    size: int = 0
    perplexity: float = 0.0
    error: float = 0.0
    types: str = ""
    failed: str = ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compiled(row: Row, model: Path | str, cache: Path, samples: int) -> Path:
    """The artifact of an edgeq row, made where it is not there yet."""
    bits, _, passes = row.name.partition(" ")
    label = row.name if isinstance(model, Path) else f"{row.name} {model}"
    folder = cache / "prepared" / SMOLLM2 / ("formats-" + re.sub(r"[^\w.]+", "-", label))
    if not folder.exists():
        steps = [] if not passes else ["--calib", "none"] if passes == "none" else ["--pass", passes]
        steps += ["--calib-samples", samples] if "--pass" in steps and measures([passes]) else []
        program = Path(sys.executable).with_name("edgeq")
        command = [program, "compile", model, "--target", "native", "--bits", bits, "-o", folder, *steps]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise FailedError(done.stderr.strip().splitlines()[-1])
    return folder


def of_artifact(row: Row, text: Path, windows: int) -> None:
    """Bits a weight of the layers' linears, bytes of the weights file, perplexity through `edgeq eval`."""
    assert row.path is not None
    tensors = [t for t in read(row.path).tensors if ".layers." in t.name and len(t.shape) == 2]
    row.bits = sum(t.bytes for t in tensors) * 8 / sum(prod(t.shape) for t in tensors)
    row.size = (row.path / "weights.safetensors").stat().st_size
    row.types = ", ".join(f"{name} {count}" for name, count in Counter(t.format for t in tensors).most_common(3))
    program = Path(sys.executable).with_name("edgeq")
    command = [program, "eval", row.path, "--text", text, "--windows", windows, "--json"]
    found = json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout)
    row.perplexity, row.error = found["perplexity"], found["error"]


def of_gguf(row: Row, text: Path, windows: int, programs: Path, threads: int) -> None:
    """The same of a GGUF, through llama-perplexity."""
    import gguf

    assert row.path is not None
    tensors = [t for t in gguf.GGUFReader(row.path).tensors if t.name.startswith("blk.") and len(t.shape) == 2]
    row.bits = sum(int(t.n_bytes) for t in tensors) * 8 / sum(int(t.n_elements) for t in tensors)
    row.size = row.path.stat().st_size
    row.types = ", ".join(f"{n} {count}" for n, count in Counter(t.tensor_type.name for t in tensors).most_common(3))
    command = [programs / "llama-perplexity", "-m", row.path, "-f", text, "--chunks", windows, "-t", threads]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    match = re.search(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)", done.stdout + done.stderr)
    if not match:
        raise FailedError("llama-perplexity gave no estimate")
    row.perplexity, row.error = float(match[1]), float(match[2])


FIGURES = ("bits", "size", "perplexity", "error", "types")


def prepare(row: Row, bench: Bench, model: Path, args: argparse.Namespace) -> None:
    """Everything about a row but its speed; what was scored before is read, for as long as the artifact is there."""
    file = args.cache / "formats.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    key = f"{row.name} | {args.model or ''} | {args.text.name} | {args.windows}"
    if key in known and Path(known[key]["path"]).exists():
        row.path = Path(known[key].pop("path"))
        for name, value in known[key].items():
            setattr(row, name, value)
        return
    score(row, bench, model, args)
    if not row.failed:
        known[key] = {"path": str(row.path)} | {name: getattr(row, name) for name in FIGURES}
        file.write_text(json.dumps(known, indent=1))


def score(row: Row, bench: Bench, model: Path, args: argparse.Namespace) -> None:
    """Make it and score it, or say why not."""
    try:
        if row.system.module == EDGEQ:
            row.path = compiled(row, args.model or model, args.cache, args.samples).absolute()
            of_artifact(row, args.text, args.windows)
        else:
            if row.path is None:
                bench.prepare(row.system, SMOLLM2, model)
                row.path = bench.prepared(row.system, SMOLLM2)
            of_gguf(row, args.text, args.windows, args.cache / "peers/llama.cpp/build/bin", args.threads)
        say(f"{row.name}: {row.bits:.2f} bits, perplexity {row.perplexity:.2f}")
    except (FailedError, subprocess.CalledProcessError, OSError) as error:
        row.failed = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
        say(f"{row.name}: {row.failed}")


def timed(rows: list[Row], bench: Bench, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Rounds in turns: name -> figures of peers.runner.Round."""
    found: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    for number in range(rounds):
        for row in rows:
            assert row.path is not None
            one = Bench(bench.cache, bench.threads, bench.prompt, bench.decode, {SMOLLM2: row.path})
            found[row.name].append(one.round(row.system, SMOLLM2, decode_only=False))
        say(f"round {number + 1} of {rounds}")
    return found


def table(rows: list[Row], figures: dict[str, list[dict[str, Any]]], gb_s: float) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---:|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        if row.failed:
            lines.append(f"| {row.name} | | | | | | | {row.failed} |")
            continue
        rounds = figures.get(row.name, [])
        decode, prefill = (
            statistics.median(r[key] for r in rounds) if rounds else 0.0 for key in ("decode_tok_s", "prefill_tok_s")
        )
        share = 100 * decode * row.size * 1e-9 / gb_s
        lines.append(
            f"| {row.name} | {row.bits:.2f} | {row.size / 1e6:.1f} | {row.perplexity:.2f} ± {row.error:.2f} | "
            f"{decode:.0f} | {share:.0f} % | {prefill:.0f} | {row.types} |"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to score")
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="models, peers, prepared files")
    parser.add_argument("--row", action="append", metavar="BITS [PASSES]", help="repeatable; default: all")
    parser.add_argument("--peer", action="append", metavar="TYPE", help="llama.cpp's type; repeatable; none: leave out")
    parser.add_argument("--model", help="what edgeq compiles  [default: SmolLM2 as a Hugging Face folder]")
    parser.add_argument("--gguf", action="append", type=Path, default=[], help="a GGUF to score beside; repeatable")
    parser.add_argument("--samples", type=int, default=16, help="of calibration, 512 tokens each, for passes by name")
    parser.add_argument("--windows", type=int, default=20, help="of 512 tokens")
    parser.add_argument("--rounds", type=int, default=3, help="of timing; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Make every row, time them in turns, print the table."""
    args = parse()
    args.cache, args.text = args.cache.absolute(), args.text.absolute()
    model = ensure_models(args.cache / "models", (SMOLLM2,))[SMOLLM2]
    bench = Bench(args.cache, args.threads, 512, 64)
    peers = [name for name in args.peer or PEERS if name != "none"]
    rows = [Row(name, System(name, EDGEQ, name, "")) for name in args.row or ROWS]
    rows += [Row(f"llama.cpp {t}", System(f"llama.cpp {t}", "llama_cpp", t, f"{t}.gguf")) for t in peers]
    rows += [Row(f.name, System(f"llama.cpp {f.stem}", "llama_cpp", "", f.name), f.absolute()) for f in args.gguf]
    for row in rows:
        prepare(row, bench, model, args)
    gb_s = bandwidth.median_gb_s(bandwidth.measure(args.cache, args.threads))
    working = [row for row in rows if not row.failed]
    print(table(rows, timed(working, bench, args.rounds), gb_s))
    print(f"\n{args.windows} windows of {args.text.name}; memory read bandwidth {gb_s:.1f} GB/s; {args.rounds} rounds")


if __name__ == "__main__":
    main()
