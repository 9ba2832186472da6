"""What logarithmic quantizers are worth: `agq` on attentions, `llaq` on box heads, beside even steps of 4 bits.

python benchmarks/log_quantizers.py [--model FOLDER ...] [--sites 3] [--sharp 8] [--heads]

Attention: relative error of AV on a sample that the search did not see, each grid with its searched s, V in float.
`vit` is seeded. Random weights give nearly even probabilities, which no trained model has; so each attention is shown
again with its scores times `--sharp`. Models of images get smooth noise, others the texts that edgeq brings along.
Heads: squared error of weights relative to their square: Laplace-shaped ones, DETR's box head as initialised
(Xavier: uniform-shaped) and with Laplace-shaped weights planted, each per-channel and in groups of 64.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, fx

from edgeq.calibrate.data import open_data
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import stream
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.graph import calls, inputs, site, value
from edgeq.passes.heads.log_weights import choose
from edgeq.passes.llaq import LEVELS
from edgeq.passes.probabilities.probability_search import Seen, search
from edgeq.passes.probabilities.seen import AttentionInputs
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize

GRIDS = ("int4", "log2:4:1", "log2:4:2", "log2:4:4", "int8")
ROWS, STEPS = 64, 16


def vit(folder: Path) -> Path:
    """A ViT-B of three layers with random weights."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    ViTModel(ViTConfig(num_hidden_layers=3)).save_pretrained(folder)
    return folder


def image(shape: tuple[int, ...], seed: int) -> Tensor:
    """Smooth noise."""
    coarse = torch.randn(shape[0], shape[1], 9, 9, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic")


def samples_of(gm: fx.GraphModule, data: object) -> list[Sample]:
    """Two: one to search on, one to judge by."""
    pixels = inputs(gm).get("pixel_values")
    if pixels is None:
        return data.samples(gm)[:2]
    shape = tuple(int(size) for size in value(pixels).shape)
    return [Sample({"pixel_values": image(shape, seed)}, torch.ones(1, dtype=torch.bool)) for seed in (0, 1)]


def attention_errors(
    folder: Path, sites: int, factors: tuple[float, ...]
) -> list[tuple[str, float, float, list[float]]]:
    """(site, factor of its scores, largest probability, errors of GRIDS) of the first entry's first attentions."""
    source = open_model(str(folder))
    entry = load_entries(source, Shapes(lengths=(128,)))[0]
    attentions = calls(entry.gm, "edgeq.attention")[:sites]
    samples = samples_of(entry.gm, open_data("", source) if "pixel_values" not in inputs(entry.gm) else None)
    held, rows = AttentionInputs(attentions, samples, source.weights), []

    def visit(block: object, captured: object) -> None:
        for node in held.add(captured):
            taken = held.take(node)
            for factor in factors:
                first, second = [Seen.of({**given, "scale": given["scale"] * factor}, ROWS) for given in taken]
                found = [search(first, grid, STEPS)[0] for grid in GRIDS]
                errors = [second.error(grid, s) ** 0.5 for grid, s in zip(GRIDS, found, strict=True)]
                rows.append((site(node), factor, float(first.p.max()), errors))

    with torch.no_grad():
        stream(entry.gm, source.weights, samples, held.wanted.__contains__, visit, last=attentions[-1])
    return rows


def print_attention(models: dict[str, Path], sites: int, factors: tuple[float, ...]) -> None:
    """One row an attention."""
    head = "".join(f"{grid:>10s}" for grid in GRIDS)
    print(f"{'attention: relative error of AV':56s} scores  max p{head}  best log2")
    for name, folder in models.items():
        for module, factor, largest, errors in attention_errors(folder, sites, factors):
            best = min(range(1, 4), key=errors.__getitem__)
            ratio = f"{GRIDS[best]} {errors[best] / errors[0]:.2f} of int4"
            cells = "".join(f"{error:10.4f}" for error in errors)
            print(f"{f'{name} {module}'[-56:]:56s} {factor:6g} {largest:6.3f}{cells}  {ratio}", flush=True)


def laplace(*shape: int, scale: float = 0.05, seed: int = 0) -> Tensor:
    """Seeded Laplace-shaped weights."""
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return -scale * u.sign() * torch.log1p(-2 * u.abs())


def heads() -> dict[str, Tensor]:
    """Weights by what they are."""
    from transformers import DetrConfig
    from transformers.models.detr.modeling_detr import DetrMLPPredictionHead

    torch.manual_seed(0)
    size = DetrConfig(use_pretrained_backbone=False).d_model
    head = DetrMLPPredictionHead(size, size, 4, 3)
    for layer in head.layers:
        torch.nn.init.xavier_uniform_(layer.weight)
    found = {"Laplace-shaped [256, 256]": laplace(256, 256)}
    found |= {f"DETR box head {i}, as initialised": x.weight.detach() for i, x in enumerate(head.layers)}
    return found | {f"DETR box head {i}, Laplace planted": laplace(*x.weight.shape, seed=i + 1)
                    for i, x in enumerate(head.layers)}  # fmt: skip


def even_error(w: Tensor, fmt: WeightFormat, method: str) -> float:
    """Of even levels."""
    held = torch.from_numpy(dequantize(*quantize(w, fmt, method), fmt))
    return float((held - w).square().sum() / w.square().sum())


def print_heads() -> None:
    """One row a weight and group size."""
    print(f"\n{'weights: squared error, relative':40s} {'group':>5s} {'w4 minmax':>10s} {'w4 mse':>10s} {'llaq':>10s}")
    for name, w in heads().items():
        for group in (0, 64):
            fmt = WeightFormat(4, group)
            errors = [even_error(w, fmt, method) for method in ("minmax", "mse")]
            found = choose(w, list(LEVELS), [group])
            ratio = found.error / errors[1]
            cells = "".join(f" {error:10.5f}" for error in (*errors, found.error))
            print(f"{name:40s} {group or '-':>5}{cells}  {found.format}, {ratio:.2f} of w4 mse")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="a model's folder, may be repeated")
    parser.add_argument("--sites", type=int, default=3, help="attentions of each model")
    parser.add_argument("--sharp", type=float, default=8.0, help="scores are multiplied by this in the second row")
    parser.add_argument("--heads", action="store_true", help="weights only")
    args = parser.parse_args()
    if not args.heads:
        with tempfile.TemporaryDirectory() as folder:
            models = {"vit": vit(Path(folder))} | {Path(m).name: Path(m) for m in args.model}
            print_attention(models, args.sites, (1.0, args.sharp))
    print_heads()


if __name__ == "__main__":
    main()
