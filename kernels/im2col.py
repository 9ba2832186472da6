"""Patches of an image as rows, so that a convolution is a linear layer: channels last, zeros outside the image.

A row of the window is one run of memory where pixels lie side by side (`ldx == C`, no dilation), else a copy a tap.
Copies are whole vectors, then a tail of 8, 4, 2 and 1 floats: nothing is read or written beside what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import LANES, Expr, Memory, branch, f32, function, i32, let, loop, splat
from edgeq.targets.isa import Isa

Pair = tuple[int, int]


@factory
def im2col(
    B: int, H: int, W: int, C: int, ldx: int, kernel: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Kernel:  # fmt: skip
    """x: f32[B*H*W][ldx] -> o: f32[B*OH*OW][padded(kh*kw*C)]; parameters x, o; unit: output row `b * OH + oh`.

    A row of o is the window under one output pixel: its rows, then its columns, then C channels, then zeros. Every
    option is (vertical, horizontal); all sizes are those of `edgeq.im2col`. Raises UnsupportedError when o is empty.
    """
    pairs = [(int(p[0]), int(p[1])) for p in (kernel, stride, padding, dilation)]
    window = _Window(B, H, W, C, ldx, *pairs)
    oh, ow = window.outputs
    if min(oh, ow, C) < 1 or ldx < C or min(window.stride + window.dilation) < 1:
        raise UnsupportedError(f"im2col: no output for {window}")
    parts = [window.kernel, window.stride, window.padding, window.dilation]
    name = symbol("im2col", B, H, W, C, ldx, *("x".join(map(str, p)) for p in parts))

    def body(lo: Expr, hi: Expr, x: Memory, o: Memory) -> None:
        with loop(lo, hi) as unit:
            example = let(unit // oh)
            top = let((unit - example * oh) * window.stride[0] - window.padding[0])
            with loop(0, ow) as column:
                left = let(column * window.stride[1] - window.padding[1])
                window.emit(x, o, let(example * H), top, left, let((unit * ow + column) * window.width))

    def build(isa: Isa) -> Any:
        return function(name, isa, [], {"x": "float32", "o": "float32"}, body)

    return Kernel(name, (Param("x", "in"), Param("o", "out")), build, "output row of pixels")


def reference(
    x: np.ndarray, kernel: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1)
) -> np.ndarray:
    """[B, H, W, C] -> [B, OH, OW, kh*kw*C], exact."""
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    span = [dilation[a] * (kernel[a] - 1) + 1 for a in (0, 1)]
    windows = np.lib.stride_tricks.sliding_window_view(x, span, (1, 2))[:, :: stride[0], :: stride[1]]
    taps = windows[..., :: dilation[0], :: dilation[1]]  # [B, OH, OW, C, kh, kw]
    return taps.transpose(0, 1, 2, 4, 5, 3).reshape(*taps.shape[:3], -1)


@dataclass(frozen=True)
class _Window:
    """The convolution's geometry; pairs are (vertical, horizontal)."""

    B: int
    H: int
    W: int
    C: int
    ldx: int
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def outputs(self) -> Pair:
        """OH, OW."""
        spans = (self.dilation[a] * (self.kernel[a] - 1) + 1 for a in (0, 1))
        sizes = zip((self.H, self.W), self.padding, spans, self.stride, strict=True)
        oh, ow = ((size + 2 * p - span) // s + 1 for size, p, span, s in sizes)
        return oh, ow

    @property
    def used(self) -> int:
        """Logical width of a row of o."""
        return self.kernel[0] * self.kernel[1] * self.C

    @property
    def width(self) -> int:
        """Floats from one row of o to the next."""
        return padded(self.used)

    def emit(self, x: Memory, o: Memory, first: Expr, top: Expr, left: Expr, at: Expr) -> None:
        """The window whose upper left tap is (top, left) of the image that starts at row `first` of pixels -> o[at]."""
        run, (kh, kw), (dh, dw) = self.kernel[1] * self.C, self.kernel, self.dilation
        inside = let((left >= 0) & (left + (kw - 1) * dw < self.W)) if self.padding[1] else None
        with loop(0, kh) as i:
            y, to = let(top + i * dh), let(at + i * run)
            line = let((first + y) * self.W)

            def present(line: Expr = line, to: Expr = to) -> None:
                if inside is None:
                    self._row(x, o, let((line + left) * self.ldx), to)
                else:
                    branch(inside, lambda: self._row(x, o, let((line + left) * self.ldx), to),
                           lambda: self._border(x, o, line, left, to))  # fmt: skip

            if self.padding[0]:
                branch((y >= 0) & (y < self.H), present, partial(_fill, o, to, run))
            else:
                present()
        _fill(o, at + self.used, self.width - self.used)

    def _row(self, x: Memory, o: Memory, at: Expr, to: Expr) -> None:
        """A row of the window that lies inside the image."""
        if self.ldx == self.C and self.dilation[1] == 1:
            _copy(x, at, o, to, self.kernel[1] * self.C)
            return
        with loop(0, self.kernel[1]) as j:
            _copy(x, let(at + j * (self.dilation[1] * self.ldx)), o, let(to + j * self.C), self.C)

    def _border(self, x: Memory, o: Memory, line: Expr, left: Expr, to: Expr) -> None:
        """A row of the window of which some taps lie outside."""
        with loop(0, self.kernel[1]) as j:
            column, at = let(left + j * self.dilation[1]), let(to + j * self.C)
            branch((column >= 0) & (column < self.W),
                   lambda: _copy(x, let((line + column) * self.ldx), o, at, self.C),
                   lambda: _fill(o, at, self.C))  # fmt: skip


def _copy(x: Memory, at: Expr, o: Memory, to: Expr, count: int) -> None:
    _pieces(count, lambda i, lanes: o.store(to + i, x[at + i] if lanes == 1 else x.vector(at + i, lanes)))


def _fill(o: Memory, to: Expr, count: int) -> None:
    _pieces(count, lambda i, lanes: o.store(to + i, splat(0.0, lanes) if lanes > 1 else f32(0.0)))


def _pieces(count: int, emit: Callable[[Expr, int], None]) -> None:
    """emit(first, lanes) over `count` elements: whole vectors in a loop, then smaller powers of two."""
    if count >= LANES:
        with loop(0, count // LANES) as i:
            emit(i * LANES, LANES)
    done, lanes = count // LANES * LANES, LANES
    while done < count:
        lanes //= 2
        if count - done >= lanes:
            emit(i32(done), lanes)
            done += lanes
