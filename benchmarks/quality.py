"""The table: what each compression method costs and keeps, on real weights, every artifact compiled and run.

`python benchmarks/quality.py --text ENGLISH.txt --model smollm2 --bits w4a8 --method none --method balanced`. Rows that
a `--json` file holds already are not measured again, so a run that was stopped goes on.

`--on graph` measures graphs instead of artifacts: also formats without a kernel (`--bits w2a16g64a`, `w4a4`), and
`--bits float`, which is 100 %. All its rows share one evaluator, and say bits a weight.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quality_run import compile_artifact, embed_agreement, perplexity, score_graph
from quality_table import table

BITS = ("w8a8", "w4a8", "w4a8g128", "w4a16g128")
RECIPES = ("fast", "balanced", "best")
# A method -> what `edgeq compile` is told. `none` rounds to nearest; recipes are what users are offered.
METHODS: dict[str, list[str]] = {
    "none": ["--calib", "none"],
    "smooth": ["--pass", "smooth"],
    "osplus": ["--pass", "osplus"],
    "cfp": ["--pass", "cfp"],
    "awq": ["--pass", "awq"],
    "pre-sinq": ["--pass", "pre-sinq"],
    "clip-weights": ["--pass", "clip-weights"],
    "awq + clip": ["--pass", "awq", "--pass", "clip-weights"],
    "gamma-migration": ["--pass", "gamma-migration"],
    "gptq": ["--pass", "gptq"],
    "gptq weighted": ["--pass", "gptq{range=weighted}"],
    "ternary": ["--pass", "ternary"],
    "fdb": ["--pass", "fdb"],
    "billm": ["--pass", "billm"],
    "billm structured": ["--pass", "billm{structured=true}"],
    "cbq window 1": ["--pass", "cbq{window=1,overlap=0}"],
    "cbq": ["--pass", "cbq"],
    "cbq lora": ["--pass", "cbq{rank=5}"],
    "cbq tuned": ["--pass", "cbq{tune=1}"],
    "awq + cbq tuned": ["--pass", "awq", "--pass", "cbq{tune=1}"],
    "qdrop": ["--pass", "qdrop"],
    "jsq": ["--pass", "jsq"],
    "jsq, rho 0": ["--pass", "jsq{rho=0}"],
    "jsq compensate": ["--pass", "jsq{compensate=true}"],
    "jsq compensate, rho 0": ["--pass", "jsq{compensate=true,rho=0}"],
    "rotate": ["--pass", "rotate"],
    "rotate r4": ["--pass", "rotate{r4=true}"],
    **{recipe: ["--recipe", recipe] for recipe in RECIPES},
}
MODELS = {"smollm2": "demo:smollm2-135m", "minilm": "demo:minilm"}


def main() -> None:
    """Measure row by row, writing after each, and print the table."""
    asked = _arguments()
    rows: dict[str, Any] = json.loads(asked.json.read_text()) if asked.json.is_file() else {}
    for model, bits, method in _cells(asked):
        key = f"{model} {bits} {method}"
        if key in rows:
            continue
        print(f"measure {key}", flush=True)
        measure = _measure if asked.on == "artifact" else _measure_graph
        rows[key] = {"model": model, "bits": bits, "method": method, **measure(asked, model, bits, method)}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps(rows, indent=1))
    print(table(list(rows.values())))


def _cells(asked: argparse.Namespace) -> Iterator[tuple[str, str, str]]:
    for model in asked.model or MODELS:
        for bits in asked.bits or BITS:
            yield from ((model, bits, method) for method in asked.method or METHODS)


def _measure(asked: argparse.Namespace, model: str, bits: str, method: str) -> dict[str, Any]:
    """Compile in a process of its own, then measure what runs; the artifact is removed again."""
    folder = asked.json.parent / "quality-artifact"
    try:
        made = compile_artifact(MODELS[model], bits, METHODS[method], folder, asked.minutes)
        if "failed" in made:
            return made
        scored = perplexity(folder, asked.text, asked.windows) if model == "smollm2" else embed_agreement(folder)
        return made | scored
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure_graph(asked: argparse.Namespace, model: str, bits: str, method: str) -> dict[str, Any]:
    """The graph, after the method's passes and quantization."""
    passes = [text for text in METHODS[method] if text not in ("--pass", "--calib", "none")]
    data = ["--samples", str(asked.samples), "--calib", asked.calib]
    return score_graph([MODELS[model], bits, str(asked.text), str(asked.windows), *passes, *data], asked.minutes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text that perplexity is measured on")
    parser.add_argument("--windows", type=int, default=0, help="windows of 512 tokens of it, 0: all")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--bits", action="append")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--minutes", type=float, default=30, help="longest compile")
    parser.add_argument("--on", choices=("artifact", "graph"), default="artifact", help="what is measured")
    parser.add_argument("--samples", type=int, default=16, help="samples of 512 tokens that passes see (graph)")
    parser.add_argument("--calib", default="", help="what they are of (graph), as edgeq compile takes it")
    parser.add_argument("--json", type=Path, default=Path("build/bench/quality.json"), help="rows measured so far")
    return parser.parse_args()


if __name__ == "__main__":
    main()
