"""`--recipe best`: pipelines are tried on a copy of the graph; what they cost is measured on text no pass has seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import Captured, stream
from edgeq.compiling.options import Resolved
from edgeq.errors import EdgeqError, UnsupportedError, UsageError
from edgeq.frontend.entries import EntryGraph
from edgeq.ir.graph import calls, insert, op, output
from edgeq.ir.ops.simulated import simulated
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.samples import Sample
    from edgeq.compiling.measured import Measured

ROWS = 512  # of logits that a language model is judged by, evenly spaced over the held-out text
DIGITS = 6  # of a damage in the manifest
END = 2**63 - 1


@dataclass(frozen=True)
class Judged:
    """An entry that pipelines are judged by: its held-out samples, and its outputs' float values `[rows, C]`."""

    entry: EntryGraph
    samples: list[Sample]
    target: list[Tensor]


def best(
    entries: Sequence[EntryGraph], shared: Context, pipelines: Sequence[list[str]], measured: Measured
) -> Resolved:
    """The pipeline of least damage; of equal ones the first.

    A language model's damage is the mean Kullback-Leibler divergence of its next-token probabilities from those of the
    float model, in nats; another model's is the relative error of its outputs, root of squared sums, their mean.

    Args:
        entries: longest first; the first of each base that samples fit is judged, the others share its weights.
        shared: the compile's; what pipelines decide is kept there and need not be measured again.
        pipelines: texts of passes, fast's and balanced's among them.

    Raises:
        UsageError: no entry has held-out samples.
    """
    if len(pipelines) == 1:
        return Resolved(tuple(pipelines[0]))
    judged = judged_entries(entries, shared, measured)
    tried = []
    for index, passes in enumerate(pipelines):
        shared.progress(f"try {index + 1} of {len(pipelines)}: {_short(passes)}", 0, 0)
        tried.append(judge(passes, judged, shared))
    done = sorted((one for one in tried if "damage" in one), key=lambda one: one["damage"])
    if not done:
        raise UnsupportedError("--recipe best: no pipeline runs on this model: " + tried[0]["failed"])
    return Resolved(tuple(done[0]["passes"]), (*done, *(one for one in tried if "failed" in one)))


def judge(passes: list[str], judged: Sequence[Judged], shared: Context) -> dict[str, Any]:
    """`passes` and the `damage` they do, or why they `failed` on this model."""
    try:
        damage = sum(_damage(passes, one, shared) for one in judged) / len(judged)
    except EdgeqError as error:
        return {"passes": passes, "failed": str(error)}
    if not math.isfinite(damage):
        return {"passes": passes, "failed": "its outputs are not finite"}
    return {"passes": passes, "damage": float(f"{damage:.{DIGITS}g}")}


def judged_entries(entries: Sequence[EntryGraph], shared: Context, measured: Measured) -> list[Judged]:
    """The longest entry of each base that samples fit, run in float; UsageError when there is none."""
    first = {e.base: e for e in reversed(entries) if measured.samples(e.gm) and results(e.gm)}
    found = []
    for entry in first.values():
        if held_out := measured.held_out(entry.gm):
            shared.progress(f"run {entry.name} in float", 0, 0)
            found.append(Judged(entry, held_out, outputs(entry, copied(entry.gm), held_out, shared)))
    if not found:
        raise UsageError(
            f"--recipe best compares pipelines on samples that no pass sees, and there are none that fit "
            f"{', '.join(entry.name for entry in entries)} (data: {measured.data.description}): give other or more "
            "data (--calib), or --recipe balanced"
        )
    return found


def _damage(passes: Sequence[str], judged: Judged, shared: Context) -> float:
    gm = copied(judged.entry.gm)
    steps = parse_pipeline(",".join([*passes, f"quantize{{bits={shared.bits}}}"]))
    run_pipeline(gm, steps, replace(shared, reports=[]))
    token = judged.entry.kind == "token"
    with simulated("minmax" if token else "mse"):  # as lowering stores them
        found = outputs(judged.entry, gm, judged.samples, shared)
    pairs = list(zip(judged.target, found, strict=True))
    return sum(divergence(*pair) if token else relative_error(*pair) for pair in pairs) / len(pairs)


def outputs(entry: EntryGraph, gm: fx.GraphModule, samples: Sequence[Sample], shared: Context) -> list[Tensor]:
    """Outputs of all samples, counted rows `[rows, C]`; of a language model some ROWS of them. The graph is spent."""
    if entry.kind == "token":
        _thin(gm, sum(int(sample.counted.sum()) for sample in samples))
    wanted = results(gm)
    found: dict[fx.Node, Tensor] = {}

    def visit(block: Block, captured: Captured) -> None:
        for node in wanted:
            if node in captured and captured.values(node)[0].is_floating_point():
                found[node] = torch.cat(captured.rows(node)).float()

    stream(gm, shared.weights, samples, wanted.__contains__, visit, progress=shared.progress, stage="judge")
    return [found[node] for node in wanted if node in found]


def results(gm: fx.GraphModule) -> list[fx.Node]:
    """What the graph computes: its outputs, and keys and values that an encoder leaves to its decoder."""
    stored = [source for node in calls(gm, "edgeq.store_keys") for source in node.all_input_nodes]
    return [n for n in dict.fromkeys([*output(gm).all_input_nodes, *stored]) if n.op == "call_function"]


def divergence(target: Tensor, found: Tensor) -> float:
    """Mean over rows of KL(softmax(target) || softmax(found)) in nats; logits f32 `[rows, vocab]`."""
    total = 0.0
    for p, q in zip(target.split(64), found.split(64), strict=True):
        log_p, log_q = p.double().log_softmax(-1), q.double().log_softmax(-1)
        total += float((log_p.exp() * (log_p - log_q)).sum())
    return total / len(target)


def relative_error(target: Tensor, found: Tensor) -> float:
    """`|found - target| / |target|` over all values."""
    return float((found - target).double().norm() / target.double().norm().clamp(min=1e-30))


def _thin(gm: fx.GraphModule, rows: int) -> None:
    """Let the output head see every n-th row, the first of each sample not: logits of a large vocabulary are large."""
    node = output(gm).all_input_nodes[0]
    while op(node) not in ("aten.linear", "edgeq.qlinear") and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    if op(node) in ("aten.linear", "edgeq.qlinear"):
        with gm.graph.inserting_before(node):
            some = insert(gm.graph, "aten.slice.Tensor", node.args[0], 1, 1, END, max(1, rows // ROWS))
        node.update_arg(0, some)


def copied(gm: fx.GraphModule) -> fx.GraphModule:
    """A graph to rewrite, with the same constants."""
    graph = fx.Graph()
    twins: dict[fx.Node, fx.Node] = {}
    result = graph.graph_copy(gm.graph, twins)  # type: ignore[arg-type]
    last = graph.output(result)
    last.meta = dict(output(gm).meta)
    return fx.GraphModule(gm, graph)


def _short(passes: Sequence[str]) -> str:
    return ", ".join(str(step) for step in parse_pipeline(",".join(passes))) or "no calibrated passes"
