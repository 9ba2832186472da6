"""Encoder-decoders: encoder entries that leave keys and values in caches, and a token entry that attends over them."""

from __future__ import annotations

import inspect
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgeq.errors import UnsupportedError
from edgeq.frontend.encoder_decoder_cut import cut
from edgeq.frontend.encoder_decoder_export import decoder_graph
from edgeq.frontend.interfaces import Interface, Outputs, Shapes, check_lengths, text_inputs
from edgeq.frontend.skeleton import build_skeleton

if TYPE_CHECKING:
    from edgeq.frontend.entries import EntryGraph
    from edgeq.frontend.source import Source

HIDDEN, MASK = "last_hidden_state", "attention_mask"
VECTOR = 16  # caches hold whole vectors of positions


def encoder_decoder_entries(source: Source, shapes: Shapes) -> list[EntryGraph]:
    """`encode_<length>` (text) or `encode` (audio), static, then the token entry `decode`; no weight is read.

    Encoders end in `edgeq.store_keys`, one a layer of the decoder, and in `edgeq.count_keys` where they take a mask.
    Their placeholders beyond `inputs` are what they write: caches `cross_k_<i>`, `cross_v_<i>` f32 `[1,kv_heads,C,D]`
    and `n_keys` i32 `[1]`; the decoder has the same placeholders (or a constant `n_keys`). C is the longest encoder's
    length in whole vectors of 16; every encoder fills the same caches. Texts must be padded on the right.

    Raises:
        UnsupportedError: a graph leaves the dialect, or the decoder reads the encoder otherwise than by attention.
        UsageError: a length for which the model has no positions, or a batch.
    """
    from edgeq.frontend.entries import EntryGraph, raised_entry

    faces = _encoders(build_skeleton(source.config), source.config, shapes)
    encoders = [raised_entry(source.config, face) for face in faces]
    keys = [_hidden(entry) for entry in encoders]
    decoder = decoder_graph(source.config)
    capacity = -(-max(keys) // VECTOR) * VECTOR
    prelude = cut(decoder, capacity, None if _masked(encoders) else keys[0])
    for entry in encoders:
        prelude.append_to(entry.gm, [port.name for port in entry.outputs].index(HIDDEN), MASK)
    prelude.drop()
    return [*encoders, EntryGraph("decode", "decode", "token", 1, 0, decoder)]


def _encoders(model: nn.Module, config: Any, shapes: Shapes) -> list[Interface]:
    """What the encoder can be asked: one batch, since the decoder has one."""
    if set(shapes.batch) != {1}:
        raise UnsupportedError("encoder-decoders compile for a batch of 1; leave --batch out")
    encoder = model.get_encoder()  # type: ignore[operator]
    takes = inspect.signature(encoder.forward).parameters
    if "input_features" in takes:
        return [Interface("encode", {"input_features": _audio(encoder, config)}, _encode)]
    if "input_ids" not in takes:
        what = f"the encoder of {type(model).__name__} takes {', '.join(takes)}"
        raise UnsupportedError(f"{what}; edgeq compiles encoders of input_ids or input_features")
    check_lengths(model, config, shapes.lengths)
    return [Interface("encode", text_inputs(encoder, config, 1, n), _encode, 1, n) for n in shapes.lengths]


def _audio(encoder: nn.Module, config: Any) -> tuple[tuple[int, ...], torch.dtype]:
    """Spectrogram `[1, bands, frames]`: as many frames as the convolutions turn into the encoder's positions."""
    layers = [m for m in encoder.modules() if isinstance(m, nn.Conv1d)]
    frames = config.max_source_positions * prod(layer.stride[0] for layer in layers)
    return (1, layers[0].in_channels, frames), torch.float32


def _encode(model: Any, given: dict[str, Tensor]) -> Outputs:
    encoder = model.get_encoder()
    takes = inspect.signature(encoder.forward).parameters
    options = {"use_cache": False} if "use_cache" in takes else {}
    return {HIDDEN: encoder(**given, **options).last_hidden_state}


def _masked(encoders: list[EntryGraph]) -> bool:
    """Whether the number of keys is known at run time only: texts are padded, sounds are not."""
    takes = [{port.name for port in entry.inputs} for entry in encoders]
    if any("input_ids" in names and MASK not in names for names in takes):
        raise UnsupportedError("the encoder does not read attention_mask: edgeq cannot tell a text from its padding")
    return all(MASK in names for names in takes)


def _hidden(entry: EntryGraph) -> int:
    """Positions that the encoder gives."""
    return next(port.shape[1] for port in entry.outputs if port.name == HIDDEN)
