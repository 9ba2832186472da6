"""What a session says of its model: sizes, entries, times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeq.runtime.tensors import Tensor


@dataclass(frozen=True)
class Info:
    """What `edgeq_info` says. Sizes in bytes; `context`, `chunk` in tokens; `last_threads`: used by the latest step."""

    model: str
    variant: str
    vocab: int
    context: int
    chunk: int
    threads: int
    last_threads: int
    entries: int
    weights_bytes: int
    arena_bytes: int
    private_bytes: int


@dataclass(frozen=True)
class Entry:
    """A way to run the model.

    Attributes:
        name: `decode` or `prefill` (token entries); `text_128`, `image`, ... (static ones).
        kind: "token", run by `feed`; "static", run by `run`.
        max_rows: tokens a walk takes at most; 1 for a static entry.
        regions: stretches of work between two barriers.
        inputs, outputs: tensors of a static entry, in the model's order.
    """

    name: str
    kind: str
    max_rows: int
    regions: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Profile:
    """Times of an entry's regions, summed over `walks` walks of `rows` tokens in all.

    Attributes:
        inside_ns: u64[regions], thread 0 computing.
        total_ns: u64[regions], the same and waiting for the other threads.
    """

    walks: int
    rows: int
    inside_ns: np.ndarray
    total_ns: np.ndarray
