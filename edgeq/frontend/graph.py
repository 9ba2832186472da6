"""The frontend's pipeline: skeleton -> exported -> cleaned -> raised -> token-major graph in the dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

import edgeq.ir.ops  # noqa: F401  (registers the edgeq ops)
from edgeq.errors import UnsupportedError
from edgeq.frontend import raising_activation as activation
from edgeq.frontend import raising_attention as attention
from edgeq.frontend import raising_linear as linear
from edgeq.frontend import raising_norm as norm
from edgeq.frontend.canonical import clean
from edgeq.frontend.export import export_model
from edgeq.frontend.hooks import IMPLEMENTATIONS
from edgeq.frontend.raising_rope import raise_rope
from edgeq.frontend.rewrite import Rule, apply
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.support import offending
from edgeq.frontend.token_major import flatten_norm, lift_rows, resolve_layout

if TYPE_CHECKING:
    from edgeq.frontend.source import Source

STAGES: list[list[Rule]] = [
    [linear.raise_addmm, linear.raise_matmul, linear.raise_bias],
    [norm.raise_rms_norm, norm.raise_aten_rms_norm, norm.raise_rms_weight],
    [activation.raise_gelu],
    [raise_rope],
    [attention.raise_sdpa, attention.raise_written_out],
    [attention.mask_from_bias, attention.flatten_attention],
    [flatten_norm, lift_rows],
]
LATE: list[Rule] = [activation.raise_gated, attention.fold_query_scale]


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
    written out. The message lists what the best attempt left outside the dialect.
    """
    best: tuple[list[str], fx.GraphModule] | None = None
    failures = []
    for implementation in IMPLEMENTATIONS:
        try:
            gm = export_model(build_skeleton(config, implementation), implementation)
        except UnsupportedError:
            raise
        except Exception as error:  # torch.export raises many types
            failures.append(f"tracing with {implementation} attention: {_first_line(error)}")
            continue
        raise_graph(gm)
        found = offending(gm)
        if not found:
            return gm
        if best is None or len(found) < len(best[0]):
            best = found, gm
    raise UnsupportedError(_message(config, best[0] if best else failures))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _message(config: Any, problems: list[str]) -> str:
    lines = "\n  ".join(problems)
    return f"{config.model_type} leaves the set of operations that edgeq compiles:\n  {lines}"


def raise_graph(gm: fx.GraphModule) -> None:
    """Canonicalise, raise and make token-major, in place."""
    clean(gm)
    for rules in STAGES:
        apply(gm, rules)
    clean(gm)
    resolve_layout(gm)
    apply(gm, LATE)
    gm.graph.lint()
    gm.recompile()


__all__ = ["load_graph", "raise_graph", "raised_graph"]
