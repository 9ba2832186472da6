"""The function behind `edgeq opt`: a graph as text, from text or from a model, after passes.

It stands at the command's end of the package: what it loads (frontend, passes) is imported only when it runs.
"""

from __future__ import annotations

from torch import fx

from edgeq.errors import UsageError


def opt(text_or_model: str, pipeline: str = "", entry: str = "") -> str:
    """Run passes and print the graph.

    Args:
        text_or_model: a graph in text form, or a model as `edgeq compile` takes it.
        pipeline: `"merge-linears,quantize{bits=w4a8}"`; empty: only parse or import, verify, and print.
        entry: of a model with several (`text_128`, `image`, ...); empty: its first.

    Raises:
        UsageError: text that does not parse, an unknown pass, option or entry.
        ModelError, UnsupportedError: the model cannot be read or compiled.
        VerifyError: the graph is invalid.
    """
    from edgeq.ir.text import show
    from edgeq.ir.verify import verify
    from edgeq.passes.pipeline import parse_pipeline, run_pipeline

    passes = parse_pipeline(pipeline)
    gm = _graph(text_or_model, entry)
    verify(gm, types=True)
    run_pipeline(gm, passes)
    return show(gm)


def _graph(text_or_model: str, entry: str) -> fx.GraphModule:
    if "\n" in text_or_model or text_or_model.lstrip().startswith(("%", "#")):
        from edgeq.ir.text import parse

        return parse(text_or_model)
    from edgeq.frontend import open_model
    from edgeq.frontend.entries import Shapes, load_entries

    found = {e.name: e.gm for e in load_entries(open_model(text_or_model), Shapes())}
    if entry and entry not in found:
        raise UsageError(f"{text_or_model} has no entry {entry!r}; it has {', '.join(found)}")
    return found[entry] if entry else next(iter(found.values()))
