"""Teacher-forced over a text, beside the reference executor, which runs the same compressed graph in torch.

With int8 activations a value halfway between two codes may round either way: float32 sums in another order decide, and
half floats of the cache that rounded apart. One such code changes all later ones by as much as quantization itself, so
two correct programs part within a few tokens (the reference executor parts from itself when it takes rows in other
portions). By default the reference decides ties itself and the bars are those of the issue. With `--tie WIDTH` it takes
the artifact's code wherever that is as near, within WIDTH of a code, and only there: what remains is not rounding.
Codes of the artifact that are no nearest ones are counted, and none is allowed.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from replay.rebuild import rebuild

import edgeq
from edgeq.evaluate.perplexity import negative_log_likelihood
from edgeq.evaluate.text import text_tokens
from edgeq.ir.execute import Reference
from verification.codes import Steps, Ties
from verification.report import Bar, Report, say

PERPLEXITY, TOP1 = 0.002, 0.97
PIECE = 100  # tokens of a walk of the reference


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--tie", type=float, help="take the artifact's side this near to halfway, in codes")
    parser.add_argument("--model", help="where the model is now, if not where it was compiled from")


def run(options: argparse.Namespace) -> Report:
    """Both models see the same tokens; row i predicts token i + 1."""
    artifact = edgeq.load(options.artifact)
    tokens, _ = text_tokens(artifact.tokenizer.encode, options.text.read_text(encoding="utf-8"))
    tokens = tokens[: options.tokens]
    plan = rebuild(options.artifact, options.model)
    steps, ties = Steps(artifact.session, plan.plan), Ties(options.tie or 0.0)
    reference = Reference(plan.graph, plan.source.weights)
    losses, same, apart = [], 0, 0.0
    for start in range(0, len(tokens), PIECE):
        pair = _piece(steps, reference, None if options.tie is None else ties, tokens, start)
        targets = np.asarray(tokens[start + 1 : start + 1 + len(pair[0])])
        losses.append([negative_log_likelihood(rows[: len(targets)], targets) for rows in pair])
        same += int((pair[0].argmax(-1) == pair[1].argmax(-1)).sum())
        apart = max(apart, float(np.abs(pair[0] - pair[1]).max()))
        say(f"{start + len(pair[0])} of {len(tokens)} tokens")
    a, b = (math.exp(float(np.concatenate(x).mean())) for x in zip(*losses, strict=True))
    return _report(options, (a, b), same / len(tokens), apart, ties)


def _piece(
    steps: Steps, reference: Reference, ties: Ties | None, tokens: list[int], start: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, vocab] of both for the next tokens."""
    piece = tokens[start : start + PIECE]
    rows, codes = zip(*(steps.run(token, start + i) for i, token in enumerate(piece)), strict=True)
    if ties is None:
        return np.stack(rows), reference.forward(piece).numpy()
    ties.expect([np.stack(parts) for parts in zip(*codes, strict=True)])
    with ties.followed():
        return np.stack(rows), reference.forward(piece).numpy()


def _report(options: argparse.Namespace, pair: tuple[float, float], top1: float, apart: float, ties: Ties) -> Report:
    off = abs(pair[0] / pair[1] - 1)
    rows = [["artifact", f"{pair[0]:.4f}"], ["reference executor", f"{pair[1]:.4f}"]]
    bars = [
        Bar(f"perplexity within {PERPLEXITY:.1%}", f"{off:.4%} apart", off <= PERPLEXITY),
        Bar(f"top-1 agreement >= {TOP1:.0%}", f"{top1:.2%} (largest difference of a logit {apart:.4f})", top1 >= TOP1),
    ]
    if ties.total:
        figure = f"{ties.wrong} of {ties.total:,} are not; {ties.moved:,} took the artifact's side of a tie"
        bars.append(Bar(f"codes are nearest, within {options.tie:g}", figure, ties.wrong == 0))
    return Report(f"{options.artifact}: {options.tokens} tokens, teacher-forced", ["model", "perplexity"], rows, bars)


