"""Attention's probabilities as codes of a logarithmic grid: its granularity and reach chosen at every attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.errors import UsageError, VerifyError
from edgeq.ir.graph import arguments, calls, site
from edgeq.ir.probabilities import ProbabilityGrid
from edgeq.ir.verify import is_static
from edgeq.passes.folds.folding import replace_argument, table
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.probabilities.probability_search import Seen, choose
from edgeq.passes.probabilities.seen import AttentionInputs

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.stream import Captured

TAUS = (1, 2, 4)
GRIDS = ("log2", "int")


@dataclass(frozen=True)
class Agq(Pass):
    """Marks every attention of a static graph: probabilities become codes, values int8. A quantizer choice.

    PTQ4SAM's adaptive granularity quantization (CVPR 2024, section 3.3): probability `s * 2^(-c/tau)`, where tau (1, 2
    or 4: fine near s, or reaching nearer to zero) and s make `||AV - A^V||^2` least, V in float: for each tau the best
    s of every sample by bounded search, then the tau of the least error over all samples with the mean of its s. The
    last code is exactly zero. Scores and the softmax itself stay float.

    Attributes:
        bits: of a code; 2, 3 or 4, of an even grid up to 8.
        tau: 1, 2 or 4; 0: chosen.
        grid: `log2`, or `int`: even steps up to a searched s, for comparison.
        rows: queries of a sample and head that the search looks at, evenly spaced.
        steps: values of s that are tried, for each tau.
    """

    name: ClassVar[str] = "agq"
    measures: ClassVar[bool] = True
    bits: int = 4
    tau: int = 0
    grid: str = "log2"
    rows: int = 64
    steps: int = 16

    def __post_init__(self) -> None:
        if self.grid not in GRIDS or self.tau not in (0, *TAUS) or min(self.rows, self.steps - 2) < 1:
            raise UsageError(f"{self}: grid is log2 or int, tau 1, 2, 4 or 0 (chosen), rows and steps positive")
        try:
            _ = [ProbabilityGrid.parse(text) for text in self.candidates]
        except VerifyError as error:
            raise UsageError(f"{self}: {error}") from error

    @property
    def candidates(self) -> list[str]:
        """Grids to choose from."""
        if self.grid == "int":
            return [f"int{self.bits}"]
        return [f"log2:{self.bits}:{tau}" for tau in ((self.tau,) if self.tau else TAUS)]

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Choose where nothing is known yet, then mark. Raises UsageError where probabilities cannot be measured."""
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass agq runs the graph on samples: put it before add-cache")
        sites = _sites(gm)
        declined = [Site(site(node), reason) for node in sites if (reason := _why_not(gm, node))]
        sites = {node: key for node, key in sites.items() if not _why_not(gm, node)}
        step = context.step or str(self)
        self._measure(gm, {n: k for n, k in sites.items() if context.decisions.get(step, k) is None}, step, context)
        changed = []
        for node, key in sites.items():
            decision = context.decisions.get(step, key)
            if decision is None:
                declined.append(Site(site(node), "no sample reaches it"))
            else:
                changed.append(self._mark(gm, node, decision))
        return Report(str(self), tuple(changed), tuple(declined))

    def _measure(self, gm: fx.GraphModule, sites: dict[fx.Node, str], step: str, context: Context) -> None:
        """Put a decision for each site: `grid` (of the candidates), `s` f32 `[1]`, `errors` of all candidates."""
        if not sites:
            return
        samples = context.samples(gm) if context.weights is not None else []
        if not samples:
            raise UsageError("the pass agq measures attention: it needs a model's weights and samples (see --calib)")
        held = AttentionInputs(list(sites), samples, context.weights)

        def visit(block: Block, captured: Captured) -> None:
            for node in held.add(captured):
                seen = [Seen.of(given, self.rows) for given in held.take(node)]
                context.decisions.put(step, sites[node], choose(self.candidates, seen, self.steps))

        stream(
            gm, context.weights, samples, held.wanted.__contains__, visit, progress=context.progress, stage=self.name
        )

    def _mark(self, gm: fx.GraphModule, node: fx.Node, decision: dict[str, Tensor]) -> Site:
        text = self.candidates[int(decision["grid"])]
        replace_argument(node, "probs_scale", table(gm, decision["s"], node, "probs"))
        node.kwargs = {**node.kwargs, "probs": text}
        pairs = zip(self.candidates, decision["errors"], strict=True)
        errors = ", ".join(f"{name} {float(error):.4f}" for name, error in pairs)
        return Site(site(node), f"probabilities as {text} up to {float(decision['s']):.3g} (relative error: {errors})")


def _sites(gm: fx.GraphModule) -> dict[fx.Node, str]:
    """Attentions and their keys: the module's name, equal in all entries, and a number."""
    seen: dict[str, int] = {}
    keys = {}
    for node in calls(gm, "edgeq.attention"):
        seen[site(node)] = seen.get(site(node), 0) + 1
        keys[node] = f"{site(node)} #{seen[site(node)]}"
    return keys


def _why_not(gm: fx.GraphModule, node: fx.Node) -> str:
    given = arguments(node)
    if not is_static(gm):
        return "it attends over a cache later: only static entries have the kernel"
    if given["sinks"] is not None:
        return "it has attention sinks"
    return "its probabilities are on a grid already" if given["probs"] else ""
