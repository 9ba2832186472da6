"""The bits grammar: what `--bits` takes, parsed once and printed back.

    fp32 | fp16 | <weights>a<1|4|8|8s|16>[g<32|64|128|256>|pc][a|m][kv<2|4|8|16|32>][head<4|8|fp16|fp32>]
    weights: w1 w2 w3 w4 w8 | t2 t1.6 | nf4 mxfp4 log4t<1|2|3|4|8> log4z<4..8> fp8 fp8e5 | p2 c4 | s8 s4

`w4` weights of 4 bits (the others: `kinds.py`), `a8` activations quantized to int8 per token as they come (`a8s`:
with one scale a tensor, known from samples; `a16`: kept in float), `g64` groups of 64 weights share a scale, `pc`
per-channel (one scale a row), a further `a` asymmetric (a zero point a group), `m` an fp16 offset a group, `kv8` int8
for the KV cache, `head4` the format of the embedding and of the output head. Left out: w4 has groups of 32, w2 and w3
of 64, w8 is per-channel (others: `kinds.py`), the cache is fp16 (fp32 in `fp32`), embedding and head are 8 bits in
groups of 32. The two share one stored tensor where the model ties them; `head4` and `head8` are symmetric groups of
32. `a1` (signs, with `w1` alone) and `a4` keep int8 before the head; `a4` has no kernels: compiling it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeq.errors import UsageError
from edgeq.quant.format import GROUP_SIZES, INTEGER_BITS, WeightFormat
from edgeq.quant.kinds import KINDS, NAMES
from edgeq.quant.support import without_kernel

DEFAULT_GROUP = {2: 64, 3: 64, 4: 32, 8: 0}
WEIGHTS = (*(f"w{bits}" for bits in INTEGER_BITS), *NAMES)
FLOATS = {"fp32": "f32", "fp16": "f16"}
HEADS = {"4": "w4g32", "8": "w8g32", "fp16": "f16", "fp32": "f32"}
KV = {"2": "i2", "4": "i4", "8": "i8", "16": "f16", "32": "f32"}
ACTS = {
    "a1": "signs", "a8": "int8 per token", "a8s": "int8 per tensor (static)", "a4": "int4 per token", "a16": "float",
}  # fmt: skip
KV_WORDS = {
    "i2": "int2 (keys per channel, values per token)", "i4": "int4 (keys per channel, values per token)",
    "i8": "int8 per token and head", "f16": "fp16", "f32": "fp32",
}  # fmt: skip
EXAMPLES = (
    "w4a8, w4a8g128, w8a8, w8a8s (static), w4a16, w4a8kv8, w4a8g64a (asymmetric), w4a8pc (per-channel), w4a8head4, "
    "w3a8, w2a8g64a, t2a8, nf4a16, mxfp4a8, fp8a16, w1a1, fp16, fp32"
)
NOT_YET = {
    "w5": "5-bit", "w6": "6-bit", "w7": "7-bit", "bf16": "BF16", "nvfp4": "NVFP4",
}

_NAMES = "|".join(re.escape(name) for name in sorted(NAMES, key=len, reverse=True))
_WEIGHTS = re.compile(rf"(?P<w>{_NAMES}|w\d+)a(?P<a>\d+s?)(?:g(?P<g>\d+)|(?P<pc>pc))?(?P<beside>[am])?")
_SUFFIX = re.compile(r"kv(?P<kv>\d+)|head(?P<head>fp\d+|\d+)")


@dataclass(frozen=True)
class Bits:
    """What a model is compiled to.

    Attributes:
        weight: format of every linear layer's weight.
        act: activations of those layers: `a8` (int8, a scale a token), `a8s` (int8, one scale a tensor, measured on
            samples), `a4` (int4, a scale a token), `a1` (signs, a scale a token) or `a16` (float).
        kv: stored type of the KV cache: `f32`, `f16`, `i8` (a scale a token and head), `i4` or `i2` (KIVI).
        head: format of the token embedding and of the output head.
    """

    weight: WeightFormat
    act: str
    kv: str
    head: WeightFormat

    def __post_init__(self) -> None:
        _one_of(f"{self.weight}{self.act}", self.act, tuple(ACTS))
        _one_of(f"kv={self.kv}", self.kv, tuple(KV.values()))
        _one_of(f"head={self.head}", str(self.head), tuple(HEADS.values()))
        if self.weight.float_only and self.act != "a16":
            raise UsageError(f"{self.weight} weights take activations in float (a16), not {self.act}")
        if self.act == "a1" and str(self.weight) != "w1":
            raise UsageError(f"signs as activations (a1) go with signs a channel as weights (w1a1), not {self.weight}")

    @classmethod
    def parse(cls, text: str) -> Bits:
        """Text such as `w4a8g64kv8` -> Bits; raises UsageError quoting the part that is not known."""
        plain = text.strip().lower()
        name = next((name for name in FLOATS if plain.startswith(name)), None)
        if name:
            weight, act, kv, head = WeightFormat.parse(FLOATS[name]), "a16", FLOATS[name], FLOATS[name]
            rest = plain[len(name) :]
        else:
            weight, act, rest = _weights(text, plain)
            kv, head = "f16", HEADS["8"]
        found = _suffixes(text, rest)
        return cls(weight, act, found.get("kv", kv), WeightFormat.parse(found.get("head", head)))

    def __str__(self) -> str:
        """The shortest text that parses to this."""
        start, kv, head = self._start(), "f16", HEADS["8"]
        if self.weight.is_float:
            kv = head = str(self.weight)
        names = {stored: text for text, stored in KV.items()}
        heads = {stored: text for text, stored in HEADS.items()}
        tail = "" if self.kv == kv else f"kv{names[self.kv]}"
        return start + tail + ("" if str(self.head) == head else f"head{heads[str(self.head)]}")

    def _start(self) -> str:
        if self.weight.is_float:
            return f"fp{self.weight.bits}"
        size = self.weight.group_size
        group = "" if size == default_group(self.weight.name, self.act) else f"g{size}" if size else "pc"
        beside = "" if self.weight.symmetric else "m" if self.weight.has_offsets else "a"
        return f"{self.weight.name}{self.act}{group}{beside}"

    @property
    def head_act(self) -> str:
        """Activations of the output head: those of the layers, but `a8` for `a4`; `a16` where the head is float."""
        if self.head.is_float:
            return "a16"
        return "a8" if self.act in ("a4", "a1") else self.act

    @property
    def without_kernel(self) -> str:
        """What of this can only be simulated, in words; "" when everything has a kernel."""
        return without_kernel(self.weight, self.act)

    def describe(self, cached: bool = True) -> str:
        """Everything that the text stands for, defaults included, in one line; `cached`: there is a KV cache."""
        act = ACTS[self.act]
        kv = KV_WORDS[self.kv]
        weight, head = _words(self.weight), _words(self.head)
        cache = f"; KV cache {kv}" if cached else ""
        return f"weights {weight}; activations {act}{cache}; embedding and head {head}"


def _words(fmt: WeightFormat) -> str:
    if fmt.is_float:
        return f"fp{fmt.bits}"
    where = f"groups of {fmt.group_size}" if fmt.group_size else "per-channel"
    if fmt.kind == "int":
        return f"{fmt.bits}-bit {where}, {'symmetric' if fmt.symmetric else 'asymmetric'}"
    return f"{fmt.meaning.words or f'{fmt.bits}-bit with offsets'}, {where}"


def default_group(name: str, act: str) -> int:
    """Group size of weights called `name` where nothing is said; 0: per-channel."""
    if act == "a1":
        return 0
    return KINDS[NAMES[name]].default_group if name in NAMES else DEFAULT_GROUP[int(name[1:])]


def _weights(text: str, plain: str) -> tuple[WeightFormat, str, str]:
    """(weight format, activations, what follows them in the text)."""
    match = _WEIGHTS.match(plain)
    if not match:
        raise _unknown(text, plain)
    _one_of(text, match["w"], WEIGHTS)
    _one_of(text, f"a{match['a']}", tuple(ACTS))
    if match["g"]:
        _one_of(text, f"g{match['g']}", tuple(f"g{size}" for size in GROUP_SIZES))
    act = f"a{match['a']}"
    group = int(match["g"]) if match["g"] else 0 if match["pc"] else default_group(match["w"], act)
    return WeightFormat.named(match["w"], group, match["beside"] or ""), act, plain[match.end() :]


def _suffixes(text: str, rest: str) -> dict[str, str]:
    """Of `kv8head4`: {"kv": "i8", "head": "w4g32"}; each at most once, in any order."""
    found: dict[str, str] = {}
    while rest:
        match = _SUFFIX.match(rest)
        if not match:
            raise _unknown(text, rest)
        kind = "kv" if match["kv"] else "head"
        known = KV if kind == "kv" else HEADS
        _one_of(text, match[0], tuple(kind + name for name in known))
        if kind in found:
            raise UsageError(f"--bits {text!r}: {kind!r} is given twice")
        found[kind] = known[match[kind]]
        rest = rest[match.end() :]
    return found


def _one_of(text: str, part: str, known: tuple[str, ...]) -> None:
    if part in known:
        return
    why = f"{NOT_YET[part]} formats are not there yet" if part in NOT_YET else "not known"
    raise UsageError(f"--bits {text!r}: {part!r}: {why}; known: {', '.join(known)}")


def _unknown(text: str, part: str) -> UsageError:
    soon = next((words for name, words in NOT_YET.items() if part.startswith(name)), None)
    why = f"{soon} formats are not there yet" if soon else "not known"
    return UsageError(f"--bits {text!r}: {part!r}: {why}; known: {EXAMPLES}")
