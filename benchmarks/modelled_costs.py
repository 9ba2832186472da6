"""Cycles a multiply-add of linears on processors that are not here -> edgeq/predict/modelled_costs.json.

    python benchmarks/modelled_costs.py [--json edgeq/predict/modelled_costs.json]

Linears of every kind are generated for each variant and run on blank weights under the emulator, their instructions
counted exactly and priced by llvm-mca (docs/modelled.md). Needs qemu-user and LLVM's tools.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from edgeq import __version__
from edgeq.artifact import manifest as manifests
from edgeq.lower.describe import describe_entry, describe_kernel
from edgeq.modelled.architecture import of_target
from edgeq.modelled.rows import Accounting
from edgeq.modelled.run import count_artifact
from edgeq.predict.blank_library import write_blank
from edgeq.predict.kernel_plan import Linear, kernel_plan
from edgeq.targets import find

N, K, ROWS = 256, 512, 32
KINDS = [(f, "a8") for f in ("w4g32", "w4g128", "w4g64a", "w8", "w8g32")] + [
    (f, "a16") for f in ("w4g32", "w4g128", "w8", "w8g32", "f16", "f32")
]
VARIANTS = {"arm64": (("neon", "cortex-a72"), ("dotprod", "cortex-a76"), ("i8mm", "max")), "x86-64": (("avx2", "max"),)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("edgeq/predict/modelled_costs.json"))
    given = parser.parse_args()
    found = {f"{t} {v}": _variant(t, v, cpu) for t, variants in VARIANTS.items() for v, cpu in variants}
    body = {"measured": "python benchmarks/modelled_costs.py", "cycles_a_multiply_add": found}
    given.json.write_text(json.dumps(body, indent=1) + "\n")


def _variant(target: str, variant: str, emulated: str) -> dict[str, dict[str, float]]:
    """Processor -> kind -> cycles a multiply-add."""
    linears = [Linear(N, K, fmt, act, rows) for fmt, act in KINDS for rows in (1, ROWS)]
    plan, sizes = kernel_plan(linears, 1)
    isa = next(isa for isa in find(target).isas if isa.name == variant)
    cpus = [p.cpu for p in of_target(target).processors]
    with tempfile.TemporaryDirectory() as folder:
        write_blank(plan, sizes, find(target), Path(folder), isa)
        about = manifests.Manifest(edgeq=__version__, model="blank", target=target, bits="", files={}, tensors=[])
        manifests.write(about, Path(folder))
        counts = count_artifact(Path(folder), about, emulated, 0, 0, variant)
    manifest = {
        "kernels": [describe_kernel(k) for k in plan.kernels().values()],
        "entries": [describe_entry(e) for e in plan.entries],
        "memory": {"context": 0},
    }
    entries = Accounting(manifest, counts, cpus).entries()
    table: dict[str, dict[str, float]] = {cpu: {} for cpu in cpus}
    for linear, entry in zip(linears, plan.entries, strict=True):
        row = next(row for row in entries[entry.name].rows if row.calls)
        for cpu, cycles in row.cycles.items():
            if cycles is not None:
                table[cpu][linear.kind] = cycles / row.calls / linear.ops
    return {cpu: kinds for cpu, kinds in table.items() if kinds}


if __name__ == "__main__":
    main()
