"""The header of a GGUF file: metadata and where tensors lie.

Parsed here because the gguf package's reader keeps a view of the whole file per metadata value: it takes seconds on a
vocabulary, and its mapping counts as resident memory.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgeq.errors import ModelError

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LARGEST = 1 << 32  # bytes or elements of one value: beyond that a length field is damaged


@dataclass(frozen=True)
class Tensor:
    """One stored tensor: shape outermost first, the ggml type's number, start in the file and size, in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


@dataclass(frozen=True)
class Header:
    """fields: metadata by key. tensors: by name."""

    fields: dict[str, Any]
    tensors: dict[str, Tensor]


def read_header(path: Path) -> Header:
    """Parse the header.

    Raises:
        ModelError: no GGUF file, a version that is unknown, or a damaged or shortened file.
    """
    try:
        with path.open("rb") as file:
            header = _Reader(file).header()
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing") from error
    except (struct.error, ValueError, KeyError, OverflowError, MemoryError, OSError) as error:
        raise ModelError(f"{path} is not a whole GGUF file ({error}); download it again") from error
    end, actual = max((t.start + t.size for t in header.tensors.values()), default=0), path.stat().st_size
    if end > actual:
        raise ModelError(f"{path} is cut short: {actual} bytes of {end}; download it again")
    return header


class _Reader:
    """Reads little-endian values one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def header(self) -> Header:
        if self.file.read(4) != MAGIC:
            raise ValueError("it does not start with GGUF")
        version = self.scalar("I")
        if version not in VERSIONS:
            raise ValueError(f"version {version}; known are 2 and 3")
        count, pairs = self.scalar("Q"), self.scalar("Q")
        fields = {self.string(): self.value(self.scalar("I")) for _ in range(pairs)}
        infos = [self.tensor_info() for _ in range(count)]
        align = int(fields.get("general.alignment", ALIGNMENT))
        data = -(-self.file.tell() // align) * align
        tensors = {n: Tensor(n, shape, kind, data + at, _size(shape, kind)) for n, shape, kind, at in infos}
        return Header(fields, tensors)

    def scalar(self, code: str) -> Any:
        return self.scalars(code, 1)[0]

    def scalars(self, code: str, count: int) -> tuple:
        size = struct.calcsize(f"<{code}") * count
        return struct.unpack(f"<{count}{code}", self.bytes(size))

    def bytes(self, size: int) -> bytes:
        if size > LARGEST:
            raise ValueError(f"a value of {size} bytes")
        raw = self.file.read(size)
        if len(raw) != size:
            raise ValueError("it ends inside its header")
        return raw

    def string(self) -> str:
        return self.bytes(self.scalar("Q")).decode("utf-8", errors="surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        return self.scalar(SCALARS[kind])

    def array(self) -> list:
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind in SCALARS:
            return list(self.scalars(SCALARS[kind], count))
        if count > LARGEST:
            raise ValueError(f"a list of {count} values")
        return [self.value(kind) for _ in range(count)]

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        name, axes = self.string(), self.scalar("I")
        shape = tuple(reversed(self.scalars("Q", axes)))
        return name, shape, self.scalar("I"), self.scalar("Q")


def _size(shape: tuple[int, ...], kind: int) -> int:
    """Bytes of a tensor."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    return math.prod(shape) // block * block_bytes
