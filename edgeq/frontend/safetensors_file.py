"""Safetensors read by rows with pread: no mapping stays behind, so resident memory is what the caller holds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edgeq.errors import ModelError
from edgeq.frontend.read_bytes import read_bytes

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors library


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: start and size in bytes from the file's beginning."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of one file, every offset checked.

    Raises:
        ModelError: no file, a damaged header, or a file shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if 2 <= length <= MAX_HEADER else b""
        table = json.loads(text)
        table.pop("__metadata__", None)
        entries = {name: _entry(path, 8 + length, raw) for name, raw in table.items()}
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: the checkpoint is incomplete, download it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} has a damaged safetensors header ({error}); download it again") from error
    end, actual = max((e.start + e.size for e in entries.values()), default=0), path.stat().st_size
    if end > actual:
        raise ModelError(f"{path} is cut short: {actual} bytes of {end}; download it again")
    return entries


def _entry(path: Path, data: int, raw: dict) -> Entry:
    begin, end = raw["data_offsets"]
    shape = tuple(int(n) for n in raw["shape"])
    if raw["dtype"] not in DTYPES:
        raise ModelError(f"{path} holds tensors of dtype {raw['dtype']}, which edgeq does not read")
    size = math.prod(shape) * DTYPES[raw["dtype"]].itemsize
    if begin < 0 or end - begin != size:
        raise ValueError(f"offsets {begin}..{end} for {raw['dtype']}{list(shape)}")
    return Entry(path, raw["dtype"], shape, data + begin, size)


class SafetensorsWeights:
    """The tensors of one or several safetensors files."""

    def __init__(self, paths: list[Path]) -> None:
        self.entries: dict[str, Entry] = {}
        for path in paths:
            self.entries.update(read_header(path))

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape, from the header."""
        return self._entry(name).shape

    def dtype(self, name: str) -> str:
        """The safetensors dtype, e.g. `BF16`."""
        return self._entry(name).dtype

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or a range of its first axis; floating point as float32."""
        tensor = self.raw(name, rows)
        return tensor.float() if tensor.is_floating_point() else tensor

    def raw(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or a range of its first axis, in the type in which it is stored."""
        entry = self._entry(name)
        shape, start, size = entry.shape, entry.start, entry.size
        if rows is not None:
            low, high, _ = rows.indices(shape[0])
            row = size // max(shape[0], 1)
            shape, start, size = (high - low, *shape[1:]), start + low * row, (high - low) * row
        raw = torch.from_numpy(read_bytes(entry.path, start, size))
        dtype = DTYPES[entry.dtype]
        return raw.view(dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise ModelError(f"the checkpoint has no tensor {name!r}")
        return self.entries[name]
