"""The function behind `edgeq opt`: a graph as text, from text or from a model, after passes.

It stands at the command's end of the package: what it loads (frontend, passes) is imported only when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.passes.pass_ import Context


def opt(text_or_model: str, pipeline: str = "", entry: str = "", calib: str = "") -> str:
    """Run passes and print the graph.

    Args:
        text_or_model: a graph in text form, or a model as `edgeq compile` takes it.
        pipeline: `"quantize{bits=w4a8},merge-linears"`; empty: only parse or import, verify, and print.
        entry: of a model with several (`text_128`, `image`, ...); empty: its first.
        calib: what passes measure a model's activations on, as `edgeq compile --calib` takes it.

    Raises:
        UsageError: text that does not parse, an unknown pass, option or entry.
        ModelError, UnsupportedError: the model cannot be read or compiled.
        VerifyError: the graph is invalid.
    """
    from edgeq.ir.text import parse, show
    from edgeq.ir.verify import verify
    from edgeq.passes.pass_ import Context
    from edgeq.passes.pipeline import parse_pipeline, run_pipeline

    passes = parse_pipeline(pipeline)
    if "\n" in text_or_model or text_or_model.lstrip().startswith(("%", "#")):
        if calib:
            raise UsageError("--calib means nothing to a graph from text: it has no weights to run; give a model")
        gm, context = parse(text_or_model), Context()
    else:
        gm, context = _of_model(text_or_model, entry, calib, any(step.measures for step in passes))
    verify(gm, types=True)
    run_pipeline(gm, passes, context)
    return show(gm)


def _of_model(model: str, entry: str, calib: str, measured: bool) -> tuple[fx.GraphModule, Context]:
    """The graph of an entry; weights, and samples where a pass measures them."""
    from edgeq.calibrate.data import NONE, open_data
    from edgeq.frontend import open_model
    from edgeq.frontend.entries import Shapes, load_entries
    from edgeq.passes.pass_ import Context

    source = open_model(model)
    found = {e.name: e.gm for e in load_entries(source, Shapes())}
    if entry and entry not in found:
        raise UsageError(f"{model} has no entry {entry!r}; it has {', '.join(found)}")
    if calib and not measured:
        raise UsageError("--calib means nothing here: no pass of the pipeline measures activations")
    gm = found[entry] if entry else next(iter(found.values()))
    return gm, Context(source.weights, samples=open_data(calib if measured else NONE, source).samples)
