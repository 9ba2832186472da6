"""The quantized tensors of a GGUF file."""

from __future__ import annotations

from functools import partial

from edgeq.errors import UsageError
from edgeq.frontend.gguf_file import GgufWeights
from edgeq.frontend.gguf_header import Tensor
from edgeq.imports.checkpoint import ImportedWeights
from edgeq.imports.gguf_blocks import TYPES, held
from edgeq.imports.held import Held
from edgeq.imports.packed import Packed, Parts

FLOATS = ("F64", "F32", "F16", "BF16")
TRANSPOSED = "gpt2"  # whose matrices Hugging Face keeps the other way round


def holds_codes(tensor: Tensor) -> bool:
    """Whether a stored tensor is quantized."""
    import gguf

    return gguf.GGMLQuantizationType(tensor.kind).name not in FLOATS


def imported_gguf(weights: GgufWeights) -> ImportedWeights | GgufWeights:
    """The same checkpoint, giving codes too; as it is where nothing in it is quantized."""
    packed = [_packed(weights, name) for name in weights.names() if weights.dtype(name) not in FLOATS]
    return ImportedWeights(weights, packed, weights.read) if packed else weights


def _packed(weights: GgufWeights, name: str) -> Packed:
    kind, stored = weights.dtype(name), weights.file.tensors[weights.stored[name]]
    rows, columns = weights.shape(name)
    read = partial(_read, kind=kind, rows=rows)
    if weights.file.architecture == TRANSPOSED and weights.stored[name].startswith("blk."):
        read = partial(_refuse, why="the model keeps this matrix transposed")
    return Packed(name, (rows, columns), f"GGUF {kind}", {"blocks": name}, read, stored.size)


def _read(parts: Parts, kind: str, rows: int) -> Held:
    if kind not in TYPES:
        raise UsageError(f"no format of ours has the grid of {kind}")
    return held(kind, parts["blocks"].numpy(), rows)


def _refuse(parts: Parts, why: str) -> Held:
    raise UsageError(why)
