"""Does the estimate (`fisher`) rank parts of SmolLM2 as measuring each by itself (`kl`) does?

    python benchmarks/sensitivity.py [--model demo:smollm2-135m] [--samples 1] [--length 64] [--formats w4g128,w8]

Both see the same tokens. Prints Spearman's rank correlation over all linears, and over those of each format.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from edgeq.calibrate.data import open_data
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.sensitivity.measure import measure
from edgeq.sensitivity.result import Sensitivity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo:smollm2-135m")
    parser.add_argument("--samples", type=int, default=1, help="fisher is also shown with four times as many")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--formats", default="w4g128,w8")
    parser.add_argument("--only", default="", help="a pattern of modules, as for edgeq sensitivity")
    given = parser.parse_args()
    source = open_model(given.model)
    entries = load_entries(source, Shapes())
    formats = given.formats.split(",")
    found = {}
    for method, count in (("fisher", given.samples), ("fisher x4", 4 * given.samples), ("kl", given.samples)):
        data = open_data("", source, count=count, length=given.length)
        start = time.monotonic()
        how = {"heads": ("w8g32",), "only": given.only}
        found[method] = measure(entries, source, data.samples, formats, method.split()[0], **how)
        print(f"{method}: {found[method].tokens} positions, {time.monotonic() - start:.1f} s", flush=True)
    for unit, estimate in zip(found["kl"].units, found["fisher"].units, strict=True):
        pairs = (f"{t} {unit.formats[t].damage:.2g} {estimate.formats[t].damage:.2g}" for t in unit.formats)
        print(f"{', '.join(unit.modules)}: kl, fisher: {'; '.join(pairs)}")
    for method in ("fisher", "fisher x4"):
        compare(method, found[method], found["kl"], formats)


def compare(method: str, estimate: Sensitivity, measured: Sensitivity, formats: list[str]) -> None:
    pairs = [
        (text, a.formats[text].damage, b.formats[text].damage)
        for text in formats
        for a, b in zip(estimate.units, measured.units, strict=True)
        if text in a.formats
    ]
    for text in [*formats, ""]:
        a, b = (np.array([pair[i] for pair in pairs if text in ("", pair[0])]) for i in (1, 2))
        ratio = np.exp(np.median(np.log(a / np.maximum(b, 1e-12))))
        print(f"{method} and kl, {text or 'all'}: rank correlation {spearman(a, b):.3f}, median ratio {ratio:.2f}, "
              f"sums {a.sum():.4g} and {b.sum():.4g}")  # fmt: skip


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
