"""Seconds and memory of a compile: amounts of work times what each was measured to cost.

The constants and how they were measured are in compile_costs.json; benchmarks/compile_costs.py writes it. They are of
the machine named there: on another one the times are off by how much faster it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from edgeq.compiling.options import Options
from edgeq.compiling.recipes import DECODER, amount_of, recipe_of
from edgeq.lower.objects import has_object
from edgeq.lower.weights import CHUNK_ROWS
from edgeq.passes.pipeline import parse_pipeline
from edgeq.predict.blank_plan import Drawn
from edgeq.predict.folder_size import code_bytes

TABLE = Path(__file__).with_name("compile_costs.json")
SAMPLES = (8, 256)  # windows of a decoder and their tokens where neither the command nor the recipe says
TEXTS = (32, 40)  # of encoders: edgeq's own texts, and how long they are on average


@dataclass(frozen=True)
class Cost:
    """What a compile takes.

    Attributes:
        stages: seconds by stage. error: share of the total by which it may be off.
        peak_bytes: resident memory at most. memory_error: share by which it may be off.
        unknown: passes whose time nobody measured: it is not in `stages`.
        warm: whether the kernels are in the user's cache already.
    """

    stages: dict[str, float]
    error: float
    peak_bytes: int
    memory_error: float
    unknown: tuple[str, ...]
    warm: bool

    @property
    def seconds(self) -> float:
        """All stages."""
        return sum(self.stages.values())

    def to_json(self) -> dict[str, Any]:
        """With the total."""
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True)
class Work:
    """Amounts that a compile's time and memory go with.

    Attributes:
        weights: numbers packed, by stored format and way of choosing ranges: `"w4g32 mse"`.
        passes: calibrated passes by name -> linear weights x tokens looked at, times how often it runs.
        code: bytes of kernels to generate. file_bytes: of the weights file.
        chunk_bytes: of the largest piece of a tensor quantized at a time, as f32. linear_bytes: of the largest
            matrix, as f32.
    """

    weights: dict[str, int]
    passes: dict[str, float]
    code: int
    file_bytes: int
    chunk_bytes: int
    linear_bytes: int


def work_of(drawn: Drawn, options: Options, cold: bool = False) -> Work:
    """The amounts of one compile; `cold`: as with an empty cache of kernels."""
    weights: dict[str, int] = {}
    for tensor in drawn.table.tensors.values():
        if tensor.dtype == "U8":
            name = pack_kind(tensor.format, drawn.table.ranges)
            weights[name] = weights.get(name, 0) + prod(tensor.logical)
    kernels = list(drawn.plan.kernels().values())
    code = sum(
        code_bytes(kernel, isa)
        for isa in drawn.plan.variants(options.target)
        if cold or not has_object(kernels, isa)
        for kernel in kernels
        if isa.owns(kernel.family)
    )
    matrices = [t.logical for t in drawn.table.tensors.values() if t.dtype == "U8"]
    chunk = max((4 * min(n, CHUNK_ROWS) * k for n, k in matrices), default=0)
    linear = max((4 * n * k for n, k in matrices), default=0)
    return Work(weights, _passes(drawn, options), round(code), sum(drawn.sizes.values()), chunk, linear)


def pack_kind(fmt: str, ranges: str) -> str:
    """`w4 mse`, `w8`, `f`: what the time to quantize and pack a weight depends on."""
    bits = fmt.split("g")[0].rstrip("a")
    return f"{bits} {ranges}" if bits == "w4" else bits if bits.startswith("w") else "f"


def _passes(drawn: Drawn, options: Options) -> dict[str, float]:
    """Linear weights x the tokens that a pass looks at, by pass: searches look at some rows, however many there are."""
    linear = sum(entry_ops(entry) for entry in drawn.plan.entries[:1])
    samples, length = amount_of(replace(options, recipe=recipe_of(options, drawn.kind)))
    if drawn.kind == DECODER:
        tokens = (options.samples or samples or SAMPLES[0]) * (options.length or length or SAMPLES[1])
    else:
        tokens = (options.samples or samples or TEXTS[0]) * TEXTS[1]
    found: dict[str, float] = {}
    for text in drawn.passes:
        step = parse_pipeline(text)[0]
        kind = f"{step.name}{' search' if getattr(step, 'search', False) else ''}"
        rows = min(tokens, getattr(step, "tokens", tokens))
        found[kind] = found.get(kind, 0.0) + linear * rows * drawn.pipelines
    return found


def entry_ops(entry: Any) -> int:
    """Multiply-adds by which an entry's linears multiply one row: how many weights they have."""
    calls = (call for region in entry.regions for call in region.calls)
    return sum(call.kernel.ops for call in calls if call.kernel.weight_bytes)


def compile_cost(drawn: Drawn, options: Options, drawing_s: float) -> Cost:
    """What a compile would take here; `drawing_s`: seconds that export and lowering took just now."""
    return cost_of(work_of(drawn, options), _table(), drawing_s)


def cost_of(work: Work, table: Mapping[str, Any], drawing_s: float) -> Cost:
    """Amounts times constants."""
    seconds, memory = table["seconds"], table["memory"]
    stages = {"start and export": seconds["start"] + drawing_s}
    for name, amount in work.passes.items():
        if name in seconds["pass"]:
            stages[f"pass {name}"] = amount * seconds["pass"][name]
    pack_rates = seconds["pack"]
    stages["quantize and pack"] = sum(n * pack_rates.get(k, pack_rates["w8"]) for k, n in work.weights.items())
    stages["generate kernels"] = work.code * seconds["code_byte"]
    stages["link and write"] = seconds["link"] + work.file_bytes * seconds["file_byte"]
    pack = memory["chunk"] * work.chunk_bytes
    passes = memory["pass"] * work.linear_bytes if work.passes else 0.0
    unknown = tuple(name for name in work.passes if name not in seconds["pass"])
    peak = memory["base"] + max(pack, passes) + (memory["generate"] if work.code else 0)
    return Cost(stages, table["error"]["seconds"], round(peak), table["error"]["memory"], unknown, not work.code)


@cache
def _table() -> dict[str, Any]:
    return json.loads(TABLE.read_text())
