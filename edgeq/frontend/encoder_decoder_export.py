"""The decoder half of an encoder-decoder as a raised graph: any number of tokens, any number of encoder positions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, export

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend.encoder_decoder_raising import raise_decoder
from edgeq.frontend.export import EXAMPLE_LENGTH, MAX_LENGTH, TraceError, blame, flatten, functional, quiet
from edgeq.frontend.hooks import IMPLEMENTATIONS, tracing
from edgeq.frontend.skeleton import build_skeleton, fake_parameters
from edgeq.frontend.support import offending
from edgeq.ir.graph import calls

HIDDEN = "encoder_hidden_states"
EXAMPLE_KEYS = 11  # unlike EXAMPLE_LENGTH, so that export keeps the two sizes apart


def decoder_graph(config: Any) -> fx.GraphModule:
    """(encoder_hidden_states f32 `[1,L,d]`, input_ids i64 `[1,S]`, position_ids i64 `[1,S]` if taken) -> logits.

    No mask: the caller says how many of the L positions are real. Attempts as in `frontend.graph.raised_graph`.

    Raises:
        UnsupportedError: the graph leaves the dialect; the message lists every offending op with its module.
    """
    problems: list[str] = []
    for implementation in IMPLEMENTATIONS:
        try:
            gm = _export(build_skeleton(config, implementation), implementation)
        except (TraceError, ModelError) as error:  # ModelError: the class does not know this implementation
            problems = problems or [f"cannot be traced: {error}"]
            continue
        raise_decoder(gm)
        problems = offending(gm)
        if not problems:
            return gm
        if calls(gm, "edgeq.attention"):
            break  # attention is understood: another implementation of it would not help
    lines = "\n  ".join(problems)
    what = f"the decoder of {config.model_type} leaves the set of operations that edgeq compiles"
    raise UnsupportedError(f"{what}:\n  {lines}")


def _export(model: nn.Module, implementation: str) -> fx.GraphModule:
    """The decoder and its head, traced through the whole model so that every name stays as it is."""
    given = _examples(model)
    keys, length = Dim("keys", min=2, max=MAX_LENGTH), Dim("s", min=2, max=MAX_LENGTH)
    dims = {name: {1: keys if name == HIDDEN else length} for name in given}
    model.forward = _decode(model)
    try:
        with torch.no_grad(), tracing(implementation), quiet():
            program = functional(export(model, (), given, dynamic_shapes=dims, strict=False))
    except Exception as error:  # torch.export raises many types
        raise TraceError(blame(error, model)) from error
    return flatten(program, model)


def _examples(model: nn.Module) -> dict[str, Tensor]:
    """Fake inputs of the decoder; parameters of `model` become fake too."""
    with_places = "decoder_position_ids" in inspect.signature(model.forward).parameters
    width = model.get_encoder().config.hidden_size  # type: ignore[operator]
    with fake_parameters(model):
        given = {HIDDEN: torch.zeros(1, EXAMPLE_KEYS, width)}
        for name in ("input_ids", "position_ids")[: 1 + with_places]:
            given[name] = torch.zeros(1, EXAMPLE_LENGTH, dtype=torch.long)
    return given


def _decode(model: nn.Module) -> Callable[..., Any]:
    """A forward of the decoder alone."""
    whole = model.forward

    def decode(encoder_hidden_states: Tensor, input_ids: Tensor, position_ids: Tensor | None = None) -> Any:
        places = {} if position_ids is None else {"decoder_position_ids": position_ids}
        return whole(encoder_outputs=(encoder_hidden_states,), decoder_input_ids=input_ids, use_cache=False, **places)

    return decode
