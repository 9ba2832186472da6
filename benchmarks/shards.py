"""Writes a Hugging Face checkpoint (safetensors shards and their index) one tensor at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ITEM_BYTES = {"BF16": 2, "F32": 4}
SHARD_BYTES = 600_000_000
Shapes = dict[str, tuple[int, ...]]


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """uint16: the bf16 nearest to each finite float32 of `values` (ties to even), as bits."""
    bits = values.view(np.uint32)
    # Adding just under half of the dropped part, plus the last kept bit, rounds ties to even.
    bits = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    return (bits >> np.uint32(16)).astype(np.uint16)


def split(shapes: Shapes, item_bytes: int) -> Iterator[Shapes]:
    """Groups of consecutive tensors, each group at least SHARD_BYTES except the last."""
    group: Shapes = {}
    size = 0
    for name, shape in shapes.items():
        group[name] = shape
        size += math.prod(shape) * item_bytes
        if size >= SHARD_BYTES:
            yield group
            group, size = {}, 0
    if group:
        yield group


def header(shapes: Shapes, dtype: str) -> bytes:
    """The safetensors header of one shard: its length in 8 bytes, then JSON padded to 8 bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in shapes.items():
        end = start + math.prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_shard(path: Path, shapes: Shapes, dtype: str, tensor: Callable[[str], np.ndarray]) -> None:
    """Write one shard; `tensor(name)` gives the array, whose bytes are stored as they are."""
    with path.open("wb") as file:
        file.write(header(shapes, dtype))
        for name, shape in shapes.items():
            array = np.ascontiguousarray(tensor(name))
            if array.shape != shape or array.itemsize != ITEM_BYTES[dtype]:
                raise ValueError(f"{name}: got {array.dtype}{array.shape}, want {dtype}{shape}")
            file.write(array.data)


def write_checkpoint(folder: Path, shapes: Shapes, dtype: str, tensor: Callable[[str], np.ndarray]) -> None:
    """Write `folder`/model*.safetensors (with an index if there are several shards)."""
    groups = list(split(shapes, ITEM_BYTES[dtype]))
    if len(groups) == 1:
        write_shard(folder / "model.safetensors", groups[0], dtype, tensor)
        return
    weight_map: dict[str, str] = {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05}-of-{len(groups):05}.safetensors"
        write_shard(folder / name, group, dtype, tensor)
        weight_map |= dict.fromkeys(group, name)
    total = sum(math.prod(shape) for shape in shapes.values()) * ITEM_BYTES[dtype]
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
