"""Weights pruned to two of four along their inputs, chosen for what quantizing the outputs will need too."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import ModelError, UsageError
from edgeq.ir.graph import arguments, calls, hf_name, insert, is_weight, op, site, value
from edgeq.ir.values import weight_value
from edgeq.passes.awq import every_token
from edgeq.passes.folds.calibrated import decision_name, quant_of
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.folding import replace_argument, table
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import holds_grid, put_on_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.hessian import RETRIES, Factor, hessian, inverse_factor
from edgeq.passes.rounding.sequential import Sequential
from edgeq.passes.rounding.sites import undecided
from edgeq.passes.rounding.sparse_columns import prune_columns
from edgeq.passes.rounding.sparsity import QUAD, best_two, input_norm, some_rows, spread_score
from edgeq.quant.kinds import KINDS
from edgeq.quant.simulate import QuantSpec

JUDGED = 512  # tokens that errors are reported on


@dataclass(frozen=True)
class Jsq(Pass):
    """Two of four consecutive weights of a row become 0: those of least `|W_ij| ||X_j||_2 + rho SS_ij`.

    JSQ (ICML 2024): SS is the range of the output over tokens with column j removed, so that weights stay which keep
    the range, and the steps of what is quantized next, small. `||X_j||_2` is scaled to the 2048 tokens of
    the paper's samples. Inputs are those of
    the model pruned and quantized so far. A language model's first token counts. Clipping and smoothing, which the
    paper runs together with this, are passes of their own. Changes the model: a reconstruction with `compensate`, and
    without it the weights that stay are what they were. Formats `s8`, `s4` store what is left (docs/bits.md).

    Attributes:
        rho: weight of the second term; 0: Wanda's score (with `compensate` SparseGPT's).
        tokens: that SS is measured on.
        compensate: weights that stay make up for those that go and for rounding, by the input's second moments, and are
            put on the grid that they will be stored on.
        damp: of those moments, as in `gptq`; what pruning loses is much, and made up for with care.
        even: half of those moments count tokens alike, as in `gptq`: an attention sink does not drown the others.
        bits: what weights will be quantized to; empty: those of the compile, each linear its own.
        skip: linears that stay dense, names or patterns joined by `+`; the output's is one of them unless `heads`.
        heads: prune linears that compute an output too (not those that share the token embedding).
    """

    name: ClassVar[str] = "jsq"
    measures: ClassVar[bool] = True
    rho: float = 2.1
    tokens: int = 128
    compensate: bool = False
    damp: float = 0.1
    even: bool = True
    bits: str = ""
    skip: str = ""
    heads: bool = False

    def __post_init__(self) -> None:
        if self.rho < 0 or self.tokens < 1 or not 0 < self.damp < 1:
            raise UsageError(f"{self}: rho is not negative, tokens positive, damp between 0 and 1")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Prune what is not decided yet, then rewrite; before add-cache.

        Raises:
            UsageError: no weights, no samples where something must be measured, caches, a format that is not known.
            ModelError: an activation or a weight is not finite.
        """
        self._check(gm, context)
        linears, last = [n for n in calls(gm, "aten.linear") if not is_weight(n)], output_linears(gm)
        quants = {linear: quant_of(linear, context, self.bits) for linear in linears}
        reasons = {linear: self._why_not(linear, quants[linear], linear in last) for linear in linears}
        quants = {linear: quant for linear, quant in quants.items() if not reasons[linear]}
        name = decision_name(self, context)
        missing = list(undecided(quants, lambda key: context.decisions.get(name, key) is not None, self._key))
        if missing:
            self._measure(gm, quants, missing, context)
        changed = [self._put(gm, linear, quant, context) for linear, quant in quants.items()]
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        if context.weights is None:
            raise UsageError("the pass jsq prunes weights: it needs a model, not a graph from text")
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass jsq runs the graph on samples: put it before add-cache")

    def _why_not(self, linear: fx.Node, quant: QuantSpec, last: bool) -> str:
        weight = arguments(linear)["weight"]
        if any(op(user) == "aten.embedding" for leaf in stored(weight) for user in leaf.users):
            return "its weight is also the token embedding"
        if last and not self.heads:
            return "it makes the output, which has a format of its own (heads=true prunes it)"
        if holds_grid(weight):
            return "its weight is on a grid already: prune before rounding"
        if any(fnmatchcase(hf_name(linear), pattern) for pattern in self.skip.split("+") if pattern):
            return "skip names it"
        if int(value(weight).shape[1]) % QUAD:
            return f"{int(value(weight).shape[1])} inputs are no multiple of {QUAD}"
        uniform = quant.kind == "int" and quant.weight_bits < 16
        if self.compensate and not (uniform or KINDS[quant.kind].sparse):
            return f"{quant.format} has no uniform grid that compensate could round to"
        return ""

    def _key(self, linear: fx.Node, quant: QuantSpec) -> str:
        """Entries share weights; with rounding the numbers depend on the grid too."""
        return f"{key_of(linear)} {quant.format}" if self.compensate else key_of(linear)

    def _measure(
        self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], missing: list[fx.Node], context: Context
    ) -> None:
        samples = context.samples(gm)
        if not samples:
            raise UsageError("the pass jsq measures activations: this graph has no samples (see --calib)")
        name = decision_name(self, context)

        def decide(linears: list[fx.Node], rows: list[Tensor]) -> None:
            moments = _Moments(rows, self.damp, self.even)
            for linear in linears:
                found = self._decide(linear, moments, quants[linear], context)
                context.decisions.put(name, self._key(linear, quants[linear]), found)

        def known(linear: fx.Node) -> Tensor | None:
            found = context.decisions.get(name, self._key(linear, quants[linear]))
            return None if found is None else self._values(linear, found, quants[linear], context)

        walk = Sequential(gm, context.weights, every_token(gm, samples), quants, missing, decide, known)
        walk.run(self.name, context.progress, context.decisions)

    def _decide(
        self, linear: fx.Node, moments: _Moments, quant: QuantSpec, context: Context
    ) -> dict[str, Tensor]:
        """`keep` u8 `[N, K]`, or the tables of a grid; `errors`, relative, of pruning alone and of what was decided."""
        weight, rows = self._weight(linear, context), moments.rows
        if not torch.isfinite(weight).all() or not all(torch.isfinite(part).all() for part in rows):
            raise ModelError(f"{site(linear)}: its weight or its input on calibration samples holds NaN or infinity")
        spread = spread_score(weight, rows, self.rho, self.tokens)
        keep = best_two(weight.abs() * input_norm(rows) + spread)
        found: dict[str, Tensor] = {"tokens": torch.tensor(sum(map(len, rows)))}
        done = self._compensated(weight, spread, moments, quant, site(linear)) if self.compensate else None
        values = quant.weight(weight * keep) if done is None else done.values(quant)
        if done is None:
            found["keep"] = keep.to(torch.uint8)
        else:
            found |= {"codes": done.codes, "scale": done.scale} | ({} if done.zero is None else {"zero": done.zero})
        x = some_rows(torch.cat([part.float() for part in rows]), JUDGED)
        found["errors"] = torch.stack([_error(x, weight, w) for w in (quant.weight(weight * keep), values)])
        return found

    def _compensated(
        self, weight: Tensor, spread: Tensor, moments: _Moments, quant: QuantSpec, name: str
    ) -> Rounded:
        """The weight pruned and rounded; ModelError where no damping makes its moments invertible."""
        factor, unit = moments.factor(quant)
        if factor is None:
            most = self.damp * 10**RETRIES
            raise ModelError(f"{name}: the moments of its input cannot be inverted, damped by {most:g}: skip={name}")
        return prune_columns(weight, factor.upper, quant, spread, unit, name=name)

    def _weight(self, linear: fx.Node, context: Context) -> Tensor:
        return weight_value(arguments(linear)["weight"], context.weights).float()

    def _values(self, linear: fx.Node, found: dict[str, Tensor], quant: QuantSpec, context: Context) -> Tensor:
        """A decided linear's weight as stored."""
        if "keep" in found:
            return quant.weight(self._weight(linear, context) * found["keep"])
        return Rounded(found["codes"], found["scale"], found.get("zero")).values(quant)

    def _put(self, gm: fx.GraphModule, linear: fx.Node, quant: QuantSpec, context: Context) -> Site:
        found = context.decisions.get(decision_name(self, context), self._key(linear, quant))
        assert found is not None, "a linear reads an activation, an input or a weight: all are shown"
        before, after = found["errors"].tolist()
        said = f"error {before:.3g}" + (f" -> {after:.3g}" if self.compensate else "")
        said = said if found["tokens"] else "by magnitude: no token of the samples reaches it"
        if "keep" in found:
            _mask(gm, linear, found["keep"])
            return Site(site(linear), f"2:4, {said}")
        put_on_grid(gm, linear, found["codes"], found["scale"], found.get("zero"), quant.format)
        return Site(site(linear), f"2:4 on {quant.format}, {said}")


