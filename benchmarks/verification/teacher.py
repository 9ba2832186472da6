"""Teacher-forced over a text, beside the reference executor, which runs the same compressed graph in torch.

Under dynamic int8 activations a model is chaotic: a difference in the last bit of a float flips a code somewhere, and
that spreads. So the reference is also compared with itself, its activations scaled by 1 + 3e-7 before rounding: no
executor can be expected to agree with it better than it does.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from replay.rebuild import rebuild

import edgeq
from edgeq.evaluate.perplexity import negative_log_likelihood
from edgeq.evaluate.text import text_tokens
from edgeq.ir.execute import Reference
from edgeq.ir.ops import matrix
from verification.report import Bar, Report, say

PERPLEXITY, TOP1 = 0.002, 0.97
PIECE = 100  # tokens between lines of progress


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--model", help="where the model is now, if not where it was compiled from")


def run(options: argparse.Namespace) -> Report:
    """Both models see the same tokens; row i predicts token i + 1."""
    artifact = edgeq.load(options.artifact)
    tokens, _ = text_tokens(artifact.tokenizer.encode, options.text.read_text(encoding="utf-8"))
    tokens = tokens[: options.tokens]
    plan = rebuild(options.artifact, options.model)
    reference = Reference(plan.graph, plan.source.weights)
    with nudged():
        moved = Reference(plan.graph, plan.source.weights).forward(tokens).numpy()
    losses, same, itself, apart = [], 0, 0, 0.0
    for start in range(0, len(tokens), PIECE):
        piece = tokens[start : start + PIECE]
        mine, again = np.stack(list(artifact.session.rows(piece))), moved[start : start + PIECE]
        pair = mine, reference.forward(piece).numpy(), again
        targets = np.asarray(tokens[start + 1 : start + 1 + len(piece)])
        losses.append([negative_log_likelihood(rows[: len(targets)], targets) for rows in pair])
        same += int((pair[0].argmax(-1) == pair[1].argmax(-1)).sum())
        itself += int((pair[2].argmax(-1) == pair[1].argmax(-1)).sum())
        apart = max(apart, float(np.abs(pair[0] - pair[1]).max()))
        say(f"{start + len(piece)} of {len(tokens)} tokens")
    perplexities = [math.exp(float(np.concatenate(x).mean())) for x in zip(*losses, strict=True)]
    return _report(options, perplexities, (same / len(tokens), itself / len(tokens)), apart, len(tokens))


@contextmanager
def nudged(by: float = 3e-7) -> Iterator[None]:
    """Activations of the reference executor times 1 + `by` before they are rounded to int8."""
    original = matrix.quantize_tokens
    matrix.quantize_tokens = lambda x: original(x * (1 + by))
    try:
        yield
    finally:
        matrix.quantize_tokens = original


def _report(
    options: argparse.Namespace, perplexities: list[float], top1: tuple[float, float], apart: float, count: int
) -> Report:
    off = abs(perplexities[0] / perplexities[1] - 1)
    names = ("artifact", "reference executor", "reference executor, activations nudged by 3e-7")
    shares = (f"{top1[0]:.2%}", "", f"{top1[1]:.2%}")
    rows = [[name, f"{value:.4f}", share] for name, value, share in zip(names, perplexities, shares, strict=True)]
    bars = [
        Bar(f"perplexity within {PERPLEXITY:.1%}", f"{off:.3%} apart", off <= PERPLEXITY),
        Bar(f"top-1 agreement >= {TOP1:.0%}", f"{top1[0]:.2%} (largest logit difference {apart:.3f})", top1[0] >= TOP1),
    ]
    title = f"{options.artifact}: {count} tokens, teacher-forced"
    return Report(title, ["model", "perplexity", "top-1 as the reference"], rows, bars)
