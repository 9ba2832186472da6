"""Our own exp2, tanh and normal tail: the same bits on every instruction set, no library call.

Every function takes and returns a float32 vector. Coefficients are minimax fits (Lawson iterations) of the functions
named beside them; errors are measured in float32 over the whole range (`tests/kernels/test_activation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.kernels.vector import Expr, absolute, bits, cast, fence, fma, let, maximum, minimum, select, splat

LOG2E = 1.4426950408889634
_ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves round(y) in the low mantissa bits
_EXP2 = (
    1.0,
    0.693147202855,
    0.240226479136,
    0.055503324711,
    0.00961843735787,
    0.00133988744216,
    0.000153533618729,
)
_EXP2_SHORT = (1.0, 0.693124175366, 0.240240998297, 0.0559065842372, 0.00958283650891)
_TANH = (0.999999994, -0.333332293, 0.133304151, -0.0536652805, 0.0204151934, -0.00546826801)  # tanh(u)/u in u*u
_LOG2 = (  # log2(1 + t) / t from sqrt(1/2) - 1 to sqrt(2) - 1
    1.44269477138,
    -0.721357167936,
    0.480939568324,
    -0.360086452195,
    0.286703868632,
    -0.250074392102,
    0.236919915399,
    -0.145764907058,
)
_TAIL = (  # erfc(z) * exp(z*z) / t in t = 1 / (1 + z / 2)
    0.2820864178428542,
    0.28237530891132506,
    0.2431037598958006,
    0.2026868809062148,
    -0.02662569621549085,
    0.27806720980921884,
    -0.4871999481221292,
    0.2845749905452072,
    -0.05906896645678675,
)


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """`coefficients[0] + coefficients[1] * x + ...` by Horner's rule; x must be fixed (`let`)."""
    p = splat(float(coefficients[-1]))
    for c in coefficients[-2::-1]:
        p = fma(p, x, splat(float(c)))
    return p


def exp2(y: Expr, positive: bool = True, short: bool = False) -> Expr:
    """2**y, relative error < 1e-7 from -125 to 126, where it is clamped; exp2(0) is 1, exp2(-127 and less) is 0.

    `positive` false: y is known to be at most 126 and saves its upper clamp; `short`: relative error < 3e-6.
    """
    y = maximum(y, splat(-127.0))
    y = let(fence(minimum(y, splat(126.0)) if positive else y))
    rounded = let(fence(y + splat(_ROUND)))
    p = polynomial(let(y - (rounded - splat(_ROUND))), _EXP2_SHORT if short else _EXP2)
    # p is in [0.7, 1.42]: adding the integer to its exponent field multiplies by a power of two. At the lower clamp p
    # is exactly 1 and the sum exactly 0; p < 1 never meets -127, so that the field never wraps.
    return let(bits("float32x16", bits("int32x16", p) + (bits("int32x16", rounded) << splat(23))))


def log2(x: Expr) -> Expr:
    """log2(x) of a positive normal x, absolute error < 2e-7 from 1/4 to 4 (elsewhere that of its integer part too)."""
    held = let(bits("int32x16", x) + splat(0x3F800000 - 0x3F3504F3))  # 1 instead of sqrt(1/2)
    exponent = let((held >> splat(23)) - splat(127))
    t = let(bits("float32x16", (held & splat(0x7FFFFF)) + splat(0x3F3504F3)) - splat(1.0))
    return let(fma(t, polynomial(t, _LOG2), cast("float32", exponent)))


def tanh(u: Expr) -> Expr:
    """tanh(u), relative error < 3e-7: a polynomial near 0, where 1 - 2 / (1 + exp(2u)) would cancel."""
    u = let(fence(u))
    near = u * polynomial(let(fence(u * u)), _TANH)
    far = splat(1.0) - splat(2.0) / (splat(1.0) + exp2(u * splat(2 * LOG2E)))
    return let(select(absolute(u) < splat(0.65), near, far))


def normal_tail(x: Expr) -> Expr:
    """Probability that a standard normal exceeds |x|: erfc(|x| / sqrt(2)) / 2."""
    z = let(fence(absolute(x) * splat(0.5**0.5)))
    t = let(splat(1.0) / fma(z, splat(0.5), splat(1.0)))
    return let(fence(exp2(z * (z * splat(-LOG2E))) * (t * polynomial(t, [c / 2 for c in _TAIL]))))
