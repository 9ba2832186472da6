"""The function behind `edgeq opt`: a graph as text, from text or from a model, after passes.

It stands at the command's end of the package: what it loads (frontend, passes) is imported only when it runs.
"""

from __future__ import annotations

from torch import fx


def opt(text_or_model: str, pipeline: str = "") -> str:
    """Run passes and print the graph.

    Args:
        text_or_model: a graph in text form, or a model as `edgeq compile` takes it.
        pipeline: `"merge-linears,quantize{bits=w4a8}"`; empty: only parse or import, verify, and print.

    Raises:
        UsageError: text that does not parse, an unknown pass or option.
        ModelError, UnsupportedError: the model cannot be read or compiled.
        VerifyError: the graph is invalid.
    """
    from edgeq.ir.text import show
    from edgeq.ir.verify import verify
    from edgeq.passes.pipeline import parse_pipeline, run_pipeline

    passes = parse_pipeline(pipeline)
    gm = _graph(text_or_model)
    verify(gm, types=True)
    run_pipeline(gm, passes)
    return show(gm)


def _graph(text_or_model: str) -> fx.GraphModule:
    if "\n" in text_or_model or text_or_model.lstrip().startswith(("%", "#")):
        from edgeq.ir.text import parse

        return parse(text_or_model)
    from edgeq.frontend import load_graph, open_model

    return load_graph(open_model(text_or_model))
