"""Each group's range is narrowed where a few large weights would cost all others their precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, insert, op, site, value
from edgeq.ir.values import weight_value
from edgeq.ir.verify import is_static
from edgeq.passes.clips.clip_search import find_limits, gram
from edgeq.passes.folds.calibrated import decision_name, quant_of, quant_spec
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.folding import replace_argument, table
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import holds_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import heads
from edgeq.quant.simulate import QuantSpec

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.stream import Captured

METHODS = ("output", "mse")
Quants = dict[fx.Node, QuantSpec]


@dataclass(frozen=True)
class ClipWeights(Pass):
    """Clip each row's groups of weights to `ratio * (low, high)`; the ratio of least error in the linear's output.

    AWQ (MLSys 2024, section 3.2): ratios 1, 0.95, ..., 0.55. The error of a group is `sum_j x_j (w_j - q(w_j))` over
    its own columns, squared, on tokens as they are and scaled alike. A reconstruction: it changes a float model, so
    that the quantized one is closer to what it was. Packing's ranges must be `minmax`, as in language models.

    Attributes:
        bits: what weights will be quantized to; empty: those of the compile.
        method: `output` measures on samples, `mse` looks at weights alone and needs none.
        steps: ratios tried.
        shrink: between ratios.
        scores: also clip what attention scores are made of (q and k), which AWQ found to harm.
        tokens: rows of each activation that are measured.
    """

    name: ClassVar[str] = "clip-weights"
    bits: str = ""
    method: str = "output"
    steps: int = 10
    shrink: float = 0.05
    scores: bool = False
    tokens: int = 512

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"clip-weights: method={self.method} is not known; known: {', '.join(METHODS)}")
        if self.steps < 1 or self.shrink <= 0 or self.steps * self.shrink > 1 or self.tokens < 1:
            raise UsageError(f"{self}: steps x shrink must lie between 0 and 1, tokens must be positive")

    @property
    def measures(self) -> bool:  # type: ignore[override]
        """Whether it needs samples."""
        return self.method == "output"

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Clip every linear but the output's; run before add-cache. UsageError without weights, or samples it needs."""
        if context.weights is None:
            raise UsageError("the pass clip-weights looks at weights: it needs a model, not a graph from text")
        default = quant_spec(self.bits, context)
        if default.weight_bits >= 16 and not context.formats:
            raise UsageError(f"{self}: weights of {default.weight_bits} bits are stored as they are: nothing to clip")
        quants = {linear: quant_of(linear, context, self.bits) for linear in calls(gm, "aten.linear")}
        reasons = {linear: self._why_not(gm, linear, quants[linear]) for linear in quants}
        linears = [linear for linear, reason in reasons.items() if not reason]
        self._decide(gm, linears, quants, context)
        known = {linear: context.decisions.get(decision_name(self, context), key_of(linear)) for linear in linears}
        changed = [_clip(gm, linear, found, quants[linear]) for linear, found in known.items() if found is not None]
        reasons |= {linear: "no sample reaches it" for linear in linears if known[linear] is None}
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def _why_not(self, gm: fx.GraphModule, linear: fx.Node, quant: QuantSpec) -> str:
        weight = arguments(linear)["weight"]
        if holds_grid(weight):
            return "its weight lies on a grid already"
        if quant.weight_bits >= 16:
            return f"its weights of {quant.weight_bits} bits are stored as they are"
        if quant.kind != "int":
            return f"{quant.format} has no range of whole numbers that could be narrowed"
        if any(op(user) == "aten.embedding" for leaf in stored(weight) for user in leaf.users):
            return "its weight is also the token embedding"
        if linear in set(heads(gm)):
            return "it makes the output, which has a format of its own"
        return "attention scores are made of it" if not self.scores and makes_scores(linear) else ""

    def _decide(self, gm: fx.GraphModule, linears: list[fx.Node], quants: Quants, context: Context) -> None:
        name = decision_name(self, context)
        missing = {key_of(n): n for n in linears if context.decisions.get(name, key_of(n)) is None}
        if self.method == "mse":
            for key, linear in missing.items():
                context.decisions.put(name, key, self._limits(linear, None, quants[linear], context))
        elif missing:
            self._measure(gm, missing, quants, context)

    def _measure(self, gm: fx.GraphModule, missing: dict[str, fx.Node], quants: Quants, context: Context) -> None:
        samples = context.samples(gm)
        if not samples:
            raise UsageError("the pass clip-weights measures activations: this graph has no samples (see --calib)")
        name, wanted = decision_name(self, context), {linear.args[0] for linear in missing.values()}

        def visit(block: Block, captured: Captured) -> None:
            for key, linear in missing.items():
                if linear.args[0] in captured:
                    rows = torch.cat(_rows(gm, captured, linear.args[0]))
                    context.decisions.put(name, key, self._limits(linear, rows, quants[linear], context))

        stream(
            gm, context.weights, samples, wanted.__contains__, visit,
            progress=context.progress, stage=self.name, journal=context.decisions,
        )  # fmt: skip

    def _limits(self, linear: fx.Node, rows: Tensor | None, quant: QuantSpec, context: Context) -> dict[str, Tensor]:
        weight = weight_value(arguments(linear)["weight"], context.weights).float()
        size = min(quant.group_size or weight.shape[1], weight.shape[1])
        products = torch.eye(size)[None] if rows is None else gram(_some(rows.float(), self.tokens), size)
        found = find_limits(weight, products, quant, tuple(1 - i * self.shrink for i in range(self.steps)))
        return {"low": found.low, "high": found.high, "errors": torch.tensor([found.before, found.after])}


