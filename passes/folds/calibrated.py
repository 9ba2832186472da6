"""What passes share that fold a scale and a shift, chosen from the activations of samples, into every fold point."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, hf_name
from edgeq.passes.folds.fold_points import KINDS, FoldPoint, fold_points
from edgeq.passes.folds.folding import fold, part_norms
from edgeq.passes.grids import grid_format
from edgeq.passes.pass_ import Context, Pass, Range, Report, Site
from edgeq.quant.bits import DEFAULT_GROUP, Bits
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import format_of
from edgeq.quant.simulate import QuantSpec

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.stream import Captured

Choose = Callable[[FoldPoint, "Captured"], dict[str, Tensor]]
SIMULATED = re.compile(r"w([2-8])a([2-8]|16)(s?)(?:g(\d+)|pc)?(a?)")
DEFAULT_BITS = "w8a8"


def fold_chosen(
    step: Pass,
    gm: fx.GraphModule,
    context: Context,
    kinds: str,
    choose: Choose,
    wanted: Callable[[FoldPoint], set[fx.Node]] | None = None,
    note: Callable[[FoldPoint], str] = lambda point: "",
) -> Report:
    """Choose at every fold point, fold, and report ranges before and after; norms that are residuals are parted first.

    Args:
        step: the pass that asks. kinds: of its points, as `parse_kinds` takes them.
        choose: (point, values of its block) -> `scale`, `shift` (f32 `[K / repeat]`, each may be missing) and
            `errors` (before, after; may be missing).
        wanted: activations that `choose` reads; the point's own when not given.
        note: what else the report should say of a point.

    Raises:
        UsageError: nothing is remembered of a point and there are no samples, or the graph has caches already.
    """
    _check(step, gm, context)
    part_norms(gm)
    points, declined = fold_points(gm, parse_kinds(step, kinds))
    _decide(step, gm, context, points, choose, wanted or (lambda point: {point.activation}))
    changed = []
    for point in points:
        decision = context.decisions.get(decision_name(step, context), point.key)
        if decision is None:
            declined.append(Site(point.module, "no sample reaches it"))
        else:
            changed.append(_fold(gm, point, decision, note(point)))
    return Report(str(step), tuple(changed), tuple(declined))


def parse_kinds(step: Pass, text: str) -> tuple[str, ...]:
    """`"norm+gated"` -> kinds of fold points; UsageError names what is unknown."""
    kinds = tuple(text.split("+"))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"pass {step.name}: no fold points of kind {unknown[0]!r}; known: {'+'.join(KINDS)}")
    return kinds


def quant_spec(text: str, context: Context) -> QuantSpec:
    """What a search simulates: the bits given, else those of the compile, else w8a8.

    Besides the bits grammar, `w<2..8>a<2..8|16>[s][g<size>|pc][a]` (`s`: one activation scale a tensor) is known, as no
    more than its arithmetic is needed.
    """
    if not text and context.bits is not None:
        return QuantSpec.of(context.bits)
    match = SIMULATED.fullmatch(text or DEFAULT_BITS)
    if match is None:
        return QuantSpec.of(Bits.parse(text))
    bits, act, static, group, asymmetric = match.groups()
    size = int(group) if group else 0 if "pc" in text else DEFAULT_GROUP.get(int(bits), 0)
    kind = "none" if act == "16" else "tensor" if static else "token"
    return QuantSpec(int(bits), size, not asymmetric, kind, 8 if act == "16" else int(act))


def quant_of(linear: fx.Node, context: Context, bits: str = "") -> QuantSpec:
    """What a search simulates of one linear: the bits given, else its own format of the compile, else the compile's.

    A weight that lies on a grid already keeps that grid.
    """
    text = grid_format(arguments(linear)["weight"])
    if bits and text is None:
        return quant_spec(bits, context)
    own = format_of(hf_name(linear), context.formats) if text is None else WeightFormat.parse(text)
    spec = quant_spec(bits, context)
    if own is None:
        return spec
    kept = replace(spec, weight_bits=own.bits, group_size=own.group_size, symmetric=own.symmetric)
    kept = replace(kept, kind=own.kind)
    return replace(kept, act="none") if own.float_only else kept


def channel_range(point: FoldPoint, captured: Captured) -> Range:
    """Least and largest value of each channel of the point's activation, f32 `[K]`."""
    rows = captured.rows(point.activation)
    low, high = (torch.stack([reduce(part, 0) for part in rows if len(part)]) for reduce in (torch.amin, torch.amax))
    return Range(low.amin(0).float(), high.amax(0).float())


def _check(step: Pass, gm: fx.GraphModule, context: Context) -> None:
    if context.weights is None:
        raise UsageError(f"the pass {step.name} measures activations: it needs a model's weights and sample tokens")
    if calls(gm, "edgeq.cached_attention"):
        raise UsageError(f"the pass {step.name} runs the graph on samples: put it before add-cache")


def decision_name(step: Pass, context: Context) -> str:
    """The step that decisions are kept under."""
    return context.step or str(step)


def _decide(
    step: Pass,
    gm: fx.GraphModule,
    context: Context,
    points: list[FoldPoint],
    choose: Choose,
    wanted: Callable[[FoldPoint], set[fx.Node]],
) -> None:
    """Put a decision for every point that has none, block by block."""
    name = decision_name(step, context)
    missing = [point for point in points if context.decisions.get(name, point.key) is None]
    if not missing:
        return
    samples = context.samples(gm)
    if not samples:
        raise UsageError(f"the pass {step.name} measures activations: this graph has no samples (see --calib)")
    needed = {node for point in missing for node in wanted(point) | {point.activation}}

    def visit(block: Block, captured: Captured) -> None:
        for point in missing:
            if point.activation in captured and context.decisions.get(name, point.key) is None:
                own = channel_range(point, captured)
                found = choose(point, captured)
                context.decisions.put(name, point.key, {**found, "low": own.low, "high": own.high})

    stream(
        gm, context.weights, samples, needed.__contains__, visit,
        progress=context.progress, stage=step.name, journal=context.decisions,
    )  # fmt: skip


def _fold(gm: fx.GraphModule, point: FoldPoint, decision: dict[str, Tensor], note: str) -> Site:
    scale, shift = decision.get("scale"), decision.get("shift")
    module = point.module
    fold(gm, point, scale, shift)
    before = Range(decision["low"], decision["high"])
    what = ", ".join(filter(None, (_words(decision), note)))
    return Site(module, what, before, _moved(point, before, scale, shift))


def _moved(point: FoldPoint, own: Range, scale: Tensor | None, shift: Tensor | None) -> Range:
    s = torch.ones(()) if scale is None else point.spread(scale)
    z = torch.zeros(()) if shift is None else point.spread(shift)
    return Range((own.low - z) / s, (own.high - z) / s)


def _words(decision: dict[str, Tensor]) -> str:
    found = {name: decision[name] for name in ("scale", "shift") if name in decision}
    parts = [f"{name}s {t.min():.3g}..{t.max():.3g}" for name, t in found.items()]
    if "errors" in decision:
        before, after = decision["errors"].tolist()
        parts.append(f"error {before:.3g} -> {after:.3g}")
    return ", ".join(parts if found else ["unchanged", *parts])
