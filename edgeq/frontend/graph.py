"""The frontend's pipeline: skeleton -> exported -> cleaned -> raised -> token-major graph in the dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend import raising_activation as activation
from edgeq.frontend import raising_attention as attention
from edgeq.frontend import raising_linear as linear
from edgeq.frontend import raising_norm as norm
from edgeq.frontend.canonical import clean
from edgeq.frontend.classes import causal_lm_class
from edgeq.frontend.export import TraceError, export_model
from edgeq.frontend.hooks import IMPLEMENTATIONS
from edgeq.frontend.raising_pairs import drop_shared_order
from edgeq.frontend.raising_rope import raise_rope
from edgeq.frontend.rewrite import Rule, apply
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.static import raise_static
from edgeq.frontend.support import by_module, offending
from edgeq.frontend.token_major import flatten_norm, lift_rows, resolve_layout
from edgeq.ir.graph import calls
from edgeq.ir.verify import is_static

if TYPE_CHECKING:
    from edgeq.frontend.source import Source

STAGES: list[list[Rule]] = [
    [linear.raise_addmm, linear.raise_matmul, linear.raise_bias],
    [norm.raise_rms_norm, norm.raise_aten_rms_norm, norm.raise_rms_weight],
    [norm.raise_layer_norm],
    [activation.raise_gelu],
    [raise_rope],
    [attention.raise_sdpa, attention.raise_written_out],
    [attention.mask_from_bias, attention.flatten_attention],
    [flatten_norm, lift_rows],
]
LATE: list[Rule] = [activation.raise_square, activation.raise_gated, drop_shared_order, attention.fold_query_scale]


def load_graph(source: Source) -> fx.GraphModule:
    """The model as a graph (input_ids i64[1,S], position_ids i64[1,S]) -> logits f32[1,S,vocab]; no weight is read.

    get_attr targets are Hugging Face tensor names, held as meta tensors; small computed buffers are real.
    `node.meta["val"]` is a fake tensor, `node.meta["hf"]` the Hugging Face module.

    Raises:
        UnsupportedError: the graph leaves the dialect; the message lists every offending op with its module.
    """
    return raised_graph(source.config)


def raised_graph(config: Any) -> fx.GraphModule:
    """`load_graph` from a transformers config alone.

    transformers' attention interface is tried first; models outside it are traced with raw sdpa, then with attention
    written out. The message lists what the first attempt that could be traced leaves outside the dialect.
    """
    causal_lm_class(config)
    problems: list[str] = []
    for implementation in IMPLEMENTATIONS:
        try:
            gm = export_model(build_skeleton(config, implementation), implementation)
        except (TraceError, ModelError) as error:  # ModelError: the class does not know this implementation
            problems = problems or [f"cannot be traced: {error}"]
            continue
        raise_graph(gm)
        found = offending(gm)
        if not found:
            return gm
        problems = found
        if calls(gm, "edgeq.attention"):
            break  # attention is understood: another implementation of it would not help
    raise UnsupportedError(_message(config, _at_fixed_length(config, problems)))


def _at_fixed_length(config: Any, problems: list[str]) -> list[str]:
    """What a model that cannot be traced for every length holds, seen at one length."""
    if not problems[0].startswith("cannot be traced"):
        return problems
    try:
        gm = export_model(build_skeleton(config), "eager", fixed=True)
    except (TraceError, ModelError):
        return problems
    raise_graph(gm)
    return problems + [f"{op}: {modules}" for op, modules in by_module(gm, static=False).items()]


def _message(config: Any, problems: list[str]) -> str:
    lines = "\n  ".join(problems)
    return f"{config.model_type} leaves the set of operations that edgeq compiles:\n  {lines}"


def raise_graph(gm: fx.GraphModule) -> None:
    """Canonicalise, raise and make token-major, in place; a graph without symbolic sizes goes its own way."""
    if is_static(gm):
        return raise_static(gm)
    clean(gm)
    for rules in STAGES:
        apply(gm, rules)
    clean(gm)
    resolve_layout(gm)
    apply(gm, LATE)
    gm.graph.lint()
    gm.recompile()


__all__ = ["load_graph", "raise_graph", "raised_graph"]
