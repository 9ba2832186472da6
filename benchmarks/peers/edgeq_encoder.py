"""edgeq's own artifact of a sentence encoder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from peers.encoder_worker import Encoder, serve, size_of


def prepare(folder: Path, prepared: Path, bits: str, lengths: Sequence[int]) -> None:
    """`edgeq compile` of this Python's own edgeq, one entry a length."""
    buckets = ",".join(map(str, lengths))
    program = Path(sys.executable).with_name("edgeq")
    command = [program, "compile", folder, "--bits", bits, "--lengths", buckets, "-o", prepared]
    subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)


def load(prepared: Path, threads: int) -> Encoder:
    """A session; a row of tokens is padded to the shortest bucket that holds it."""
    import edgeq
    from edgeq.runtime.loader import Session

    session = Session(prepared, threads=threads)
    buckets = sorted((entry.inputs[0].shape[1], entry) for entry in session.entries if entry.inputs[0].shape[0] == 1)

    def embed(ids: Sequence[int]) -> np.ndarray:
        length, entry = next(bucket for bucket in buckets if bucket[0] >= len(ids))
        given = {tensor.name: np.zeros((1, length), np.int32) for tensor in entry.inputs}
        given["input_ids"][0, : len(ids)] = ids
        given["attention_mask"][0, : len(ids)] = 1
        return session.run(entry.name, **given)["sentence_embedding"][0]

    return Encoder(embed, f"edgeq {edgeq.__version__}", size_of(prepared))


if __name__ == "__main__":
    serve(load)
