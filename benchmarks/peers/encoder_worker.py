"""What the sentence encoders of `encoders.py` share: a process that embeds and times itself, one JSON line a request.

Requests and answers: {"verb": "time", "length": L, "repeats": N} -> {"ms": [...]};
{"verb": "embed", "rows": [[id, ...], ...]} -> {"embeddings": [[...], ...]}; {"verb": "facts"} -> {"version", "bytes"}.
Waiting for a request takes no CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

WARM_UP = 3
LIMIT_S, LEAST = 2.0, 3  # a slow system runs less often than asked
# Ids of words: above the special tokens, below the end of BERT's vocabulary.
WORDS = (1000, 20000)
Embed = Callable[[Sequence[int]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """embed: token ids (special tokens included) -> f32[width]; bytes: what must be on disk to run it."""

    embed: Embed
    version: str
    bytes: int


def time_ms(embed: Embed, length: int, repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` runs on random tokens, after a warm-up; fewer if they take too long."""
    rng = random.Random(length)
    ids = [101, *(rng.randrange(*WORDS) for _ in range(length - 2)), 102]
    for _ in range(WARM_UP):
        embed(ids)
    times: list[float] = []
    while len(times) < repeats and (len(times) < LEAST or sum(times) < 1e3 * LIMIT_S):
        start = time.perf_counter()
        embed(ids)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def answer(encoder: Encoder, request: dict) -> dict:
    """What one request gets."""
    if request["verb"] == "time":
        return {"ms": time_ms(encoder.embed, request["length"], request["repeats"])}
    if request["verb"] == "embed":
        return {"embeddings": [encoder.embed(row).tolist() for row in request["rows"]]}
    return {"version": encoder.version, "bytes": encoder.bytes}


def serve(load: Callable[[Path, int], Encoder]) -> None:
    """The command line of a worker: `python -m peers.NAME PREPARED --threads N`, requests on stdin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    encoder = load(args.prepared, args.threads)
    for line in sys.stdin:
        print(json.dumps(answer(encoder, json.loads(line))), flush=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
