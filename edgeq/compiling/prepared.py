"""A model as a compile begins with it: opened, exported once, its options checked against what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeq.compiling.options import Options
from edgeq.compiling.refusals import refuse_idle, refuse_unknown_modules
from edgeq.errors import UsageError
from edgeq.frontend.entries import EntryGraph, load_entries
from edgeq.frontend.source import Source, open_model
from edgeq.imports.plan import import_codes

Progress = Callable[[str, int, int], None]
POSITIONS = 16  # the caches hold whole vectors of positions


@dataclass(frozen=True)
class Prepared:
    """A model's float graphs, and how much of it the artifact will hold.

    Attributes:
        entries: passes rewrite them in place; `copies` are for those who need them again.
        context: tokens that caches hold, 0 without any. chunk: rows of a prefill chunk.
    """

    source: Source
    entries: list[EntryGraph]
    context: int
    chunk: int

    @property
    def decodes(self) -> bool:
        """Whether the model takes tokens one by one."""
        return any(entry.kind == "token" for entry in self.entries)

    def copies(self) -> Prepared:
        """The same with graphs of its own."""
        from edgeq.compiling.recipes_best import copied

        return replace(self, entries=[replace(entry, gm=copied(entry.gm)) for entry in self.entries])


def prepare(options: Options, progress: Progress) -> Prepared:
    """Open the model and export its graphs; no weight is read.

    Raises:
        ModelError, UnsupportedError: the model. UsageError: options that mean nothing to it.
    """
    progress("read the model's config", 0, 0)
    source = open_model(options.model, options.revision)
    return exported(source, options, progress)


def exported(source: Source, options: Options, progress: Progress) -> Prepared:
    """The graphs of a model that is open already."""
    progress("export the graphs", 0, 0)
    entries = load_entries(source, options.shapes, progress=progress)
    import_codes(source, entries, options, progress)
    refuse_idle(options, entries)
    refuse_unknown_modules(options, entries)
    decodes = any(entry.kind == "token" for entry in entries)
    context = resolved_context(options.context, source.config) if decodes else 0
    chunk = min(options.chunk, context) if decodes and len(entries) == 1 else 1
    return Prepared(source, entries, context, chunk)


def resolved_context(wanted: int, config: object) -> int:
    """Tokens that the artifact holds: as asked, at most what the model was made for, in whole vectors of 16."""
    names = ("max_target_positions", "max_position_embeddings", "n_positions")
    most = next((found for name in names if (found := getattr(config, name, None))), wanted)
    context = min(wanted, int(most)) // POSITIONS * POSITIONS
    if not context:
        raise UsageError(f"--context {wanted}: give at least {POSITIONS} (the model takes up to {most} tokens)")
    return context
