"""What parts of a compile cost -> edgeq/predict/compile_costs.json, from which `edgeq compile --dry-run` predicts.

    python benchmarks/compile_costs.py "demo:minilm --bits w8a8" "demo:smollm2-135m --bits w4a8 --calib none" ...

Each line is compiled in a process of its own with an empty cache of kernels; how long each stage takes and the peak of
resident memory at its end are taken from the progress. Constants are sums of seconds over sums of work; the error is
how far each compile lies from what the others predict (one left out), at worst. Run it on a machine that does nothing
else: times of a busy one are several times too long.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

OUT = Path("edgeq/predict/compile_costs.json")
LEAST_WEIGHTS = 1_000_000  # of a kind, for its time to show
Run = dict[str, Any]


def child(arguments: list[str]) -> None:
    """Compile and print stages as (name, seconds, peak bytes at its end)."""
    from edgeq.cli.compile import command

    start = time.perf_counter()
    context = command.make_context("compile", [*arguments, "-o", "unused"])
    from edgeq.cli.compile import _given

    given = _given(context)
    import edgeq
    from edgeq.compiling.options import make_options
    from edgeq.measure.memory import peak_resident_bytes
    from edgeq.predict.blank_plan import draw
    from edgeq.predict.costs import work_of

    stages: list[list[Any]] = [["start", start, 0]]

    def progress(stage: str, done: int, total: int) -> None:
        if stage != stages[-1][0]:
            stages.append([stage, time.perf_counter(), peak_resident_bytes()])

    with tempfile.TemporaryDirectory() as folder:
        edgeq.compile(**given, output=Path(folder) / "a", progress=progress)
    ends = [s[1] for s in stages[1:]] + [time.perf_counter()]
    peaks = [s[2] for s in stages[1:]] + [peak_resident_bytes()]
    found = [[name, end - begin, peak] for (name, begin, _), end, peak in zip(stages, ends, peaks, strict=True)]
    options = make_options(**given)
    work = work_of(draw(options, lambda stage, done, total: None), options, cold=True)
    print(json.dumps({"stages": found, "work": asdict(work)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compiles", nargs="*", metavar="'MODEL --bits B ...'")
    parser.add_argument("--child")
    parser.add_argument("--json", type=Path, default=OUT)
    given = parser.parse_args()
    if given.child:
        return child(shlex.split(given.child))
    runs = [_run(line) for line in given.compiles]
    table = fit(runs)
    table["error"] = errors(runs)
    table["measured"] = {"compiles": given.compiles, "machine": machine()}
    given.json.write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


def _run(line: str) -> Run:
    with tempfile.TemporaryDirectory() as cache:
        demo = Path(os.environ.get("EDGEQ_CACHE") or Path.home() / ".cache/edgeq") / "models"
        if demo.exists():
            (Path(cache) / "models").symlink_to(demo)
        command = [sys.executable, __file__, "--child", line]
        done = subprocess.run(command, env={**os.environ, "EDGEQ_CACHE": cache}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{line}: failed")
    run = json.loads(done.stdout.splitlines()[-1])
    print(line, *(f"\n  {name[:60]:60} {seconds:7.2f} s {peak / 1e6:7.0f} MB" for name, seconds, peak in run["stages"]))
    return run


def fit(runs: list[Run]) -> Run:
    """Constants from stages and work."""
    seconds: Run = {"start": min(_of(r, "start") for r in runs), "pass": {}}
    for name in dict.fromkeys(n for r in runs for n in r["work"]["passes"]):
        rows = [(_pass(r, name), r["work"]["passes"].get(name, 0.0)) for r in runs]
        seconds["pass"][name] = _rate([row for row in rows if row[1]])
    seconds["pack"] = _pack(runs)
    seconds["code_byte"] = _rate([(_of(r, "generate kernels"), r["work"]["code"]) for r in runs])
    seconds["link"] = statistics.median(_of(r, "link model.so") for r in runs)
    seconds["file_byte"] = _rate([(_of(r, "write edgeq.json"), r["work"]["file_bytes"]) for r in runs])
    return {"seconds": seconds, "memory": _memory(runs)}


def _pack(runs: list[Run]) -> dict[str, float]:
    """Seconds a weight by kind: least squares over the compiles."""
    import numpy as np

    kinds = list(dict.fromkeys(k for r in runs for k, n in r["work"]["weights"].items() if n >= LEAST_WEIGHTS))
    x = np.array([[r["work"]["weights"].get(k, 0) for k in kinds] for r in runs], float)
    y = np.array([_of(r, "quantize and pack") for r in runs])
    found = np.linalg.lstsq(x / y[:, None], np.ones(len(y)), rcond=None)[0]
    return {k: max(float(v), 0.0) for k, v in zip(kinds, found, strict=True)}


def _memory(runs: list[Run]) -> dict[str, float]:
    """Bytes: of the process with its graphs, and what pieces of work add in multiples of what they work on."""
    plain, measured = ([r for r in runs if bool(r["work"]["passes"]) is wanted] for wanted in (False, True))
    base = _mean([_peak(r, "lower to kernels") for r in plain or runs])
    chunk = [(_peak(r, "quantize and pack") - base, r["work"]["chunk_bytes"]) for r in plain]
    passes = [(_peak(r, "lower to kernels") - base, r["work"]["linear_bytes"]) for r in measured]
    made = [_peak(r, "generate kernels") - _peak(r, "quantize and pack") for r in runs]
    return {"base": base, "chunk": _rate(chunk), "pass": _rate(passes), "generate": _mean(made)}


def errors(runs: list[Run]) -> dict[str, float]:
    """Worst share by which a compile's total and peak differ from a fit to the others."""
    from edgeq.predict.costs import Work, cost_of

    off: dict[str, list[float]] = {"seconds": [], "memory": []}
    for left in runs:
        others = [r for r in runs if r is not left]
        if len(others) < 2:
            return {"seconds": 1.0, "memory": 0.5}
        drawing = sum(_of(left, stage) for stage in ("read", "export", "recipe", "lower"))
        cost = cost_of(Work(**left["work"]), {**fit(others), "error": {"seconds": 0.0, "memory": 0.0}}, drawing)
        known = sum(s for _, s, _ in left["stages"]) - sum(_pass(left, name) for name in cost.unknown)
        off["seconds"].append(abs(cost.seconds / known - 1))
        off["memory"].append(abs(cost.peak_bytes / left["stages"][-1][2] - 1))
    return {name: max(found) for name, found in off.items()}


def _of(run: Run, start: str) -> float:
    return sum(seconds for name, seconds, _ in run["stages"] if name.startswith(start))


def _pass(run: Run, name: str) -> float:
    return sum(seconds for stage, seconds, _ in run["stages"] if stage.split("{")[0] == name.split()[0])


def _peak(run: Run, start: str) -> float:
    return max((peak for name, _, peak in run["stages"] if name.startswith(start)), default=0)


def _rate(pairs: list[tuple[float, float]]) -> float:
    amount = sum(a for _, a in pairs)
    return max(sum(s for s, _ in pairs) / amount, 0.0) if amount else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def machine() -> str:
    """`AMD EPYC, 2 cores`."""
    from edgeq.measure.machine import this_machine

    found = this_machine()
    return f"{found.cpu}, {found.cores} cores"


if __name__ == "__main__":
    main()
