"""The weights file: safetensors, written as a stream, hashed on the way; every tensor starts on a 64-byte line.

safetensors allows no holes between tensors, so a tensor whose size is not a multiple of 64 is followed by a small U8
tensor named `<name>.padding`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from edgeq.artifact.space import cannot_write, check_space

ALIGNMENT = 64
ITEM_BYTES = {"U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}


@dataclass(frozen=True)
class TensorSpec:
    """Name, safetensors dtype (`U8`, `F32`, ...) and shape of one tensor of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes, padding not included."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def padding(self) -> int:
        """Bytes that follow it, so that the next tensor is aligned."""
        return -self.nbytes % ALIGNMENT


class WeightsLayout:
    """Where everything lies in a weights file that holds `specs` in this order; known before a byte is written.

    Attributes:
        offsets: name -> byte offset of the tensor after the header (multiples of 64).
        tensor_bytes: bytes after the header. file_bytes: bytes of the whole file.
        header: the file's first bytes: u64 length, JSON, spaces up to a multiple of 64.
    """

    def __init__(self, specs: Sequence[TensorSpec], metadata: Mapping[str, str] | None = None) -> None:
        self.specs = list(specs)
        self.offsets: dict[str, int] = {}
        entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
        at = 0
        for spec in self._with_padding():
            if spec.name in entries:
                raise ValueError(f"two tensors are named {spec.name!r}")
            entries[spec.name] = {
                "dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [at, at + spec.nbytes],
            }  # fmt: skip
            self.offsets[spec.name] = at
            at += spec.nbytes
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % ALIGNMENT)
        self.header = len(text).to_bytes(8, "little") + text
        self.tensor_bytes = at
        self.file_bytes = len(self.header) + at

    def _with_padding(self) -> Iterable[TensorSpec]:
        for spec in self.specs:
            yield spec
            if spec.padding:
                yield TensorSpec(f"{spec.name}.padding", "U8", (spec.padding,))


class WeightsFile:
    """Writes one weights file, tensor after tensor in the order of its specs.

    `with WeightsFile(path, specs) as file: file.add(name, chunks) ...`; afterwards `file.xxh64` (int, seed 0) and
    `file.sha256` (hex) are those of the whole file. Memory stays at one chunk.
    Raises OutputError (disk full: with the bytes that it needs; no permission), and ValueError when the tensors that
    arrive are not those announced: a fault of the caller.
    """

    def __init__(self, path: Path, specs: Sequence[TensorSpec], metadata: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.layout = WeightsLayout(specs, metadata)
        self._waiting = list(reversed(self.layout.specs))
        self._xxh64, self._sha256 = xxhash.xxh64(seed=0), hashlib.sha256()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> WeightsFile:
        check_space(self.path, self.layout.file_bytes)
        try:
            self._file = open(self.path, "wb")
        except OSError as error:
            raise cannot_write(self.path, error, self.layout.file_bytes) from error
        self._write(self.layout.header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        try:
            self._file.close()
        except OSError as failed:
            if error is None:
                raise cannot_write(self.path, failed, self.layout.file_bytes) from failed
        if error is None and self._waiting:
            raise ValueError(f"{self.path.name}: never given: {', '.join(s.name for s in reversed(self._waiting))}")

    def add(self, name: str, chunks: Iterable[NDArray[Any]]) -> None:
        """Write the next tensor; `chunks` are its bytes in order, as arrays of any dtype."""
        spec = self._waiting.pop() if self._waiting else None
        if spec is None or spec.name != name:
            raise ValueError(f"tensor {name!r} given where {spec.name if spec else 'the end'!r} was announced")
        written = 0
        for chunk in chunks:
            data = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
            written += len(data)
            if written > spec.nbytes:
                break
            self._write(data)
        if written != spec.nbytes:
            more = "at least " if written > spec.nbytes else ""
            raise ValueError(f"tensor {name!r}: {spec.nbytes} bytes announced, {more}{written} given")
        self._write(bytes(spec.padding))

    @property
    def xxh64(self) -> int:
        """XXH64, seed 0, of what is written so far."""
        return self._xxh64.intdigest()

    @property
    def sha256(self) -> str:
        """SHA-256 of what is written so far, in hex."""
        return self._sha256.hexdigest()

    def _write(self, data: bytes | memoryview) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot_write(self.path, error, self.layout.file_bytes) from error
        self._xxh64.update(data)
        self._sha256.update(data)
