"""Perplexity of an artifact on a text, beside that of the float model (llama-perplexity's default protocol)."""

from __future__ import annotations

import argparse
from pathlib import Path

import edgeq
from edgeq.artifact.manifest import read
from edgeq.evaluate.perplexity import Perplexity, perplexity, second_half
from edgeq.evaluate.text import text_tokens
from edgeq.evaluate.windows import Logits
from verification.report import Bar, Report, say


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--windows", type=int, help="stop after this many; default: the whole text")
    parser.add_argument("--within", type=float, default=0.01, help="of the float model's, relative")
    parser.add_argument("--original", type=float, help="perplexity of the float model, if it is known; else it is run")
    parser.add_argument("--model", help="where the model is now, if not where it was compiled from")


def run(options: argparse.Namespace) -> Report:
    """Score one, then the other."""
    artifact = edgeq.load(options.artifact)
    tokens, bos = text_tokens(artifact.tokenizer.encode, options.text.read_text(encoding="utf-8"))

    def score(logits: Logits) -> Perplexity:
        return perplexity(logits, tokens, bos, windows=options.windows, progress=_progress)

    mine = score(second_half(artifact.session))
    original = options.original or score(_original(options)).perplexity
    off = mine.perplexity / original - 1
    rows = [
        [f"artifact, {read(options.artifact).bits}", f"{mine.perplexity:.4f}", f"{mine.error:.2f}"],
        ["float" + (" (given)" if options.original else ""), f"{original:.4f}", ""],
    ]
    title = f"{options.artifact}: {mine.windows} windows of {mine.window} tokens, {mine.tokens} scored"
    bar = Bar(f"within {options.within:.1%} of float", f"{off:+.2%}", abs(off) <= options.within)
    return Report(title, ["model", "perplexity", "+/-"], rows, [bar])


def _original(options: argparse.Namespace) -> Logits:
    from edgeq.evaluate.hf import float_logits, load_float
    from edgeq.frontend.source import open_model

    return float_logits(load_float(open_model(options.model or read(options.artifact).model)))


def _progress(stage: str, done: int, total: int) -> None:
    if done % 10 == 0:
        say(f"{stage}: {done} of {total}")
