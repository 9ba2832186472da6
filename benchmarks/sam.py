"""A full-size SAM (ViT-B, random weights): what compiling takes, how long each entry takes, equal masks.

    python benchmarks/sam.py --json build/bench/sam.json

Weights are seeded random numbers: memory and time do not depend on what they are. Masks are compared with those of
transformers, eager, float32, on the same random image and points.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from load import Others, wait_until_quiet
from sam_model import POINTS, Eager, ensure_model, random_image
from sam_table import render

BITS = ("fp32", "w8a8")
ENTRIES = ("image", "prompt", "mask")
LIMIT_GB = 6.0
PAUSE_S = 0.2  # threads of one system go to sleep before the other begins


def compile_model(folder: Path, artifact: Path, bits: str) -> dict[str, float]:
    """Run `edgeq compile` in a process of its own: its seconds and its peak memory in GB (10^9 bytes)."""
    program = Path(sys.executable).with_name("edgeq")
    start = time.monotonic()
    child = subprocess.Popen([program, "compile", folder, "--bits", bits, "-o", artifact, "--overwrite"])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"edgeq compile --bits {bits} ended with {child.returncode}")
    size = sum(file.stat().st_size for file in artifact.rglob("*") if file.is_file())
    return {"seconds": time.monotonic() - start, "peak_gb": usage.ru_maxrss * 1.024e-6, "bytes": size}


class Compiled:
    """An artifact with the steps of `Eager`."""

    def __init__(self, artifact: Path, threads: int) -> None:
        from edgeq.runtime.loader import Session

        self.session = Session(artifact, threads=threads)

    def image(self, pixels: np.ndarray) -> None:
        self.session.run("image", copy=False, pixel_values=pixels)

    def prompt(self, points: np.ndarray, labels: np.ndarray) -> None:
        self.session.run("prompt", copy=False, input_points=points, input_labels=labels)

    def mask(self) -> dict[str, np.ndarray]:
        return self.session.run("mask")


def masks(system: Any) -> dict[str, list[np.ndarray]]:
    """pred_masks and iou_scores of every point; the image is encoded once."""
    system.image(random_image())
    found: dict[str, list[np.ndarray]] = {"pred_masks": [], "iou_scores": []}
    for points, labels in POINTS:
        system.prompt(points, labels)
        for name, value in system.mask().items():
            found[name].append(np.array(value))
    return found


def closeness(want: dict[str, list[np.ndarray]], got: dict[str, list[np.ndarray]]) -> dict[str, float]:
    """Largest error relative to the largest value; cosine; pixels on the other side of the threshold, of how many."""
    a, b = (np.stack(found["pred_masks"]).astype(np.float64) for found in (want, got))
    scores = np.stack(want["iou_scores"]) - np.stack(got["iou_scores"])
    return {
        "max_relative_error": float(np.abs(a - b).max() / np.abs(a).max()),
        "cosine": float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())),
        "iou_score_error": float(np.abs(scores).max()),
        "pixels_differing": int(((a > 0) != (b > 0)).sum()),
        "pixels": int(a.size),
        "share_inside": float((a > 0).mean()),
    }


def steps(system: Any) -> dict[str, Callable[[], object]]:
    """What one run of each entry is."""
    pixels, (points, labels) = random_image(), POINTS[0]
    return {
        "image": lambda: system.image(pixels),
        "prompt": lambda: system.prompt(points, labels),
        "mask": lambda: system.mask(),
    }


def median_ms(action: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def timed(systems: dict[str, Any], args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """System -> entry -> milliseconds of each round; systems take turns."""
    rounds: dict = {name: {entry: [] for entry in ENTRIES} for name in systems}
    for number in range(args.rounds):
        wait_until_quiet(args.wait, args.quiet_cores)
        for name, system in systems.items():
            for entry, action in steps(system).items():
                repeats = 1 if entry == "image" else args.repeats
                rounds[name][entry].append(median_ms(action, repeats))
            time.sleep(PAUSE_S)
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    return rounds


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="model, artifacts")
    parser.add_argument("--bits", action="append", default=[], help="repeatable; default: fp32 and w8a8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20, help="runs of prompt and mask a round")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--keep", action="store_true", help="use the artifacts of an earlier run")
    parser.add_argument("--wait", type=float, default=30, metavar="S", help="seconds to wait for a quiet machine")
    parser.add_argument("--quiet-cores", type=float, default=0.15, help="others' cores up to which it counts as quiet")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, every round, there")
    return parser.parse_args(argv)


def main() -> None:
    """Compile, compare, measure, print the tables."""
    args = parse()
    folder = ensure_model(args.cache / "models" / "sam-vit-b")
    artifacts = {bits: args.cache / "prepared" / "sam-vit-b" / f"edgeq-{bits}" for bits in args.bits or BITS}
    results: dict[str, Any] = {"threads": args.threads, "limit_gb": LIMIT_GB, "compile": {}}
    for bits, artifact in artifacts.items():
        if not (args.keep and artifact.exists()):
            artifact.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(artifact, ignore_errors=True)
            results["compile"][bits] = compile_model(folder, artifact, bits)
    eager = Eager(folder, args.threads)
    systems = {"PyTorch fp32": eager} | {f"edgeq {b}": Compiled(a, args.threads) for b, a in artifacts.items()}
    want = masks(eager)
    results["masks"] = {n: closeness(want, masks(s)) for n, s in systems.items() if s is not eager}
    with Others() as others:
        results["rounds"] = timed(systems, args)
    results["others_cores"] = others.cores
    print(render(results))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
