"""The graphs of a model's entries: one token graph for decoder-only models, else one static graph an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend.classes import is_decoder_only, is_encoder_decoder
from edgeq.frontend.export import TraceError
from edgeq.frontend.export_static import export_static
from edgeq.frontend.graph import raise_graph, raised_graph
from edgeq.frontend.hooks import IMPLEMENTATIONS
from edgeq.frontend.interfaces import Interface, Shapes, interfaces
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.support import misread, offending_static
from edgeq.ir.graph import calls, output

if TYPE_CHECKING:
    from edgeq.frontend.source import Source

__all__ = ["EntryGraph", "Port", "Shapes", "export_entries", "load_entries"]


Progress = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


@dataclass(frozen=True)
class Port:
    """An input or output: dtype is "f32" or "i32" (integers and bools of the model)."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass
class EntryGraph:
    """name: `text_128x8`. base: `text`. kind: "token" or "static". batch, length: what it is fixed to (length 0: no
    tokens). gm: the graph. inputs, outputs: of a static entry, in the order of placeholders and of the output's tuple.
    """

    name: str
    base: str
    kind: str
    batch: int
    length: int
    gm: fx.GraphModule
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


def load_entries(source: Source, shapes: Shapes, progress: Progress = _silent) -> list[EntryGraph]:
    """Every entry of a model as a raised graph; no weight is read.

    Decoder-only models give one entry of kind "token", with the graph of `load_graph`, whatever the shapes.

    Raises:
        UnsupportedError: a graph leaves the dialect; the message lists every offending op with its module.
        UsageError: a length for which the model has no positions.
    """
    if is_decoder_only(source.config):
        return [EntryGraph("token", "token", "token", 1, 0, raised_graph(source.config))]
    if is_encoder_decoder(source.config):
        return _encoder_decoder(source, shapes)
    faces, found = _interfaces(source.config, source.assets | source.extras, shapes), []
    for face in faces:
        progress(f"export {face.name}", 0, 0)
        found.append(raised_entry(source.config, face))
    return found


def export_entries(config: Any, files: dict[str, bytes], shapes: Shapes) -> list[EntryGraph]:
    """The static entries of a model as exported, not raised (masks and attention are `edgeq_trace` ops).

    files: of the model's folder, by path: preprocessing, sentence-transformers' modules.
    """
    return [_exported(config, face) for face in _interfaces(config, files, shapes)]


def _encoder_decoder(source: Source, shapes: Shapes) -> list[EntryGraph]:
    from edgeq.frontend.encoder_decoder import encoder_decoder_entries

    return encoder_decoder_entries(source, shapes)


def _interfaces(config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    return interfaces(build_skeleton(config), config, files, shapes)


def _attempts(config: Any, face: Interface, problems: list[str]) -> Iterator[EntryGraph]:
    """The entry exported with each way to hook attention, best first; why some cannot goes to `problems`."""
    for implementation in IMPLEMENTATIONS:
        try:
            gm, names = export_static(build_skeleton(config, implementation), face, implementation)
        except (TraceError, ModelError) as error:  # ModelError: the class does not know this implementation
            problems.append(f"cannot be traced: {error}")
            continue
        found = misread(gm)
        problems += found
        if not found:
            yield static_entry(face, gm, names)


def static_entry(face: Interface, gm: fx.GraphModule, names: list[str]) -> EntryGraph:
    """The entry that a graph makes; names: of its outputs."""
    inputs = tuple(_port(str(n.target), n) for n in gm.graph.nodes if n.op == "placeholder")
    nodes: Any = output(gm).args[0]
    outputs = tuple(_port(name, node) for name, node in zip(names, nodes, strict=True))
    return EntryGraph(face.name, face.base, "static", face.batch, face.length, gm, inputs, outputs)


def _port(name: str, node: fx.Node) -> Port:
    value: torch.Tensor = node.meta["val"]
    return Port(name, "f32" if value.dtype.is_floating_point else "i32", tuple(int(size) for size in value.shape))


def _exported(config: Any, face: Interface) -> EntryGraph:
    problems: list[str] = []
    for entry in _attempts(config, face, problems):
        return entry
    raise UnsupportedError(_message(config, face, problems[:1]))


def raised_entry(config: Any, face: Interface) -> EntryGraph:
    """Like `raised_graph`: the first attempt that lies in the dialect; the message is of the first that was traced."""
    problems: list[str] = []
    first: list[str] = []
    for entry in _attempts(config, face, problems):
        raise_graph(entry.gm)
        found = offending_static(entry.gm)
        if not found:
            return entry
        first = first or found
        if calls(entry.gm, "edgeq.attention"):
            break  # attention is understood: another implementation of it would not help
    raise UnsupportedError(_message(config, face, first or problems[:1]))


def _message(config: Any, face: Interface, problems: list[str]) -> str:
    lines = "\n  ".join(problems)
    return f"entry {face.name} of {config.model_type} leaves the set of operations that edgeq compiles:\n  {lines}"
