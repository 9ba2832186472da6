"""Bytes of machine code of kernels by family and instruction set -> edgeq/predict/kernel_sizes.json.

    python benchmarks/kernel_sizes.py MODEL:BITS ... [--json edgeq/predict/kernel_sizes.json]

Every kernel of these models' plans is generated for every variant of every target; the code's bytes are those of its
symbol. The library's and the archive's bytes are fitted to these and to the size of model.c.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from edgeq.artifact.weights_file import TensorSpec, WeightsLayout
from edgeq.compiling.options import make_options
from edgeq.kernels.kernel import Kernel
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.link import KERNELS, LIBRARY, SOURCE, link_library
from edgeq.lower.objects import kernel_object
from edgeq.lower.toolchain import archive
from edgeq.modelled.program import read_program
from edgeq.predict.blank_plan import draw
from edgeq.predict.folder_size import kind_of_kernel
from edgeq.targets import find

TARGETS = ("x86-64", "arm64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL:BITS")
    parser.add_argument("--json", type=Path, default=Path("edgeq/predict/kernel_sizes.json"))
    given = parser.parse_args()
    code: dict[str, dict[str, list[int]]] = {}
    beyond: dict[str, list[tuple[int, ...]]] = {}
    for text in given.models:
        model, _, bits = text.rpartition(":")
        drawn = draw(make_options(model, bits=bits), lambda stage, done, total: None)
        for name in TARGETS:
            _measure(drawn, name, code, beyond)
    table = {
        "code": {isa: {k: round(statistics.fmean(v)) for k, v in sorted(kinds.items())} for isa, kinds in code.items()},
        "beyond": {name: _fit(rows) for name, rows in beyond.items()},
        "measured": f"python benchmarks/kernel_sizes.py {' '.join(given.models)}",
    }
    given.json.write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table["beyond"], indent=1))


def _measure(drawn, name: str, code: dict, beyond: dict) -> None:  # type: ignore[no-untyped-def]
    target, kernels = find(name), list(drawn.plan.kernels().values())
    isas = drawn.plan.variants(target)
    objects = [kernel_object(kernels, isa) for isa in isas]
    total = 0
    for isa, file in zip(isas, objects, strict=True):
        found = _code(file, kernels, isa.name)
        total += sum(found.values())
        for kernel in filter(lambda k: isa.owns(k.family), kernels):
            code.setdefault(isa.base or isa.name, {}).setdefault(kind_of_kernel(kernel), []).append(found[kernel.name])
    layout = WeightsLayout([TensorSpec(t.name, t.dtype, t.shape) for t in drawn.table.tensors.values()])
    info = WeightsInfo(layout.offsets, layout.tensor_bytes, layout.file_bytes, 0)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        source = emit(drawn.plan, isas, info, drawn.source.name)
        (out / SOURCE).write_text(source)
        archive(objects, out / KERNELS)
        link_library(target.zig_triple, out, out / LIBRARY)
        for what, file in (("library", LIBRARY), ("archive", KERNELS)):
            row = (total, len(source) if what == "library" else 0, (out / file).stat().st_size)
            beyond.setdefault(f"{what} {name}", []).append(row)


def _code(file: Path, kernels: list[Kernel], isa: str) -> dict[str, int]:
    sizes = {f.name: f.size for f in read_program(file).functions}
    return {k.name: sizes.get(f"{k.name}_{isa}", 0) for k in kernels}


def _fit(rows: list[tuple[int, ...]]) -> dict[str, float]:
    """Least relative squares: bytes = constant + a * code + b * bytes of model.c, which the archive does not hold."""
    x = np.array([[1, *row[:-1]] for row in rows], float)
    y = np.array([row[-1] for row in rows], float)
    found, *_ = np.linalg.lstsq(x / y[:, None], np.ones(len(y)), rcond=None)
    names = ("bytes", "a_byte_of_code", "a_byte_of_c")
    return {**dict(zip(names, map(float, found), strict=True)), "worst": float(abs(x @ found / y - 1).max())}


if __name__ == "__main__":
    main()
