"""Tensors in a file that is written whole or not at all, in safetensors' format, and checked by hash when read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import xxhash
from torch import Tensor

from edgeq.artifact.space import cannot_write
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

TEMPORARY = ".tmp"
READ_BYTES = 1 << 22
NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors of any layout one by one (no copy of all is made); the xxh64 of the file, hexadecimal.

    Raises OutputError when it cannot be written; then no part of it stays.
    """
    digest = xxhash.xxh64()

    def pieces() -> Iterator[Buffer]:
        for piece in chain([_header(tensors)], map(_bytes, tensors.values())):
            digest.update(piece)
            yield piece

    replace_file(path, pieces())
    return digest.hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors, in memory of their own (aligned as torch's are, so that kernels add in the same order)."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)


def file_hash(path: Path) -> str:
    """xxh64 of a file; UsageError when it cannot be read."""
    digest = xxhash.xxh64()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def replace_file(path: Path, pieces: Iterable[Buffer]) -> None:
    """Write a file beside and rename it; OutputError, and nothing left behind, when that fails.

    It is not forced to the disk, which may take seconds: of a power cut (not of a kill) the hash tells.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    entries, at = {}, 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> Buffer:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""
