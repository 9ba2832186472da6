"""The formats that an allocation chooses from, and what they need besides bytes: kernels, shared by equal shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgeq.budget.allocate import Allocation, Choice, Item
from edgeq.budget.code import names_of, rough_bytes
from edgeq.compiling.options import Options
from edgeq.errors import UsageError
from edgeq.quant.format import GROUP_SIZES, WeightFormat
from edgeq.sensitivity.result import HEAD, NATS, Sensitivity, Unit
from edgeq.targets import Target

GROUPED = tuple(f"w4g{size}{zero}" for size in GROUP_SIZES for zero in ("", "a"))
LINEARS = ("w2g64a", "w3g64a", *GROUPED, "w8", "w8g128")
HEADS = ("w4g32", "w8g32", "f16")
Seconds = Mapping[tuple[str, str], float]
"""(first module of a unit, format) -> seconds of its kernel in one step."""


def items_of(sensitivity: Sensitivity, seconds: Seconds | None = None) -> list[Item]:
    """What the allocator chooses between: each unit in every format that was measured.

    Damages add up: nats do, and of relative errors their squares (`Estimate.shown` takes the root again).
    """
    power = 1 if sensitivity.unit == NATS else 2
    return [Item(unit.modules, tuple(_choices(unit, seconds or {}, power))) for unit in sensitivity.units]


def _choices(unit: Unit, seconds: Seconds, power: int) -> list[Choice]:
    rows, columns = unit.shape
    found = []
    for text, candidate in unit.formats.items():
        code = names_of(rows, columns, text)
        time = seconds.get((unit.modules[0], text), 0.0)
        found.append(Choice(text, candidate.damage**power, candidate.bytes, time, code))
    return found


def code_bytes(items: Sequence[Item], target: Target) -> dict[str, int]:
    """Roughly what each kernel of the choices takes; a plan's own are known once it is weighed."""
    names = {name for item in items for choice in item.choices for name in choice.code}
    return {name: rough_bytes(name, target) for name in sorted(names)}


def with_formats(options: Options, sensitivity: Sensitivity, found: Allocation) -> Options:
    """The options that compile what was allocated; `bits` says the commonest format, for people to read."""
    pairs = list(zip(sensitivity.units, found.formats, strict=True))
    head = next((text for unit, text in pairs if unit.kind == HEAD), str(options.bits.head))
    formats = {module: text for unit, text in pairs if unit.kind != HEAD for module in unit.modules}
    bits = replace(options.bits, head=WeightFormat.parse(head))
    if formats:
        bits = replace(bits, weight=WeightFormat.parse(_commonest(pairs)))
    return replace(options, bits=bits, formats=formats)


def _commonest(pairs: Sequence[tuple[Unit, str]]) -> str:
    """The format of most weights."""
    weights: dict[str, int] = {}
    for unit, text in pairs:
        if unit.kind != HEAD:
            weights[text] = weights.get(text, 0) + unit.weights
    return max(weights, key=lambda text: weights[text])


def check_bits(options: Options) -> None:
    """Raise UsageError where the bits leave nothing to choose."""
    if options.bits.weight.is_float:
        raise UsageError(f"--bits {options.bits}: a budget chooses formats of 4 and 8 bits; give w4a8, w8a8 or w4a16")
    if options.bits.act == "a8s":
        raise UsageError(
            f"--bits {options.bits}: budgets choose formats for a8 or a16; static activations (a8s) are measured later"
        )
    if options.bits.act == "a1":
        raise UsageError(f"--bits {options.bits}: budgets choose formats for a8 or a16; signs (a1) have one format, w1")
    if options.formats:
        raise UsageError("--formats says what a budget is there to choose: give one of them")
