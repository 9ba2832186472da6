"""Which pipeline damages a model least: what `--recipe best` measures, for any list of pipelines.

`python benchmarks/recipes.py demo:minilm --bits w8a8 none smooth osplus "rotate,osplus"` prints a line each: damage
(of a language model the divergence of its next-token probabilities in nats, of others the relative error of their
outputs) on held-out samples, processor seconds of the passes and the judging, and the most memory so far.
"""

from __future__ import annotations

import argparse
import resource
import time

from edgeq.calibrate.journal import Decisions
from edgeq.compiling.measured import open_measured
from edgeq.compiling.options import make_options
from edgeq.compiling.recipes import spelt
from edgeq.compiling.recipes_best import judge, judged_entries
from edgeq.frontend.entries import load_entries
from edgeq.frontend.source import open_model
from edgeq.passes.pass_ import Context


def main() -> None:
    """Judge each pipeline and print."""
    asked = _arguments()
    given = {"calib": asked.calib, "calib_samples": asked.samples, "calib_length": asked.length}
    options = make_options(asked.model, bits=asked.bits, recipe="best", **given)
    source = open_model(options.model)
    entries = load_entries(source, options.shapes)
    measured = open_measured(options, source, lambda *_: None)
    shared = Context(source.weights, samples=measured.samples, decisions=Decisions(), bits=options.bits)
    judged = judged_entries(entries, shared, measured)
    print(f"{asked.model} {options.bits}, {measured.data.description}", flush=True)
    for text in asked.pipelines:
        start = time.process_time()
        found = judge([] if text == "none" else spelt(text), judged, shared)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        answer = f"{found['damage']:.6f}" if "damage" in found else found["failed"]
        print(f"{text:45} {answer:10} {time.process_time() - start:6.1f} s {used:8,.0f} MB", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("pipelines", nargs="+", help="passes, comma separated; none")
    parser.add_argument("--bits", default="w4a8")
    parser.add_argument("--calib", default="")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--length", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
