"""Weights of box heads on logarithmic levels, their scales learned by what happens to the boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, site
from edgeq.ir.values import weight_value
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import holds_grid, put_on_grid
from edgeq.passes.heads.box_heads import Head, head_linears, head_of
from edgeq.passes.heads.filtered_loss import OVERLAP, SCORE, filtered_loss
from edgeq.passes.heads.log_weights import Fitted, LearnedLevels, choose, even_error
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.quant.format import GROUP_SIZES, K_MULTIPLE, WeightFormat

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.stream import Captured

LEVELS = ("log4t1", "log4t2", "log4t4", "log4z5", "log4z6", "log4z7", "log4z8")
Values = list[dict[fx.Node, Tensor]]  # of a head's outside, a sample each


@dataclass(frozen=True)
class Llaq(Pass):
    """Reg-PTQ's learnable logarithmic-affine quantizer (CVPR 2024) for the linears of box heads. A reconstruction.

    Their weights are Laplace-shaped (regression by L1), so levels lie close together near zero: 16 of them,
    `+-scale * 2^(-c/tau)`, with or without an exact zero; the affine part of the paper's logarithm is the scale. For
    each linear the granularity of least squared error is chosen, in groups where those are worth their scales. Then
    scales are learned: L1 of boxes before suppression, of those that score and still overlap (the filtered global
    loss), plus cross entropy of classes that change. What was learned is kept only where that loss is less.
    Everything else stays on the grid that `--bits` gives it.

    Attributes:
        modules: which linears: patterns joined by `+` (`*bbox_predictor*`); "": those in a row before an output of
            boxes `[..., 4]`, by structure.
        group: weights of a group, 0 per-channel, -1 chosen.
        steps: of Adam, over all samples each; 0: squared error of weights alone, and no samples are needed.
        lr: of the scales' logarithms.
        score: least float probability of an object whose box counts.
        iou: least overlap with its float box.
        weight: of boxes beside classes.
        force: also where even levels of as many bits have less squared error.
    """

    name: ClassVar[str] = "llaq"
    measures: ClassVar[bool] = True
    modules: str = ""
    group: int = -1
    steps: int = 40
    lr: float = 0.01
    score: float = SCORE
    iou: float = OVERLAP
    weight: float = 1.0
    force: bool = False

    def __post_init__(self) -> None:
        if self.group not in (-1, 0, *GROUP_SIZES) or self.steps < 0 or self.lr <= 0:
            raise UsageError(f"{self}: group is -1, 0 or one of {GROUP_SIZES}, steps not negative, lr positive")
        object.__setattr__(self, "measures", self.steps > 0)  # of this one: weights alone need no samples

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Decide what is not known yet, then put weights on their grid. UsageError without weights or samples."""
        if context.weights is None or calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass llaq reads weights and runs the graph: it needs a model, before add-cache")
        found = head_linears(gm, self.modules)
        reasons = {n: self._why_not(n, context) for n in found}
        declined = [Site(site(n), reason) for n, reason in reasons.items() if reason]
        linears = [n for n in found if not reasons[n]]
        step, words = context.step or str(self), "known"
        if any(context.decisions.get(step, key_of(n)) is None for n in linears):
            fitted, words = self._decide(gm, linears, context)
            for linear, one in fitted.items():
                context.decisions.put(step, key_of(linear), _tensors(one))
        changed = []
        for linear in linears:
            decision = context.decisions.get(step, key_of(linear))
            assert decision is not None
            changed.append(_put(gm, linear, decision, words))
        return Report(str(self), tuple(changed), tuple(declined))

    def _decide(
        self, gm: fx.GraphModule, linears: list[fx.Node], context: Context
    ) -> tuple[dict[fx.Node, Fitted], str]:
        """Numbers of every linear, and how their scales were found."""
        tables = {n: _weight(n, context) for n in linears}
        fitted = {n: self._fit(w) for n, w in tables.items()}
        head = head_of(gm, linears)
        if not self.steps or head is None:
            return fitted, "scales by squared error" + ("" if head else ": no output of boxes with classes beside it")
        samples = context.samples(gm)
        if not samples:
            raise UsageError("the pass llaq learns scales from boxes: it needs samples (see --calib), or steps=0")
        values = _captured(gm, head, samples, context)
        inputs = [sample.inputs for sample in samples]
        learned, before, after = self._learn(head, tables, fitted, values, inputs, context)
        return learned, f"filtered loss {before:.4g} -> {after:.4g}"

    def _why_not(self, linear: fx.Node, context: Context) -> str:
        if holds_grid(arguments(linear)["weight"]):
            return "its weight is on a grid already"
        width = int(arguments(linear)["weight"].meta["val"].shape[1])
        if width % K_MULTIPLE:
            return f"{width} input channels: need a multiple of {K_MULTIPLE}"
        known = context.decisions.get(context.step or str(self), key_of(linear)) is not None
        if self.force or known:
            return ""
        w = _weight(linear, context)
        fitted = self._fit(w)
        even = even_error(w, WeightFormat(4, fitted.format.group_size))
        return "" if fitted.error < even else (
            f"squared error {fitted.error:.4f} of its weight's square, {even:.4f} on even levels: no Laplace shape"
        )  # fmt: skip

    def _fit(self, w: Tensor) -> Fitted:
        sizes = [0, *GROUP_SIZES] if self.group < 0 else [self.group]
        return choose(w, list(LEVELS), [size for size in sizes if size < w.shape[1]] or [0])

    def _learn(
        self, head: Head, tables: dict[fx.Node, Tensor], fitted: dict[fx.Node, Fitted], values: Values,
        inputs: list[dict[str, Tensor]], context: Context,
    ) -> tuple[dict[fx.Node, Fitted], float, float]:  # fmt: skip
        """The best hardened numbers, and the loss over all samples before and after."""
        with torch.no_grad():
            pairs = zip(values, inputs, strict=True)
            wanted = [head.run(known, given, context.weights, tables) for known, given in pairs]
        learners = {n: LearnedLevels(tables[n], one) for n, one in fitted.items()}
        changes = head.classes in head.nodes

        def loss(weights: dict[fx.Node, Tensor]) -> Tensor:
            total = torch.zeros(())
            for known, given, (boxes, classes) in zip(values, inputs, wanted, strict=True):
                found, logits = head.run(known, given, context.weights, weights)
                total = total + filtered_loss(
                    classes, boxes, logits if changes else None, found, self.score, self.iou, self.weight
                )
            return total / len(values)

        def judged(numbers: dict[fx.Node, Fitted]) -> float:
            with torch.no_grad():
                return float(loss({n: _dequantized(one) for n, one in numbers.items()}))

        best = before = judged(fitted)
        optimizer = torch.optim.Adam([one.stretch for one in learners.values()], lr=self.lr)
        for number in range(self.steps):
            optimizer.zero_grad()
            loss({n: one.weight() for n, one in learners.items()}).backward()
            optimizer.step()
            context.progress(self.name, number + 1, self.steps)
            hard = {n: one.harden() for n, one in learners.items()}
            if (now := judged(hard)) < best:
                best, fitted = now, hard
        return fitted, before, best


