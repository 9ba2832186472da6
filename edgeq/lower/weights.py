"""The tensors of the weights file, in the order in which decode reads them, each with how to make its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import fx
from xxhash import xxh64_hexdigest

from edgeq.frontend.export import attribute
from edgeq.frontend.weights import Weights, evaluate
from edgeq.ir.ops.grid import SOURCES
from edgeq.kernels import binary_pack
from edgeq.lower.node import expression
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack
from edgeq.quant.quantizer import quantize

TILE = 16
SIGNS = WeightFormat.parse("w1")
STORED_BYTES = {"F32": 4.0, "BF16": 2.0, "F16": 2.0, "Q4_0": 18 / 32, "Q4_1": 20 / 32, "Q8_0": 34 / 32}  # a weight
CHUNK_ROWS = 4096  # rows quantized at a time: bounds memory, large enough to keep numpy busy
Chunks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file: `chunks()` streams its bytes.

    `shape` is the file's, `logical` the model's before padding and packing; `sources` are the Hugging Face tensors that
    it is made of and `source_bytes` what they take in the checkpoint.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunks: Chunks
    format: str
    logical: tuple[int, ...]
    sources: tuple[str, ...] = ()
    source_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return prod(self.shape) * {"U8": 1, "F32": 4, "I32": 4}[self.dtype]


def padded(n: int) -> int:
    """n rounded up to whole tiles of 16 rows."""
    return -(-n // TILE) * TILE


class WeightTable:
    """Registers tensors on first use and names them after the Hugging Face tensor they come from.

    `ranges`: how a group's scale is chosen at 4 bits (`edgeq.quant.ranges`); wider formats cover every value.
    """

    def __init__(self, weights: Weights, ranges: str = "minmax") -> None:
        self.weights, self.ranges = weights, ranges
        self.tensors: dict[str, Tensor] = {}
        self._by_key: dict[str, str] = {}

    def matrix(
        self, node: fx.Node, fmt: WeightFormat, interleave: bool, scale: fx.Node | None = None,
        zero: fx.Node | None = None,
    ) -> str:  # fmt: skip
        """Packed matrix [N, K] of a weight expression; `interleave` alternates tiles of its first and second half.

        K is padded with zero columns to a multiple of 16. With `scale` (and `zero`, where the format is asymmetric) the
        node's value is codes, and they are packed as they are.
        """
        n, k = (int(d) for d in node.meta["val"].shape)
        shape = (padded(n) // TILE * fmt.tile_bytes(padded(k)),)
        method = self.ranges if fmt.bits <= 4 else "minmax"
        tables = [table for table in (node, scale, zero) if table is not None]
        parts = [_interleaved(t, self.weights) if interleave else _plain(t, self.weights) for t in tables]
        layout = f"{fmt}{'~' if interleave else ''}"

        def chunks() -> Iterator[np.ndarray]:
            if scale is None:
                return _pack(parts[0](), fmt, method, _short_name(node))
            return _pack_stored(parts, fmt)

        return self._add(node, str(fmt), layout, "U8", shape, chunks, tuple(tables[1:]))

    def signs(self, node: fx.Node, interleave: bool, scale: fx.Node | None = None) -> str:
        """A matrix [N, K] as signs and a scale a row, as `kernels/binary_pack.py` stores it; arguments as `matrix`."""
        n, k = (int(d) for d in node.meta["val"].shape)
        tables = [table for table in (node, scale) if table is not None]
        parts = [_interleaved(t, self.weights) if interleave else _plain(t, self.weights) for t in tables]

        def chunks() -> Iterator[np.ndarray]:
            for found in zip(*(part() for part in parts), strict=True):
                codes, scales = found if scale is not None else quantize(_pad_columns(found[0]), SIGNS)[:2]
                yield binary_pack.pack(codes[:, :k].astype(np.int8) * 2 - 1, scales[:, 0])

        layout = f"signs{'~' if interleave else ''}"
        return self._add(node, str(SIGNS), layout, "U8", (binary_pack.FORMAT.nbytes(n, k),), chunks, tuple(tables[1:]))

    def vector(self, node: fx.Node, interleave: bool = False) -> str:
        """Float32 vector (a bias, a norm's weight), padded to 16."""
        n = padded(int(node.meta["val"].shape[0]))

        def chunks() -> Iterator[np.ndarray]:
            x = _pad(_float(node, self.weights))
            yield _alternate(x) if interleave else x

        return self._add(node, "f32", "vector~" if interleave else "vector", "F32", (n,), chunks)

    def table(self, node: fx.Node) -> str:
        """Row-major tensor: float32, or int32 for integers and bools (position tables, constants of glue)."""
        value = node.meta["val"]
        shape = tuple(int(d) for d in value.shape) or (1,)
        if value.dtype.is_floating_point:
            return self._add(node, "f32", "table", "F32", shape, lambda: iter([_float(node, self.weights)]))
        return self._add(node, "i32", "table", "I32", shape, lambda: iter([_integers(node, self.weights)]))

    def rows(self, node: fx.Node) -> str:
        """Float32 tensor whose rows are padded to multiples of 16 (what attention adds to its scores)."""
        shape = tuple(int(d) for d in node.meta["val"].shape)
        whole = (*shape[:-1], padded(shape[-1]))
        return self._add(node, "f32", "rows", "F32", whole, lambda: iter([_pad_columns(_float(node, self.weights))]))

    def index(self, node: fx.Node) -> str:
        """Indices i32 `[n]`, filled up with -1 to a multiple of 16."""
        n = padded(int(node.meta["val"].shape[0]))

        def chunks() -> Iterator[np.ndarray]:
            x = _integers(node, self.weights)
            yield np.pad(x, (0, n - len(x)), constant_values=-1)

        return self._add(node, "i32", "index", "I32", (n,), chunks)

    def constant(self, name: str, values: np.ndarray) -> str:
        """Values computed by the compiler (rotary tables), equal values once."""
        key = f"{values.shape}{hash(values.tobytes())}"
        if key not in self._by_key:
            self._by_key[key] = self._unique(name)
            unique = self._by_key[key]
            self.tensors[unique] = Tensor(unique, "F32", values.shape, lambda: iter([values]), "f32", values.shape)
        return self._by_key[key]

    def _add(
        self, node: fx.Node, fmt: str, layout: str, dtype: str, shape: tuple[int, ...], chunks: Chunks,
        beside: tuple[fx.Node, ...] = (),
    ) -> str:  # fmt: skip
        key = ":".join((layout, *(f"{expression(part)}{_constants(part)}" for part in (node, *beside))))
        if key not in self._by_key:
            name = self._unique(_short_name(node))
            self._by_key[key] = name
            logical = tuple(int(d) for d in node.meta["val"].shape)
            sources = tuple(_sources(node))
            before = prod(logical) * self._bytes_per_weight(sources)
            self.tensors[name] = Tensor(name, dtype, shape, chunks, fmt, logical, sources, int(before))
        return self._by_key[key]

    def _bytes_per_weight(self, sources: tuple[str, ...]) -> float:
        """Of the checkpoint's storage type; 4 for buffers that the model computes."""
        known = set(self.weights.names())
        packed = getattr(self.weights, "packed_bytes", lambda name: 0.0)
        if before := [packed(name) for name in sources if name in known and packed(name)]:
            return before[0]
        dtypes = [self.weights.dtype(name) for name in sources if name in known]
        return STORED_BYTES.get(dtypes[0], 4.0) if dtypes else 4.0

    def _unique(self, name: str) -> str:
        taken = sum(t == name or t.startswith(name + "#") for t in self.tensors)
        return name if not taken else f"{name}#{taken}"


def _short_name(node: fx.Node) -> str:
    """The tensor's own name, or the parts of a concatenation joined: `...self_attn.q_proj+k_proj+v_proj.weight`.

    Tensors of another rank that were folded in (a norm's gamma into a matrix) are left out of the name.
    """
    stored = _sources(node)
    alike = [name for name, rank in stored.items() if rank == node.meta["val"].dim()]
    leaves = alike or list(stored)
    if not leaves:
        return "constant"
    head, tail = leaves[0].rsplit(".", 1) if "." in leaves[0] else (leaves[0], "")
    others = [x.rsplit(".", 2)[-2] for x in dict.fromkeys(leaves[1:]) if x != leaves[0] and x.count(".") > 1]
    return "+".join([head, *others]) + (f".{tail}" if tail else "")


def _sources(node: fx.Node) -> dict[str, int]:
    """The checkpoint's tensors in an expression, and what codes were made of: name -> rank, in order."""
    found: dict[str, int] = {}
    for leaf in _leaves(node):
        named = {} if _is_constant(leaf) else {str(leaf.target): leaf.meta["val"].dim()}
        found |= leaf.meta.get(SOURCES, named)
    return found


def _leaves(node: fx.Node) -> list[fx.Node]:
    return [node] if node.op == "get_attr" else [leaf for i in node.all_input_nodes for leaf in _leaves(i)]


def _constants(node: fx.Node) -> str:
    """Digests of the constants in an expression: entries use the same names for different values."""
    leaves = [leaf for leaf in _leaves(node) if _is_constant(leaf)]
    held = [attribute(leaf.graph.owning_module, str(leaf.target)).contiguous().numpy() for leaf in leaves]
    return "".join(f":{x.shape}{xxh64_hexdigest(x.tobytes())}" for x in held)


def _is_constant(leaf: fx.Node) -> bool:
    """A tensor that a pass computed and the graph itself holds, as opposed to one of the checkpoint."""
    owner = leaf.graph.owning_module
    held = owner._buffers.get(str(leaf.target)) if owner is not None else None
    return held is not None and held.device.type != "meta"


def _float(node: fx.Node, weights: Weights, rows: slice | None = None) -> np.ndarray:
    """Values as float32; codes and zero points as they are."""
    found = evaluate(node, weights, rows).detach()
    return (found if found.dtype == torch.uint8 else found.to(torch.float32)).contiguous().numpy()


def _integers(node: fx.Node, weights: Weights) -> np.ndarray:
    return evaluate(node, weights).detach().to(torch.int32).contiguous().numpy()


def _pad_columns(x: np.ndarray) -> np.ndarray:
    """Zeros behind the last axis up to a multiple of 16."""
    extra = padded(x.shape[-1]) - x.shape[-1]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, extra)]) if extra else x