def makes_scores(linear: fx.Node) -> bool:
    """True of a linear whose output reaches an attention's q or k, not through another linear or a norm of rows."""
    pending, seen = [linear], {linear}
    while pending:
        node = pending.pop()
        for user in node.users:
            if op(user) in ("edgeq.attention", "edgeq.cross_attention", "edgeq.store_keys"):
                given = arguments(user)
                if node in (given.get("q"), given.get("k")):
                    return True
            elif user not in seen and not _stops(user):
                seen.add(user)
                pending.append(user)
    return False


def _stops(node: fx.Node) -> bool:
    row_norm = op(node) == "edgeq.rms_norm" and arguments(node)["heads"] == 1
    return op(node) in ("aten.linear", "aten.layer_norm", "edgeq.gated", "") or row_norm


def _rows(gm: fx.GraphModule, captured: Captured, node: fx.Node) -> list[Tensor]:
    """Rows that count, and in a language model the first token's too: clipped without it, an attention sink breaks."""
    return captured.rows(node) if is_static(gm) else [tensor.flatten(0, -2) for tensor in captured.values(node)]


def _some(rows: Tensor, tokens: int) -> Tensor:
    """At most that many rows, evenly spaced."""
    return rows if len(rows) <= tokens else rows[torch.linspace(0, len(rows) - 1, tokens).long()]


def _clip(gm: fx.GraphModule, linear: fx.Node, decision: dict[str, Tensor], quant: QuantSpec) -> Site:
    """weight -> minimum(maximum(weight, low of its group), high of its group); nothing, where no group is clipped."""
    low, high = decision["low"], decision["high"]
    clipped = (low.isfinite() | high.isfinite()).float().mean().item()
    if clipped:
        _insert(gm, linear, low, high, quant.group_size)
    before, after = decision["errors"].tolist()
    return Site(site(linear), f"{clipped:.0%} of its groups clipped, error {before:.3g} -> {after:.3g}")


def _insert(gm: fx.GraphModule, linear: fx.Node, low: Tensor, high: Tensor, group_size: int) -> None:
    weight = arguments(linear)["weight"]
    columns = int(value(weight).shape[1])
    tables = [table(gm, limit, linear, "clip") for limit in (low, high)]
    with gm.graph.inserting_before(linear):
        if low.shape[1] > 1:
            where = _group_of_column(gm, columns, group_size, linear)
            tables = [insert(gm.graph, "aten.index_select", limit, 1, where, like=weight) for limit in tables]
        for name, limit in zip(("aten.maximum", "aten.minimum"), tables, strict=True):
            weight = insert(gm.graph, name, weight, limit, like=weight)
    replace_argument(linear, "weight", weight)


def _group_of_column(gm: fx.GraphModule, columns: int, size: int, before: fx.Node) -> fx.Node:
    """A stored i64 `[K]` table, one for all weights of a width."""
    held = f"clip_columns_{columns}_{size}"
    if not hasattr(gm, held):
        gm.register_buffer(held, torch.arange(columns) // size)
    node = gm.graph.create_node("get_attr", held, name=held)
    node.meta.update(val=value(before).new_empty((columns,), dtype=torch.int64), hf="")
    return node
