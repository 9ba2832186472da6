"""Teacher-forced over a text, beside the reference executor, which runs the same compressed graph in torch."""

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
    losses, same, apart = [], 0, 0.0
    for start in range(0, len(tokens), PIECE):
        piece = tokens[start : start + PIECE]
        pair = np.stack(list(artifact.session.rows(piece))), reference.forward(piece).numpy()
        targets = np.asarray(tokens[start + 1 : start + 1 + len(piece)])
        losses.append([negative_log_likelihood(rows[: len(targets)], targets) for rows in pair])
        same += int((pair[0].argmax(-1) == pair[1].argmax(-1)).sum())
        apart = max(apart, float(np.abs(pair[0] - pair[1]).max()))
        say(f"{start + len(piece)} of {len(tokens)} tokens")
    a, b = (math.exp(float(np.concatenate(x).mean())) for x in zip(*losses, strict=True))
    return _report(options, (a, b), same / len(tokens), apart, len(tokens))


def _report(options: argparse.Namespace, pair: tuple[float, float], top1: float, apart: float, count: int) -> Report:
    off = abs(pair[0] / pair[1] - 1)
    rows = [["artifact", f"{pair[0]:.4f}"], ["reference executor", f"{pair[1]:.4f}"]]
    bars = [
        Bar(f"perplexity within {PERPLEXITY:.1%}", f"{off:.3%} apart", off <= PERPLEXITY),
        Bar(f"top-1 agreement >= {TOP1:.0%}", f"{top1:.2%} (largest difference of a logit {apart:.3f})", top1 >= TOP1),
    ]
    return Report(f"{options.artifact}: {count} tokens, teacher-forced", ["model", "perplexity"], rows, bars)
