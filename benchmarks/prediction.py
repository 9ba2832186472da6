"""`edgeq compile --dry-run` against what it predicts: size, compile time and memory, tokens a second.

    python benchmarks/prediction.py [--rounds 3] [--json build/bench/prediction.json] ["MODEL --bits B ..." ...]

Every line is predicted in one process from config.json alone (a copy of the model's small files, weights left behind),
measured speeds being taken anew, then compiled in another with an empty cache of kernels, and its artifact is profiled
as `edgeq profile` does. Prediction and profile take turns, so that both see the same machine. The bars: rates within
20 %, the whole folder's bytes within 1 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DEFAULT = (
    "demo:smollm2-135m --bits w4a8", "demo:smollm2-135m --bits w8a8", "demo:smollm2-135m --bits w4a8g128",
    "demo:smollm2-135m --bits w4a16", "demo:minilm --bits w8a8",
)  # fmt: skip
EDGEQ = str(Path(sys.executable).with_name("edgeq"))
RATE_BAR, SIZE_BAR = 0.20, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compiles", nargs="*", default=DEFAULT, metavar="'MODEL --bits B ...'")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = [row for line in given.compiles for row in compare(line, given.rounds)]
    print(table(rows))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def compare(line: str, rounds: int) -> list[dict[str, Any]]:
    """A row a figure: predicted, measured, how far off."""
    words = shlex.split(line)
    with tempfile.TemporaryDirectory() as folder:
        out, cache = Path(folder) / "artifact", Path(folder) / "cache"
        share_models(cache)
        first = predict(words, cache)
        seconds, peak = compiled(words, out, cache)
        predictions, profiles = [first], []
        for _ in range(rounds):
            profiles.append(edgeq("profile", str(out), "--json", cache=cache))
            predictions.append(predict(words, cache))
        size = sum(path.stat().st_size for path in out.iterdir())
    rows = [
        row(line, "folder bytes", first["size"]["total_bytes"], size, SIZE_BAR),
        row(line, "compile s", first["compile"]["seconds"], seconds, first["compile"]["error"]),
        row(line, "peak bytes", first["compile"]["peak_bytes"], peak, first["compile"]["memory_error"]),
    ]
    for speed in first["speeds"]:
        guesses = [rate(found, speed["name"]) for found in predictions[1:]]
        real = [measured_rate(found, speed["name"]) for found in profiles]
        rows.append(row(line, speed["name"], statistics.median(guesses), statistics.median(real), RATE_BAR))
    return rows


def share_models(cache: Path) -> None:
    """Unpacked demo models are used from where they are."""
    models = Path(os.environ.get("EDGEQ_CACHE") or Path.home() / ".cache" / "edgeq") / "models"
    cache.mkdir()
    if models.exists():
        (cache / "models").symlink_to(models)


def predict(words: list[str], cache: Path) -> dict[str, Any]:
    """`--dry-run --json` of a folder without weights where the model is one; of a GGUF file the header is read."""
    from edgeq.frontend.demo import demo_path
    from edgeq.predict.blank_model import demo_cache

    model = words[0]
    path = demo_path(model, demo_cache()) if model.startswith("demo:") else Path(model)
    if not path.is_dir():
        return edgeq("compile", *words, "--dry-run", "--measure-again", "--json", cache=cache)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "model"
        shutil.copytree(path, bare, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
        return edgeq("compile", str(bare), *words[1:], "--dry-run", "--measure-again", "--json", cache=cache)


def compiled(words: list[str], out: Path, cache: Path) -> tuple[float, int]:
    """Seconds of the whole command, and the peak of its resident memory in bytes."""
    start = time.perf_counter()
    with subprocess.Popen(
        [EDGEQ, "compile", *words, "-o", str(out), "-q"], env={**os.environ, "EDGEQ_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(words)}: exit {process.returncode}")
    return time.perf_counter() - start, used.ru_maxrss * 1024


def edgeq(*words: str, cache: Path) -> dict[str, Any]:
    command = [EDGEQ, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "EDGEQ_CACHE": str(cache)})
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit {done.returncode}")
    return json.loads(done.stdout)


def rate(found: dict[str, Any], name: str) -> float:
    speed = next(one for one in found["speeds"] if one["name"] == name)
    return speed.get("tokens_per_second") or speed["runs_per_second"]


def measured_rate(found: dict[str, Any], name: str) -> float:
    token = found["tokens_per_second"].get(name)
    return token["median"] if token else found["latency"][name]["runs_per_second"]


def row(line: str, figure: str, predicted: float, measured: float, bar: float) -> dict[str, Any]:
    off = predicted / measured - 1
    return {"compile": line, "figure": figure, "predicted": predicted, "measured": measured, "off": off,
            "bar": bar, "met": abs(off) <= bar}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| compile | figure | predicted | measured | off | bar | |", "|---|---|---:|---:|---:|---:|---|"]
    for r in rows:
        met = "met" if r["met"] else "**missed**"
        figures = f"{number(r['predicted'])} | {number(r['measured'])} | {r['off']:+.1%} | {r['bar']:.0%}"
        lines.append(f"| {r['compile']} | {r['figure']} | {figures} | {met} |")
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


if __name__ == "__main__":
    main()