def _pad(x: np.ndarray) -> np.ndarray:
    """Zero rows up to whole tiles."""
    extra = padded(x.shape[0]) - x.shape[0]
    return np.concatenate([x, np.zeros((extra, *x.shape[1:]), x.dtype)]) if extra else x


def _alternate(x: np.ndarray) -> np.ndarray:
    """Rows of the first and the second half, alternating in tiles of 16."""
    return np.ascontiguousarray(x.reshape(2, -1, TILE, *x.shape[1:]).swapaxes(0, 1)).reshape(x.shape)


def _plain(node: fx.Node, weights: Weights) -> Chunks:
    n = int(node.meta["val"].shape[0])

    def rows() -> Iterator[np.ndarray]:
        for start in range(0, n, CHUNK_ROWS):
            yield _pad(_float(node, weights, slice(start, min(start + CHUNK_ROWS, n))))

    return rows


def _interleaved(node: fx.Node, weights: Weights) -> Chunks:
    half, step = int(node.meta["val"].shape[0]) // 2, CHUNK_ROWS // 2

    def rows() -> Iterator[np.ndarray]:
        for start in range(0, half, step):
            stop = min(start + step, half)
            parts = [_float(node, weights, slice(base + start, base + stop)) for base in (0, half)]
            yield _alternate(np.concatenate(parts))

    return rows