class _Moments:
    """Inputs of linears that read one activation, and the factor of their second moments, made once."""

    def __init__(self, rows: list[Tensor], damp: float, even: bool) -> None:
        self.rows, self._damp, self._even = rows, damp, even
        self._factors: dict[tuple[str, int], tuple[Factor | None, float]] = {}

    def factor(self, quant: QuantSpec) -> tuple[Factor | None, float]:
        """(of the input as `quant` reads it, what makes `1 / U_jj` as large as the inputs' norms on average)."""
        key = quant.act, quant.act_bits
        if key not in self._factors:
            read = [quant.activation(part) if len(part) else part for part in self.rows]
            found = inverse_factor(hessian(read, self._even).matrix, self._damp)
            mean = 1.0 if found is None else float(found.upper.diagonal().reciprocal().mean())
            self._factors[key] = found, float(input_norm(self.rows).mean()) / mean
        return self._factors[key]


def _mask(gm: fx.GraphModule, linear: fx.Node, keep: Tensor) -> None:
    """weight -> weight * keep."""
    weight = arguments(linear)["weight"]
    with gm.graph.inserting_before(linear):
        new = insert(gm.graph, "aten.mul.Tensor", weight, table(gm, keep, linear, "keep"), like=weight)
    replace_argument(linear, "weight", new)


def _error(x: Tensor, weight: Tensor, found: Tensor) -> Tensor:
    """f32: squared error of the outputs on tokens `[T, K]`, relative to their squares; 0 without tokens."""
    power = (x @ weight.T).square().sum()
    return (x @ (found - weight).T).square().sum() / power if power else torch.zeros(())
