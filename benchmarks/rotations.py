"""Perplexity of a language model with rotations, by bits of weights and activations, simulated in float.

    python benchmarks/rotations.py demo:smollm2-135m article.txt [--windows 4] [--length 256]

Each linear but the head takes activations rounded per token and weights rounded in groups of 32 (or neither, 16 bits).
Weights are read once a pipeline; every combination of bits walks the graph beside the others.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, fx
from torch.nn import functional

from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import Source, open_model
from edgeq.ir.graph import arguments, calls, is_weight, op, output
from edgeq.ir.values import call, last_uses, weight_value
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.simulate import fake_tokens, fake_weight

PIPELINES = {"none": "", "R1": "rotate{r2=false}", "R1 R2": "rotate", "R1 R2 R4": "rotate{r4=true}"}
BITS = ((16, 16), (16, 8), (16, 4), (4, 16), (4, 8), (4, 4))  # weights, activations
GROUP = 32
Key = tuple[int, int, int]  # bits of weights and of activations, window


def perplexities(source: Source, pipeline: str, windows: list[Tensor]) -> dict[tuple[int, int], float]:
    """(weight bits, activation bits) -> perplexity over the second half of each window, i64 `[length]`."""
    gm = load_entries(source, Shapes())[0].gm
    run_pipeline(gm, parse_pipeline(pipeline), Context(source.weights))
    losses: dict[tuple[int, int], list[Tensor]] = {bits: [] for bits in BITS}
    for (weights, acts, window), logits in _walk(gm, source, windows).items():
        half = len(windows[window]) // 2
        losses[weights, acts].append(functional.cross_entropy(logits[half - 1 : -1], windows[window][half:]))
    return {bits: float(torch.stack(found).mean().exp()) for bits, found in losses.items()}


def _walk(gm: fx.GraphModule, source: Source, windows: list[Tensor]) -> dict[Key, Tensor]:
    """Logits `[length, vocabulary]` of every combination."""
    keys = [(*bits, window) for bits in BITS for window in range(len(windows))]
    known: dict[fx.Node, dict[Key, Any]] = {}
    ends, head = last_uses(gm.graph), calls(gm, "aten.linear")[-1]
    with torch.no_grad():
        for node in gm.graph.nodes:
            if node.op == "placeholder":
                known[node] = {key: _input(str(node.target), windows[key[2]]) for key in keys}
            elif node.op == "call_function" and not is_weight(node):
                known[node] = _values(node, source, known, keys, exact=node is head)
                for used in ends.get(node, ()):
                    known.pop(used, None)
    return {key: value[0] for key, value in known[output(gm).all_input_nodes[0]].items()}


def _input(name: str, window: Tensor) -> Tensor:
    return window[None] if name == "input_ids" else torch.arange(len(window))[None]


def _values(
    node: fx.Node, source: Source, known: dict[fx.Node, dict[Key, Any]], keys: list[Key], exact: bool
) -> dict[Key, Any]:
    read = {n: weight_value(n, source.weights) for n in node.all_input_nodes if is_weight(n)}
    if op(node) != "aten.linear" or exact:
        return {key: call(node, partial(_find, read, known, key)) for key in keys}
    given = arguments(node)
    w, b = read[given["weight"]], read.get(given["bias"])
    stored = {bits: w if bits == 16 else fake_weight(w, bits, GROUP) for bits, _ in BITS}
    return {key: functional.linear(_rounded(known[given["input"]][key], key[1]), stored[key[0]], b) for key in keys}


def _find(read: dict[fx.Node, Tensor], known: dict[fx.Node, dict[Key, Any]], key: Key, node: fx.Node) -> Any:
    return read[node] if node in read else known[node][key]


def _rounded(x: Tensor, bits: int) -> Tensor:
    return x if bits == 16 else fake_tokens(x, bits)


@click.command()
@click.argument("model")
@click.argument("text", type=click.Path(exists=True, path_type=Path))
@click.option("--windows", default=4)
@click.option("--length", default=256)
def main(model: str, text: Path, windows: int, length: int) -> None:
    """Print the table of MODEL on TEXT."""
    source = open_model(model)
    ids = torch.tensor(_tokenize(source, text.read_text()))[: windows * length]
    print(f"{'':10}" + "".join(f"{f'w{w}a{a}':>10}" for w, a in BITS))
    for name, pipeline in PIPELINES.items():
        found = perplexities(source, pipeline, list(ids.split(length)))
        print(f"{name:10}" + "".join(f"{found[bits]:10.2f}" for bits in BITS), flush=True)


def _tokenize(source: Source, text: str) -> list[int]:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(source.assets["tokenizer.json"].decode()).encode(text).ids


if __name__ == "__main__":
    main()
