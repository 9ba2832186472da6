"""After windows: all scales of a model learned at once, against what the float model puts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.blocks import blocks
from edgeq.calibrate.samples import Sample
from edgeq.ir.verify import is_static
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.learned.error import divergence, window_error
from edgeq.passes.learned.learned_scale import LearnedScale
from edgeq.passes.learned.learner import Learner, Learns, range_key, step_of
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.sweep import Learned
from edgeq.passes.learned.trainer import Example, Trainer
from edgeq.passes.learned.window import Window
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.sites import decision_key
from edgeq.quant.simulate import QuantSpec

Progress = Callable[[str, int, int], None]


def tune(
    gm: fx.GraphModule, weights: Any, samples: Sequence[Sample], quants: Mapping[fx.Node, QuantSpec],
    settings: Settings, *, rounded: Callable[[fx.Node], Rounded | None], scale: Callable[[fx.Node], Tensor | None],
    device: torch.device, progress: Callable[[int], None],
) -> Learned:  # fmt: skip
    """Learn the scales of weights and static ranges through the whole model (EfficientQAT, ACL 2025, E2E-QP).

    The error of a language model is the divergence of its next-token probabilities from the float model's, another's
    that of a window. Held in memory: the model in float, its codes, and what a backward pass through it needs.

    Args:
        gm: the float graph. quants: every linear that is quantized -> how.
        rounded: a linear's weight as it was decided; None: it stays as it is.
        scale: a static range's as it was decided.
    """
    window = Window(blocks(gm), weights, device)
    roundings: dict[str, Learns] = {}
    fixed: dict[fx.Node, Tensor] = {}
    for linear in (node for node in window.linears if node in quants):
        found, key = rounded(linear), key_of(linear)
        if found is None:
            fixed[linear] = window.weight(linear)
        elif key not in roundings:
            roundings[key] = LearnedScale(found, quants[linear], device)
    steps = {node: step_of(window, node, start=scale(node)) for node in window.ranges}
    learner = Learner(quants, settings, roundings, fixed, steps)
    generator = torch.Generator().manual_seed(settings.seed)
    examples = [Example(sample, {}, {}) for sample in samples]
    error = _outputs_error if is_static(gm) else _next_tokens_error
    errors = Trainer(window, learner, examples, settings, generator, error, progress).train()
    stored = {decision_key(n, q): roundings[key_of(n)].harden() for n, q in quants.items() if key_of(n) in roundings}
    return Learned(stored, {range_key(node): step.scale().detach().cpu() for node, step in steps.items()}, errors)


def _next_tokens_error(found: dict[fx.Node, Tensor], target: dict[fx.Node, Tensor], counted: Tensor) -> Tensor:
    """nats a token."""
    return torch.stack([divergence(found[node], goal).mean() for node, goal in target.items()]).sum()


def _outputs_error(found: dict[fx.Node, Tensor], target: dict[fx.Node, Tensor], counted: Tensor) -> Tensor:
    return window_error(found, target, counted)
