"""What the entries of one plan have in common: weights, caches, tensors that one writes and another reads."""

from __future__ import annotations

from edgeq.lower.values import Buffer, View
from edgeq.lower.weights import WeightTable, padded

TensorKey = tuple[str, tuple[int, ...], str]  # name, shape, dtype


class Shared:
    """Memory that lives as long as the context, and the weights file.

    `logits` and `best` exist once a token entry is lowered; `caches` hold keys and values by name, `state` small values
    that one entry leaves to another; `chunk`: most rows of an entry; `ring`: positions that caches by blocks keep in
    float, 0 without such; `tensors` are inputs and outputs of static entries: one a name, shape and type.
    """

    def __init__(self, context: int, table: WeightTable) -> None:
        self.context, self.table = context, table
        self.vocab = 0
        self.chunk, self.ring = 1, 0
        self.logits: Buffer | None = None
        self.best: Buffer | None = None
        self.caches: dict[str, Buffer] = {}
        self.state: dict[str, Buffer] = {}
        self.tensors: dict[TensorKey, View] = {}

    def open_logits(self, vocab: int) -> None:
        """Make room for the logits of one token."""
        self.vocab = vocab
        self.logits = Buffer("logits", 4 * padded(vocab), 1, pinned=True)
        self.best = Buffer("best", 128, 1, private=True, pinned=True)
