"""Outliers planted in a known model: what per-tensor quantization loses with each method that moves them.

    python benchmarks/planted_outliers.py

A seeded two-layer OPT. Its LayerNorms get outliers as the papers picture them (Outlier Suppression, figure 1: the same
few channels, made by gamma; Outlier Suppression+, figure 1: they lie to one side of zero, made by beta), and the
linears that read them take the inverse, so the float model computes what it did before. Then every linear but the head
is quantized: weights per channel, inputs per tensor with ranges measured after the method's passes (static, symmetric
min-max). The figure is the squared error of the logits on unseen tokens over their square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, fx
from torch.nn import functional

from edgeq.calibrate.samples import Sample, text_sample
from edgeq.frontend.graph import raised_graph
from edgeq.ir.graph import arguments, calls, inputs, op
from edgeq.ir.values import call, weight_value
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.simulate import fake_tensor, fake_weight

WIDTHS = (8, 6, 4)
METHODS = {
    "min-max": "",
    "gamma-migration": "gamma-migration",
    "rotate": "rotate",
    "smooth": "smooth{powers=false}",
    "osplus": "osplus{bits=w%da%ds}",
}
SIZES = {
    "vocab_size": 160, "hidden_size": 64, "ffn_dim": 128, "word_embed_proj_dim": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "init_std": 0.12, "tie_word_embeddings": False,
}  # fmt: skip
OUTLIERS = 3  # channels of a norm
WIDER, ASIDE = 6.0, 80.0  # how much wider an outlier channel reaches, and how far from zero it lies (OS+: -97..-58)
CALIBRATION, UNSEEN, LENGTH = 8, 8, 32
Linear = Callable[[fx.Node, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Planted:
    """The model's tensors, f32 by Hugging Face name, and its config."""

    tensors: dict[str, Tensor]
    config: Any

    def graph(self) -> fx.GraphModule:
        """A raised graph of the model that nothing was folded into."""
        return raised_graph(self.config)

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """As a checkpoint is read."""
        return self.tensors[name] if rows is None else self.tensors[name][rows]


def model(seed: int = 0, planted: bool = True) -> Planted:
    """The seeded model, with outliers or (the same function) without."""
    torch.manual_seed(seed)
    config = transformers.OPTConfig(**SIZES)
    eager = transformers.OPTForCausalLM(config).eval()
    tensors = {name: tensor.detach().clone() for name, tensor in eager.state_dict().items()}
    noise = torch.Generator().manual_seed(seed + 1)
    for layer in range(config.num_hidden_layers) if planted else ():
        base = f"model.decoder.layers.{layer}"
        _plant(tensors, f"{base}.self_attn_layer_norm", [f"{base}.self_attn.{x}_proj" for x in "qkv"], noise)
        _plant(tensors, f"{base}.final_layer_norm", [f"{base}.fc1"], noise)
    return Planted(tensors, config)


def _plant(tensors: dict[str, Tensor], norm: str, linears: list[str], noise: torch.Generator) -> None:
    """LN(x) becomes s LN(x) + z on a few channels; W becomes W / s and the bias loses (W / s) z."""
    width = len(tensors[f"{norm}.weight"])
    channels = torch.randperm(width, generator=noise)[:OUTLIERS]
    sides = torch.where(torch.rand(OUTLIERS, generator=noise) < 0.5, -1.0, 1.0)
    s, z = torch.ones(width), torch.zeros(width)
    s[channels], z[channels] = WIDER, ASIDE * sides
    tensors[f"{norm}.weight"] *= s
    tensors[f"{norm}.bias"].mul_(s).add_(z)
    for linear in linears:
        tensors[f"{linear}.weight"] /= s
        tensors[f"{linear}.bias"] -= tensors[f"{linear}.weight"] @ z


def texts(first: int, count: int) -> list[list[int]]:
    """Seeded token ids."""
    noise = torch.Generator().manual_seed(100)
    drawn = torch.randint(3, SIZES["vocab_size"], (first + count, LENGTH), generator=noise)
    return drawn[first:].tolist()


def moved(planted: Planted, pipeline: str) -> fx.GraphModule:
    """The float graph after the passes of a pipeline, measured on calibration tokens."""
    gm = planted.graph()
    measured = [text_sample(ids) for ids in texts(0, CALIBRATION)]
    run_pipeline(gm, parse_pipeline(pipeline), Context(planted, samples=lambda _: measured))
    return gm


def error(planted: Planted, gm: fx.GraphModule, bits: int) -> float:
    """Relative squared error of the logits on unseen tokens at `bits` for weights and inputs."""
    largest = ranges(gm, planted, [text_sample(ids) for ids in texts(0, CALIBRATION)])
    wrong = power = 0.0
    for sample in (text_sample(ids) for ids in texts(CALIBRATION, UNSEEN)):
        exact, lost = logits(gm, planted, sample), logits(gm, planted, sample, _quantized(largest, bits))
        wrong, power = wrong + float((exact - lost).square().sum()), power + float(exact.square().sum())
    return wrong / power


def ranges(gm: fx.GraphModule, planted: Planted, samples: list[Sample]) -> dict[fx.Node, Tensor]:
    """Largest magnitude that each linear but the head reads."""
    found: dict[fx.Node, Tensor] = {}

    def watch(node: fx.Node, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        found[node] = torch.maximum(found.get(node, torch.zeros(())), x.abs().max())
        return functional.linear(x, w, b)

    for sample in samples:
        logits(gm, planted, sample, watch)
    head = calls(gm, "aten.linear")[-1]
    return {node: largest for node, largest in found.items() if node is not head}


def _quantized(largest: dict[fx.Node, Tensor], bits: int) -> Linear:
    def linear(node: fx.Node, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        if node in largest:
            x = fake_tensor(x, bits, largest[node] / (2 ** (bits - 1) - 1))
            w = fake_weight(w, bits)
        return functional.linear(x, w, b)

    return linear


def logits(gm: fx.GraphModule, planted: Planted, sample: Sample, linear: Linear | None = None) -> Tensor:
    """The graph run op by op, its linears by `linear` where given."""
    known: dict[fx.Node, Any] = {node: sample.inputs[name] for name, node in inputs(gm).items()}
    with torch.no_grad():
        for node in gm.graph.nodes:
            if node.op == "get_attr":
                known[node] = weight_value(node, planted)
            elif op(node) == "aten.linear" and linear is not None:
                given = arguments(node)
                bias = None if given["bias"] is None else known[given["bias"]]
                known[node] = linear(node, known[given["input"]], known[given["weight"]], bias)
            elif node.op == "call_function":
                known[node] = call(node, known.__getitem__)
    return known[gm.graph.output_node().all_input_nodes[0]]


def errors(planted: Planted, pipeline: str) -> list[float]:
    """One error for each of `WIDTHS`; `%d` in the pipeline stands for the width that a search simulates."""
    if "%d" in pipeline:
        return [error(planted, moved(planted, pipeline % (bits, bits)), bits) for bits in WIDTHS]
    gm = moved(planted, pipeline)
    return [error(planted, gm, bits) for bits in WIDTHS]


def main() -> None:
    """Print the table as markdown."""
    torch.set_num_threads(1)
    print("| method | " + " | ".join(f"w{bits}a{bits}" for bits in WIDTHS) + " |")
    print("|---|" + "---|" * len(WIDTHS))
    rows = {"(none planted) min-max": errors(model(planted=False), "")}
    rows |= {name: errors(model(), pipeline) for name, pipeline in METHODS.items()}
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(f"{one:.2g}" for one in found) + " |")


if __name__ == "__main__":
    main()
