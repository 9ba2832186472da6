"""Speeds of a plan on a target that is not here, from multiply-adds and bytes of its kernels; one thread.

Linears and what attention reads of its cache count; glue, norms and the arithmetic of attention do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.kernels.kernel import Kernel
from edgeq.lower.describe import rows_of_call
from edgeq.lower.plan import Call, Entry
from edgeq.modelled.estimate import Load, Machine, seconds
from edgeq.predict.modelled import ERROR, linear_load, machine_of
from edgeq.predict.speeds import DECODE_TOKENS, Speed, prompts
from edgeq.targets import Target

if TYPE_CHECKING:
    from edgeq.predict.blank_plan import Drawn


def modelled_speeds(drawn: Drawn, target: Target) -> list[Speed]:
    """Static entries, prompts and a token in the middle of 128, as `measured_speeds` gives them."""
    entries, machine = {entry.name: entry for entry in drawn.plan.entries}, machine_of(target)
    found = [
        Speed(e.name, _seconds(e, 0, drawn, machine, target), 0, 0, "modelled", ERROR)
        for e in entries.values()
        if not e.max_rows
    ]
    if "prefill" in entries:
        for count in prompts(drawn.context):
            took = sum(
                _seconds(entries["prefill"], min(drawn.chunk, count - start), drawn, machine, target, start)
                for start in range(0, count, drawn.chunk)
            )
            found.append(Speed(f"prefill_{count}", took, count, 0, "modelled", ERROR))
    if "decode" in entries:
        tokens = min(DECODE_TOKENS, drawn.context)
        took = _seconds(entries["decode"], 1, drawn, machine, target, tokens // 2)
        found.append(Speed(f"decode_{tokens}", took, 1, tokens // 2, "modelled", ERROR))
    return found


def _seconds(entry: Entry, rows: int, drawn: Drawn, machine: Machine, target: Target, position: int = 0) -> float:
    """Of one walk; `rows` 0: a static entry, whose calls know theirs."""
    calls = [call for region in entry.regions for call in region.calls]
    linears = sum(seconds(_load(call, rows or rows_of_call(call), target), machine).total for call in calls)
    cached = sum(_cache_bytes(call.kernel, position, rows) for call in calls) if rows else 0.0
    return linears + cached / machine.bandwidth


def _load(call: Call, rows: int, target: Target) -> Load:
    kernel = call.kernel
    fmt = kernel.options.get("fmt")
    if fmt is None or not kernel.family.startswith("linear"):
        return Load(0.0, 0.0)
    one = kernel.family.endswith("gemv")
    kind = f"{fmt} {'int' if kernel.family.startswith('linear_int') else 'float'} {'row' if one else 'rows'}"
    return linear_load(target, kind, kernel.ops * (1 if one else rows), kernel.weight_bytes)


def _cache_bytes(kernel: Kernel, position: int, rows: int) -> float:
    """What attention reads of the cache: each position before, once."""
    if not kernel.family.startswith("attention."):
        return 0.0
    options = kernel.options
    size = {"f32": 4, "f16": 2, "i8": 1, "i4": 0.625, "i2": 0.375}[options["kv"]]  # blocks: 32 bits a line of 32 codes
    return float(size * options["HK"] * (options["D"] + options["Dv"]) * (position + rows))
