"""What rounding to each weight format costs: error of weights and of the outputs that they make.

python benchmarks/format_errors.py MODEL [--formats w4g32,nf4g64] [--linears 12] [--json]

MODEL: a folder with safetensors. Linears are spread over the model. "weights": squared error over squared weights;
"outputs": the same of `x @ w.T`, x standard normal with a tenth of its channels 8 times as large, as activations have
outlier channels. Decibels of the mean over linears (-inf: the weights were on the grid); "mse": scales searched.
Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize

FORMATS = (
    "w1g128", "t2g128", "t1.6g256", "w2g64", "w2g64a", "p2g64", "c4g128", "w3g64", "w3g64a", "w4g32", "w4g64", "w4g32m",
    "nf4g64", "nf4g64m", "mxfp4", "log4t1g64", "log4t2g64", "log4t4g64", "fp8", "fp8e5", "w8", "w8g32",
)  # fmt: skip
ROWS, SAMPLES, LOUD = 256, 64, 8.0


@dataclass(frozen=True)
class Line:
    """A format and how its scales are found: bits a weight, and relative errors in dB (less is better)."""

    format: str
    method: str
    bits: float
    weights: float
    outputs: float


def linears(folder: Path, count: int) -> Iterator[np.ndarray]:
    """Up to 256 rows of `count` matrices f32[N, K], K a multiple of 64, spread over the files."""
    places = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                shape = file.get_slice(name).get_shape()
                if len(shape) == 2 and shape[1] % 64 == 0 and "embed" not in name:
                    places.append((path, name))
    for i in sorted(set(np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int))):
        path, name = places[i]
        with safe_open(path, "pt") as file:
            yield file.get_tensor(name)[:ROWS].float().numpy()


def errors(w: np.ndarray, fmt: WeightFormat, method: str) -> tuple[float, float]:
    """Relative squared error of weights and of outputs."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, w.shape[1])) * np.where(rng.random(w.shape[1]) < 0.1, LOUD, 1.0)
    wrong = dequantize(*quantize(w, fmt, method), fmt).astype(np.float64) - w
    return float((wrong**2).sum() / (w**2).sum()), float(((x @ wrong.T) ** 2).sum() / ((x @ w.T) ** 2).sum())


def measure(weights: list[np.ndarray], text: str, method: str) -> Line:
    """Means over weights."""
    fmt = WeightFormat.parse(text)
    found = np.mean([errors(w, fmt, method) for w in weights], axis=0)
    bits = np.mean([fmt.bits_per_weight(w.shape[1]) for w in weights])
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(found)
    return Line(text, method, round(float(bits), 3), round(float(decibels[0]), 2), round(float(decibels[1]), 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--linears", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    weights = list(linears(options.model, options.linears))
    lines = [measure(weights, text, m) for text in options.formats.split(",") for m in ("minmax", "mse")]
    if options.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
        return
    print("| format | scales | bits a weight | weights dB | outputs dB |\n|---|---|---|---|---|")
    for line in lines:
        print(f"| {line.format} | {line.method} | {line.bits} | {line.weights} | {line.outputs} |")


if __name__ == "__main__":
    main()
