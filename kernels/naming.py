"""C symbols of kernels, and the sizes every kernel demands."""

from __future__ import annotations

from edgeq.errors import UnsupportedError
from edgeq.kernels.vector import LANES


def symbol(*parts: str | int | float) -> str:
    """A C identifier that says every option: `symbol("scale", 576, 0.125)` is `scale_576_0p125`."""
    return "_".join(_word(p) for p in parts)


def _word(part: str | int | float) -> str:
    text = f"{part:.9g}" if isinstance(part, float) else str(part)
    return text.replace("+", "").replace("-", "m").replace(".", "p").replace(":", "_")


def padded(width: int) -> int:
    """Floats from one row of a tensor of logical width `width` to the next: the next multiple of 16."""
    return -(-width // LANES) * LANES


def whole_vectors(kernel: str, **sizes: int) -> None:
    """Raise UnsupportedError unless every size is a positive multiple of 16, naming the first that is not."""
    for name, size in sizes.items():
        if size <= 0 or size % LANES:
            raise UnsupportedError(f"{kernel}: {name} is {size}; edgeq's kernels need a multiple of {LANES}")
