"""All candidates from one forward and a few backward runs a sample: a second-order estimate of the KL divergence.

Near the float model KL(p || q) = E_l[(d log p(l))^2] / 2 with labels l drawn from p itself. A quantized unit changes
its output at token t by dy_t, and so log p(l) by g_t . dy_t, where g_t = d log p(l) / dy_t comes from one backward run
over labels drawn at every position. Tokens are taken as independent: damage = sum_t (g_t . dy_t)^2 / 2, a token. The
output head's divergence is exact: it needs no more than its own product.

Labels are drawn several times, for a backward run each: of some units the few tokens that attention sinks into hold
most of the damage, and one draw says little about one token.

The graph goes block by block, forwards and then backwards (each block is run again for its gradients), so memory holds
one block's weights, the activations between blocks, and one block's of one sample for the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.blocks import Block, blocks
from edgeq.calibrate.samples import Sample
from edgeq.evaluate.graph import GraphModel
from edgeq.ir.graph import arguments, op
from edgeq.sensitivity.candidates import Asked, Candidate
from edgeq.sensitivity.harm import divergences
from edgeq.sensitivity.units import Part

Progress = Callable[[str, int, int], None]
Damages = dict[str, dict[str, float]]
Values = dict[fx.Node, Any]
DRAWS = 4


@dataclass(eq=False)
class _Run:
    """One sample: values between blocks, and gradients of its labels' log-likelihood by those, one a draw."""

    sample: Sample
    kept: Values
    gradients: list[dict[fx.Node, Tensor]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Local:
    """A member of a unit in one sample: what it read, what it gave, and the gradients by that, one a draw."""

    read: Tensor
    gave: Tensor
    gradients: list[Tensor]


class Fisher:
    """Estimated damages of the units of a language model's graph, in nats a token.

    Args:
        gm: float, uncached; model: its runner. units: to measure. asked: their candidates.
        progress: called with (stage, blocks done, blocks). seed: labels are drawn by it, `draws` times.
    """

    def __init__(
        self, gm: fx.GraphModule, model: GraphModel, units: Sequence[Part], asked: Asked, progress: Progress,
        seed: int = 0, draws: int = DRAWS,
    ) -> None:  # fmt: skip
        self._model, self._asked, self._progress, self._draws = model, asked, progress, draws
        self._blocks = blocks(gm)
        self._units = [unit for unit in units if set(model.nodes).intersection(unit.nodes)]
        self._members = {node for unit in self._units for node in unit.nodes}
        concerned = (block.index for block in self._blocks if not self._members.isdisjoint(block.nodes))
        self._first = next(concerned, len(self._blocks))  # nothing before it needs gradients
        self._noise = torch.Generator().manual_seed(seed)
        self._damage: Damages = {}
        self._heads: dict[str, Candidate] = {}
        self._done = 0

    def measure(self, samples: Sequence[Sample]) -> tuple[Damages, int]:
        """(damages, labels that were drawn)."""
        self._damage = {unit.key: dict.fromkeys(self._asked.formats(unit), 0.0) for unit in self._units}
        runs = [
            _Run(sample, self._model.given(sample.inputs), [{} for _ in range(self._draws)]) for sample in samples
        ]
        rows = sum(int(sample.counted.sum()) for sample in samples)
        self._done = 0
        for block in self._blocks[:-1]:
            self._forward(block, runs)
        for block in reversed(self._blocks[self._first :]):
            self._backward(block, runs)
        return {key: {t: d / rows for t, d in one.items()} for key, one in self._damage.items()}, rows

    def _forward(self, block: Block, runs: Sequence[_Run]) -> None:
        with torch.no_grad():
            for run in runs:
                known = dict(run.kept)
                self._model.walk(block.nodes, known, lambda node: self._model.value(node, known))  # noqa: B023
                run.kept.update({node: known[node] for node in block.outputs})
        self._model.forget()
        self._step()

    def _backward(self, block: Block, runs: Sequence[_Run]) -> None:
        members = [node for node in block.nodes if node in self._members]
        found: dict[fx.Node, list[_Local]] = {node: [] for node in members if node is not self._model.head}
        for run in runs:
            for node, local in self._gradients(block, members, run).items():
                found[node].append(local)
        for unit in self._units:
            if mine := [node for node in unit.nodes if node in found]:
                self._add(unit, mine, found)
        self._heads.clear()
        self._model.forget()
        self._step()

    def _gradients(self, block: Block, members: list[fx.Node], run: _Run) -> dict[fx.Node, _Local]:
        """Run the block again, give its inputs their gradients, and its members of units what they need."""
        known: Values = dict(run.kept)
        leaves = {node: _leaf(run.kept[node]) for node in block.inputs if _differentiable(run.kept[node])}
        known.update(leaves)
        shown: dict[fx.Node, _Local] = {}
        with torch.enable_grad():
            for node in block.nodes:
                known[node] = self._value(node, known, members)
                if node in members and node is not self._model.head:
                    shown[node] = _Local(known[_source(node)], known[node], [])
        if self._model.wanted[0] in block.nodes:
            self._head(block, known, run.sample)
        for draw, gradients in enumerate(run.gradients):
            ends = self._ends(block, known, run, gradients)
            wanted = [*leaves.values(), *(local.gave for local in shown.values())]
            if not wanted:  # a graph of one block, whose head alone is asked for
                continue
            again = draw < len(run.gradients) - 1
            given = torch.autograd.grad(
                [known[n] for n in ends], wanted, list(ends.values()), retain_graph=again, allow_unused=True
            )
            for node, gradient in zip(leaves, given, strict=False):
                if gradient is not None:
                    gradients[node] = gradients[node] + gradient if node in gradients else gradient
            for local, gradient in zip(shown.values(), given[len(leaves) :], strict=True):
                local.gradients.append(torch.zeros_like(local.gave) if gradient is None else gradient)
        return {node: _Local(one.read.detach(), one.gave.detach(), one.gradients) for node, one in shown.items()}

    def _value(self, node: fx.Node, known: Values, members: list[fx.Node]) -> Any:
        found = self._model.value(node, known)
        return found.requires_grad_() if node in members and not found.requires_grad else found

    def _ends(
        self, block: Block, known: Values, run: _Run, gradients: dict[fx.Node, Tensor]
    ) -> dict[fx.Node, Tensor]:
        """The block's outputs and the gradients by them; of the logits, from labels drawn here."""
        ends = {node: gradients.pop(node) for node in block.outputs if node in gradients}
        ends = {node: gradient for node, gradient in ends.items() if known[node].requires_grad}
        logits = self._model.wanted[0]
        if logits in block.nodes:
            ends[logits] = self._labels(known[logits].detach(), run.sample)
        return ends

    def _labels(self, logits: Tensor, sample: Sample) -> Tensor:
        """d log p(label) / d logits, f32 `[1, S, C]`, for a label drawn at every position that counts."""
        p = logits[0].float().softmax(-1)
        labels = torch.multinomial(p, 1, generator=self._noise)
        gradient = p.neg_().scatter_add_(1, labels, torch.ones(labels.shape))
        return gradient.mul_(sample.counted[:, None])[None]

    @torch.no_grad()
    def _head(self, block: Block, known: Values, sample: Sample) -> None:
        """The output head's own divergence, which needs no estimate."""
        head, target = self._model.head, self._model.wanted[0]
        for unit in self._units:
            if head in unit.linears:
                after = block.nodes[block.nodes.index(head) + 1 :]
                for text in self._damage[unit.key]:
                    if text not in self._heads:
                        self._heads[text] = Candidate(unit, text, self._asked, self._model)
                    found = {**known, head: self._heads[text].value(head, known)}
                    self._model.walk(after, found, lambda node: self._model.value(node, found))  # noqa: B023
                    rows = divergences(known[target][0].float(), found[target][0].float())
                    self._damage[unit.key][text] += float(rows[sample.counted].sum())

    @torch.no_grad()
    def _add(self, unit: Part, members: Sequence[fx.Node], found: dict[fx.Node, list[_Local]]) -> None:
        for text in self._damage[unit.key]:
            candidate = Candidate(unit, text, self._asked, self._model)
            for locals_ in zip(*(found[node] for node in members), strict=True):
                changes = [_change(n, one, candidate) for n, one in zip(members, locals_, strict=True)]
                same = len({change.shape for change in changes}) == 1
                total = sum(changes).square().sum() if same else sum(change.square().sum() for change in changes)
                self._damage[unit.key][text] += float(total) / (2 * self._draws)

    def _step(self) -> None:
        self._done += 1
        self._progress("estimate damages block by block", self._done, 2 * len(self._blocks) - 1 - self._first)


def _change(node: fx.Node, local: _Local, candidate: Candidate) -> Tensor:
    """f64 `[draws, tokens]`: what log p changes by, to first order, when this member is quantized."""
    found = candidate.rows(node, local.read) if op(node) == "aten.embedding" else candidate.linear(node, local.read)
    change = (found - local.gave).flatten(0, -2).double()
    return torch.stack([torch.linalg.vecdot(change, g.flatten(0, -2).double()) for g in local.gradients])


def _source(node: fx.Node) -> fx.Node:
    given = arguments(node)
    return given["indices"] if op(node) == "aten.embedding" else given["input"]


def _differentiable(held: Any) -> bool:
    return isinstance(held, Tensor) and held.is_floating_point()


def _leaf(held: Tensor) -> Tensor:
    return held.detach().requires_grad_()