def _weight(linear: fx.Node, context: Context) -> Tensor:
    return weight_value(arguments(linear)["weight"], context.weights).float()


def _captured(gm: fx.GraphModule, head: Head, samples: list[Any], context: Context) -> Values:
    """What the head reads, of every sample."""
    values: Values = [{} for _ in samples]

    def visit(block: Block, captured: Captured) -> None:
        for node in head.outside:
            if node in captured:
                for held, tensor in zip(values, captured.values(node), strict=True):
                    held[node] = tensor.float() if tensor.is_floating_point() else tensor

    stream(gm, context.weights, samples, head.outside.__contains__, visit, progress=context.progress, stage="llaq")
    return values


def _dequantized(one: Fitted) -> Tensor:
    from edgeq.quant.values import dequantized

    return dequantized(one.codes, one.scale, None, one.format)


def _tensors(one: Fitted) -> dict[str, Tensor]:
    number, group = LEVELS.index(one.format.name), one.format.group_size
    return {"codes": one.codes, "scale": one.scale, "format": torch.tensor([number, group]),
            "error": torch.tensor([one.error])}  # fmt: skip


def _put(gm: fx.GraphModule, linear: fx.Node, decision: dict[str, Tensor], words: str) -> Site:
    number, group = (int(x) for x in decision["format"])
    fmt = WeightFormat.named(LEVELS[number], group)
    put_on_grid(gm, linear, decision["codes"], decision["scale"], None, fmt)
    error = float(decision["error"])
    return Site(site(linear), f"{fmt}, squared error {error:.4f} of its weight's square; {words}")
