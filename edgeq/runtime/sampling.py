"""How the next token is drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Greedy unless a temperature is given.

    Attributes:
        temperature: divides the logits; 0 is greedy.
        top_k: keep this many of the likeliest tokens; 0: all.
        top_p: keep the likeliest tokens that together reach this probability (after top_k); 1: all.
        seed: the draw depends on seed and position only, so the same seed repeats the same text.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
