"""One row of the quality table, measured on the graph: formats that have no kernel, the float model, all alike.

`python benchmarks/quality_graph.py MODEL BITS TEXT WINDOWS PASS...` prints it as JSON; quality.py runs each in a
process of its own, so that `peak_gb` is the row's.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import agreement
from quality_run import LENGTH, SENTENCES, reference
from sentences import sentences
from torch import fx

from edgeq.calibrate.data import open_data
from edgeq.compiling.compiler import write_assets
from edgeq.evaluate.graph import GraphModel, graph_logits
from edgeq.evaluate.perplexity import perplexity
from edgeq.evaluate.text import text_tokens
from edgeq.frontend.entries import load_entries
from edgeq.frontend.interfaces import Shapes
from edgeq.frontend.source import Source, open_model
from edgeq.ir.graph import arguments, calls, op, value
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat
from edgeq.runtime.tokens import Tokenizer

FLOAT = "float"


def row(asked: argparse.Namespace) -> dict[str, Any]:
    """The score, `linear_bits`, `weight_bits` (with embedding and head), `compile_seconds`, `peak_gb`."""
    source = open_model(asked.model, None)
    gm = load_entries(source, Shapes(lengths=(LENGTH,)))[0].gm
    start = time.monotonic()
    if asked.bits != FLOAT:
        samples = open_data(asked.calib, source, 0, asked.samples, asked.length)
        context = Context(source.weights, samples=lambda gm: samples.samples(gm), bits=Bits.parse(asked.bits))
        steps = parse_pipeline(",".join([*asked.passes, f"quantize{{bits={asked.bits}}}"]))
        run_pipeline(gm, steps, context)
    seconds = time.monotonic() - start
    scored = _perplexity(gm, source, asked) if "position_ids" in str(gm.graph) else _embed(gm, source)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {**scored, **stored_bits(gm), "compile_seconds": seconds, "peak_gb": peak}


def stored_bits(gm: fx.GraphModule) -> dict[str, float]:
    """Bits a weight of the linears between embedding and head, and of all matrices; 32 where they are float.

    A matrix that is both embedding and head is stored once.
    """
    linears = [(n, arguments(n)["w"], arguments(n)["weight"]) for n in calls(gm, "edgeq.qlinear")]
    tables = [(n, arguments(n)["w"], arguments(n)["weight"]) for n in calls(gm, "edgeq.qembedding")]
    if not linears:
        return {"linear_bits": 32.0, "weight_bits": 32.0}
    shared = {w for _, w, _ in tables}
    between = [(w, fmt, _order(n)) for n, w, fmt in linears if w not in shared]
    return {
        "linear_bits": _mean_bits(between),
        "weight_bits": _mean_bits([*between, *((w, f, None) for _, w, f in tables)]),
    }


def _order(linear: fx.Node) -> fx.Node | None:
    """The gather that a linear's columns are permuted for."""
    x = arguments(linear)["x"]
    return x if op(x) == "edgeq.columns" else None


def _mean_bits(stored: list[tuple[fx.Node, str, fx.Node | None]]) -> float:
    """Of the model's weights: columns padded or stored twice are bits and no weights; an order counts once."""
    bits = weights = 0.0
    for w, fmt, order in stored:
        rows, columns = map(int, value(w).shape)
        bits += rows * columns * WeightFormat.parse(fmt).bits_per_weight(columns)
        weights += rows * (columns if order is None else int(value(arguments(order)["x"]).shape[-1]))
    return (bits + sum(32 * int(value(order).shape[-1]) for order in {o for _, _, o in stored if o})) / weights


def _perplexity(gm: fx.GraphModule, source: Source, asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_assets(source, Path(folder))
        tokens, bos = text_tokens(Tokenizer(folder).encode, asked.text.read_text(encoding="utf-8"))
    found = perplexity(graph_logits(gm, source.weights), tokens, bos, windows=asked.windows or None)
    return {"perplexity": found.perplexity, "error": found.error, "windows": found.windows}


def _embed(gm: fx.GraphModule, source: Source) -> dict[str, Any]:
    """Mean of the last states, by sentence-transformers; cosines to transformers' in float."""
    model = GraphModel(gm, source.weights, "mse")
    with tempfile.TemporaryDirectory() as folder:
        write_assets(source, Path(folder))
        tokenizer = Tokenizer(folder)
    rows = []
    for sentence in sentences(SENTENCES):
        ids = tokenizer.encode(sentence)[:LENGTH]
        mask = torch.arange(LENGTH)[None] < len(ids)
        given = {"input_ids": torch.tensor([ids + [0] * (LENGTH - len(ids))]), "attention_mask": mask.long()}
        given["token_type_ids"] = torch.zeros_like(given["input_ids"])
        states = model.run(given)[0][0, : len(ids)]
        rows.append(torch.nn.functional.normalize(states.mean(0), dim=0).tolist())
    return agreement(reference(), np.asarray(rows).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("bits", help=f"bits grammar, or `{FLOAT}`")
    parser.add_argument("text", type=Path)
    parser.add_argument("windows", type=int)
    parser.add_argument("passes", nargs="*")
    parser.add_argument("--calib", default="")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=512)
    print(json.dumps(row(parser.parse_args())))


if __name__ == "__main__":
    main()
