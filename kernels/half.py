"""float32 -> float16 bits, rounded to nearest even, also where the CPU has no instruction for it."""

from __future__ import annotations

from edgeq.kernels.vector import LANES, Expr, bits, cast, let, select, splat
from edgeq.targets.isa import Isa

_HALF_DENORMAL, _HALF_INFINITY, _INFINITY = 0x38800000, 0x47800000, 0x7F800000  # float32 bits of 2**-14, 2**16, inf


def half_bits(isa: Isa, x: Expr) -> Expr:
    """float32x16 -> int16x16, the bits of float16; a NaN stays one.

    Without the instruction: integer arithmetic, after "Float->half variants" (Fabian Giesen, public domain), instead of
    a library call a lane.
    """
    if isa.half:
        return bits(f"int16x{LANES}", cast("float16", x))
    whole = let(bits(f"int32x{LANES}", x))
    size = let(whole & splat(0x7FFFFFFF))
    # adding 0.5 leaves a denormal half in the low mantissa bits, rounded by the addition
    tiny = bits(f"int32x{LANES}", bits(f"float32x{LANES}", size) + splat(0.5)) - splat(0x3F000000)
    odd = (size >> splat(13)) & splat(1)
    normal = (size + odd + splat(0xFFF - (112 << 23))) >> splat(13)
    special = select(size > splat(_INFINITY), splat(0x7E00) | ((size >> splat(13)) & splat(0x3FF)), splat(0x7C00))
    value = select(size < splat(_HALF_DENORMAL), tiny, select(size < splat(_HALF_INFINITY), normal, special))
    return let(cast("int16", value | ((whole >> splat(16)) & splat(0x8000))))
