"""Greedy tokens of an artifact in `--bits fp32` are those of Hugging Face's model in float32."""

from __future__ import annotations

import argparse
from typing import Any

import torch

import edgeq
from edgeq.artifact.manifest import read
from edgeq.evaluate.hf import load_float
from edgeq.frontend.source import open_model
from verification.prompts import PROMPTS
from verification.report import Bar, Report, say


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", help="where the model is now, if not where it was compiled from")


def run(options: argparse.Namespace) -> Report:
    """Both go on past their stop tokens: a wrong cache shows late."""
    artifact = edgeq.load(options.artifact)
    original = load_float(open_model(options.model or read(options.artifact).model)).eval()
    report = Report(f"{options.artifact}: greedy tokens beside Hugging Face", ["prompt", "tokens equal", "margin"])
    equal = 0
    for prompt in PROMPTS:
        say(prompt)
        tokens = artifact.tokenizer.encode_chat([{"role": "user", "content": prompt}])
        want, margin = continued(original, tokens, options.tokens)
        got = generated(artifact.session, tokens, options.tokens)
        first = next((i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b), options.tokens)
        report.rows.append([prompt, f"{first} of {options.tokens}", f"{margin:.4f}"])
        equal += first == options.tokens
    report.bars.append(Bar("equal on every prompt", f"{equal} of {len(PROMPTS)}", equal == len(PROMPTS)))
    return report


def generated(session: Any, tokens: list[int], count: int) -> list[int]:
    """The artifact's."""
    session.rewind(0)
    session.feed(tokens)
    out = [session.sample()]
    while len(out) < count:
        session.feed(out[-1:])
        out.append(session.sample())
    return out


@torch.inference_mode()
def continued(model: Any, tokens: list[int], count: int) -> tuple[list[int], float]:
    """transformers' tokens, and the smallest lead of a chosen logit over the next best."""
    out: list[int] = []
    state = model(input_ids=torch.tensor([tokens]), use_cache=True)
    margin = float("inf")
    while True:
        best = state.logits[0, -1].topk(2)
        out.append(int(best.indices[0]))
        margin = min(margin, float(best.values[0] - best.values[1]))
        if len(out) == count:
            return out, margin
        state = model(input_ids=torch.tensor([out[-1:]]), past_key_values=state.past_key_values, use_cache=True)