def _pack(chunks: Iterator[np.ndarray], fmt: WeightFormat, method: str, name: str) -> Iterator[np.ndarray]:
    for w in map(_pad_columns, chunks):
        yield pack(*quantize(w, fmt, method, name), fmt).reshape(-1).view(np.uint8)


def _pack_stored(parts: list[Chunks], fmt: WeightFormat) -> Iterator[np.ndarray]:
    """Codes, scales and zero points by the same rows; columns that pad a row hold what is nearest to nothing."""
    for codes, scale, *rest in zip(*(part() for part in parts), strict=True):
        zero = rest[0] if rest else None
        extra = padded(codes.shape[1]) - codes.shape[1]
        if extra:
            point = zero[:, -1:] if zero is not None and fmt.kind == "int" else np.uint8(_nothing(fmt))
            codes = np.concatenate([codes, np.broadcast_to(point, (len(codes), extra))], axis=1)
        yield pack(codes, scale.astype(np.float16), zero, fmt).reshape(-1).view(np.uint8)


def _nothing(fmt: WeightFormat) -> int:
    """The code of a weight that pads a row; activations are zero there, so that its value never counts."""
    if (levels := fmt.levels) is not None:
        return min(range(fmt.codes), key=lambda code: abs(levels[code]))
    return fmt.zero_point or 0
