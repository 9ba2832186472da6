"""Hugging Face model -> raised graphs in the dialect: `open_model`, `load_entries`, `load_graph`, `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["EntryGraph", "Port", "Shapes", "Source", "evaluate", "golden", "load_entries", "load_graph", "open_model"]

if TYPE_CHECKING:
    from edgeq.frontend.entries import EntryGraph, Port, Shapes, load_entries
    from edgeq.frontend.expression import evaluate
    from edgeq.frontend.graph import load_graph
    from edgeq.frontend.source import Source, open_model
    from edgeq.frontend.tokenizer import golden

HOMES = {
    "EntryGraph": "entries", "Port": "entries", "Shapes": "entries", "load_entries": "entries",
    "Source": "source", "open_model": "source", "load_graph": "graph", "evaluate": "expression", "golden": "tokenizer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch and transformers take seconds."""
    if name in HOMES:
        from importlib import import_module

        return getattr(import_module(f"edgeq.frontend.{HOMES[name]}"), name)
    raise AttributeError(f"module 'edgeq.frontend' has no attribute {name!r}")
