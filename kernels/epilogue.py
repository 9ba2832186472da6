"""What a linear kernel does with its sums before storing them, and how that is written in an option string.

| option | o |
|---|---|
| `store` | y |
| `add` | r + y |
| `add:<activation>` | activation(r + y) |
| `act:<activation>` | activation(y) |
| `gated:<activation>` | activation(gate) * up, where tiles of 16 outputs alternate gate and up: half as wide |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import activation
from edgeq.kernels import vector as V


@dataclass(frozen=True)
class Epilogue:
    """A parsed option: `kind` is store, add, act or gated; `act` names an activation or is empty."""

    kind: str
    act: str = ""

    @classmethod
    def parse(cls, text: str) -> Epilogue:
        """`"gated:silu"` -> Epilogue; raises UnsupportedError for an option that has no kernel."""
        kind, _, act = text.partition(":")
        takes_act = {"store": (False,), "add": (False, True), "act": (True,), "gated": (True,)}
        if bool(act) not in takes_act.get(kind, ()):
            known = "store, add, add:<name>, act:<name>, gated:<name>"
            raise UnsupportedError(f"no linear kernel with epilogue {text!r}; known: {known}")
        if act and act not in activation.NAMES:
            raise UnsupportedError(f"no kernel for activation {act!r}; known: {', '.join(activation.NAMES)}")
        return cls(kind, act)

    def __str__(self) -> str:
        return f"{self.kind}:{self.act}" if self.act else self.kind

    @property
    def tiles(self) -> int:
        """Weight tiles that make 16 outputs."""
        return 2 if self.kind == "gated" else 1

    def width(self, N: int) -> int:
        """Columns of `o` for a weight of N rows; raises UnsupportedError when gate and up are not whole tiles."""
        if N % 32 and self.kind == "gated":
            raise UnsupportedError(f"epilogue {self}: {N} outputs; gate and up need a multiple of 16 each")
        return -(-N // (16 * self.tiles)) * 16

    def emit(self, y: Sequence[V.Expr], r: V.Memory, o: V.Memory, at: V.Expr) -> None:
        """Store 16 outputs at element `at` of o from one float32x16 a tile."""
        if self.kind == "store":
            o.store(at, y[0])
        elif self.kind == "add":
            total = r.vector(at) + V.fence(y[0])
            o.store(at, activation.apply(self.act, total) if self.act else total)
        elif self.kind == "act":
            o.store(at, activation.apply(self.act, y[0]))
        else:
            o.store(at, activation.apply(self.act, y[0]) * y[1])

    def reference(self, y: np.ndarray, r: np.ndarray | None) -> np.ndarray:
        """y: f64[M, N] -> o: f64[M, width]."""
        if self.kind == "add":
            assert r is not None
            return activation.reference(self.act, y + r) if self.act else y + r
        if self.kind == "act":
            return activation.reference(self.act, y)
        if self.kind == "gated":
            pairs = y.reshape(len(y), -1, 2, 16)
            return (activation.reference(self.act, pairs[:, :, 0]) * pairs[:, :, 1]).reshape(len(y), -1)
        return y
