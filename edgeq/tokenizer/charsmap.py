"""Precompiled: sentencepiece's map of characters, and the grapheme clusters that `tokenizers` applies it to."""

from __future__ import annotations

import base64
import json
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from edgeq.errors import ModelError
from edgeq.tokenizer.blob import Section
from edgeq.tokenizer.probe import Mask, probed, spread
from edgeq.tokenizer.program import Builder, Program

CHARSMAP = 8
BETWEEN = "\x01"
ACUTE, JOINER, COPYRIGHT, KA, VIRAMA = "\u0301", "\u200d", "\u00a9", "\u0915", "\u094d"


def compile_charsmap(spec: dict[str, Any], builder: Builder, program: Program) -> None:
    """Append the operation; the trie becomes a section, its texts go to the pool.

    Raises:
        ModelError: a map that is cut off.
    """
    data = base64.b64decode(spec["precompiled_charsmap"])
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 + size or size % 4:
        raise ModelError("tokenizer.json: precompiled_charsmap is cut off")
    builder.blob.sections[Section.CHARSMAP] = data[4 : 4 + size]
    texts = builder.blob.string(data[4 + size :])
    program.add(CHARSMAP, *texts, *(builder.kinds.add(mask) for mask in cluster_masks()))


@lru_cache(maxsize=1)
def cluster_masks() -> tuple[Mask, ...]:
    """The predicates of `charsmap.c`, in its order.

    A map that turns any cluster under six bytes, and any single character, into X shows where clusters end: longer
    clusters give an X a character.
    """
    prepends = _counted("", "a", 1)  # joined to a letter after it
    control = _counted("", ACUTE + "\u0302", 2)  # the marks stay a cluster of their own
    control[ord(BETWEEN)] = True
    return (
        _counted("a", "", 1),  # extends: joined to a letter before it
        prepends,
        control,
        _counted("", JOINER + COPYRIGHT + ACUTE, 4),  # picture: all in one cluster
        _counted(KA, KA + ACUTE, 4) & ~prepends,  # linker
        _counted("", VIRAMA + KA + ACUTE, 4),  # consonant
        _counted(KA + VIRAMA, KA + ACUTE, 5),  # transparent: a linker still links past it
    )


def _counted(before: str, after: str, count: int) -> Mask:
    """Code points that, between these texts, give so many X."""
    codes = probed()[probed() != ord(BETWEEN)]
    text = BETWEEN.join(before + chr(code) + after for code in codes)
    lengths = np.array([len(line) for line in _counter().normalize_str(text).split(BETWEEN)])
    return spread(codes[lengths == count])


@lru_cache(maxsize=1)
def _counter() -> Any:
    """A map with a key for every first byte but BETWEEN's; each stands for X."""
    from tokenizers import normalizers

    units = np.zeros(1024, dtype=np.uint32)
    units[0] = 256 << 10
    for byte in range(2, 256):
        units[256 ^ byte] = byte | 1 << 8 | 512 << 10
    data = struct.pack("<I", units.nbytes) + units.tobytes() + b"X\0"
    state = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}
    normalizer = normalizers.NFC()
    normalizer.__setstate__(json.dumps(state).encode())
    return normalizer
