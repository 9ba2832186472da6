"""What codes mean, by kind of format: whole numbers less a zero point, or levels from a table.

| kind | text | codes | value |
|---|---|---|---|
| int | `w4` | `0 .. 2^bits - 1` | `(code - zero) * scale` |
| min | `w4g32m` | `0 .. 2^bits - 1` | `code * scale - offset`, both f16 (GGUF's Q4_1) |
| binary | `w1` | 0, 1 | `(2 code - 1) * scale` |
| ternary, trits | `t2`, `t1.6` | 0, 1, 2 | `(code - 1) * scale`; stored in 2 bits, or five in a byte |
| nf | `nf4` | 0 .. 15 | `level * scale`: NF4 (QLoRA, appendix E), its levels rounded to 1/127 |
| nfm | `nf4g64m` | 0 .. 15 | `level * scale - offset` (IR-QLoRA's calibration, `icq.py`); float activations only |
| mx | `mxfp4` | sign, E2M1 | `level * scale`, levels in half units; scale a power of two (OCP MX 1.0) |
| log | `log4t2` | sign, 3 bits | `level * scale`: `127 * 2^(-(7 - c) / tau)` rounded (PTQ4SAM, Reg-PTQ) |
| logz | `log4z7` | sign, 3 bits | the same with tau in quarters (7/4); the smallest negative level is 0 instead |
| e4m3, e5m2 | `fp8`, `fp8e5` | a byte | the float it stands for, times scale; float activations only |
| planes | `p2` | b1 + 2 b2 | `scale1 * b1 + scale2 * b2` (DB-LLM, FDB) |
| codebook | `c4` | 0 .. 3 | one of four f16 a group (BiLLM) |
| sparse8, sparse4 | `s8`, `s4` | as `w8`, `w4` | the same; two of four weights are 0, not stored (`sparse.py`) |

Levels are whole numbers from -128 to 127, so that integer dot products are exact and the same on every CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_E2M1 = (0, 1, 2, 3, 4, 6, 8, 12)  # in halves
GRANULARITIES = (1, 2, 3, 4, 8)
QUARTERS = (4, 5, 6, 7, 8)  # granularities of logarithmic levels with a zero, times 4
TRIT = 0  # width of a field that holds a ternary digit


@dataclass(frozen=True)
class Kind:
    """What a kind of format stores beside its codes.

    Attributes:
        bits: of a code; 0: any of int's.
        planes: widths in bits of the fields that codes are split into, lowest first; `TRIT`: five digits in a byte.
        levels: what each code stands for, times the scale; None: a rule.
        numbers: f16 numbers a group.
        scale_bytes: of each of those as stored.
        default_group: weights of a group where nothing is said; 0: per-channel.
        groups: group sizes that may be said, () = any that is known, per-channel too.
        float_only: activations must stay in float.
        words: what to call it in a sentence.
        sparse: stored without the zeros, two of four weights each.
    """

    bits: int = 0
    planes: tuple[int, ...] = ()
    levels: tuple[int, ...] | None = None
    numbers: int = 1
    scale_bytes: int = 2
    default_group: int = 0
    groups: tuple[int, ...] = ()
    float_only: bool = False
    words: str = ""
    sparse: bool = False


def _logarithmic(tau: float) -> tuple[int, ...]:
    up = [round(127 * 2 ** (-(7 - c) / tau)) for c in range(8)]
    return (*up, *(-level for level in up))


def _with_zero(tau: float) -> tuple[int, ...]:
    levels = _logarithmic(tau)
    return (*levels[:8], 0, *levels[9:])


KINDS: dict[str, Kind] = {
    "int": Kind(),
    "min": Kind(groups=(16, 32, 64, 128, 256)),
    "binary": Kind(1, (1,), (-1, 1), default_group=128, words="signs (1 bit)"),
    "ternary": Kind(2, (2,), (-1, 0, 1), default_group=128, words="ternary in 2 bits"),
    "trits": Kind(2, (TRIT,), (-1, 0, 1), default_group=256, words="ternary in 1.6 bits"),
    "nf": Kind(4, (4,), tuple(round(127 * level) for level in NF4), default_group=64, words="NF4"),
    "nfm": Kind(
        4, (4,), tuple(round(127 * level) for level in NF4), default_group=64, groups=(32, 64, 128, 256),
        float_only=True, words="NF4 with offsets",
    ),
    "mx": Kind(
        4, (4,), (*_E2M1, *(-level for level in _E2M1)), scale_bytes=1, default_group=32, groups=(32,), words="MXFP4"
    ),
    **{f"log{tau}": Kind(4, (4,), _logarithmic(tau), words=f"4-bit logarithmic, tau {tau}") for tau in GRANULARITIES},
    **{f"logz{n}": Kind(4, (4,), _with_zero(n / 4), words=f"4-bit logarithmic and 0, tau {n / 4:g}") for n in QUARTERS},
    "e4m3": Kind(8, (8,), float_only=True, words="FP8 E4M3"),
    "e5m2": Kind(8, (8,), float_only=True, words="FP8 E5M2"),
    "planes": Kind(2, (2,), numbers=2, default_group=64, words="two 0/1 planes"),
    "codebook": Kind(2, (2,), numbers=4, default_group=128, words="a codebook of four"),
    "sparse8": Kind(8, (8,), sparse=True, words="2:4 sparse 8-bit"),
    "sparse4": Kind(4, (4,), default_group=64, sparse=True, words="2:4 sparse 4-bit"),
}
PLANES: dict[int, tuple[int, ...]] = {1: (1,), 2: (2,), 3: (2, 1), 4: (4,), 8: (8,)}
NAMES: dict[str, str] = {
    "w1": "binary", "t2": "ternary", "t1.6": "trits", "nf4": "nf", "mxfp4": "mx",
    **{f"log4t{tau}": f"log{tau}" for tau in GRANULARITIES},
    **{f"log4z{n}": f"logz{n}" for n in QUARTERS},
    "fp8": "e4m3", "fp8e5": "e5m2", "p2": "planes", "c4": "codebook",
    "s8": "sparse8", "s4": "sparse4",
}  # fmt: skip
TEXTS = {**{kind: text for text, kind in NAMES.items()}, "nfm": "nf4"}
OFFSETS = {"int": "min", "nf": "nfm"}  # kinds that a final `m` gives an fp16 offset a group
