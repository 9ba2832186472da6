"""Normalizers of tokenizer.json as operations for `normalize.c`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tokenizer import probe
from edgeq.tokenizer.blob import NONE, Section
from edgeq.tokenizer.charsmap import CHARSMAP, compile_charsmap
from edgeq.tokenizer.probe import CODES, Mask
from edgeq.tokenizer.program import Builder, Program
from edgeq.tokenizer.unicode_forms import combining_classes, compositions, decompositions

FILTER, MAP, SURROUND, REORDER, COMPOSE, STRIP, PREPEND, REPLACE = range(8)
BYTE_CHARS = CHARSMAP + 1
Spec = dict[str, Any]
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def compile_normalizer(spec: Spec | None, builder: Builder, program: Program) -> None:
    """Append the normalizer's operations.

    Raises:
        UnsupportedError: a normalizer that is not in the table.
    """
    if spec is None:
        return
    if spec["type"] not in NORMALIZERS:
        known = ", ".join(NORMALIZERS)
        raise UnsupportedError(f"tokenizer.json: normalizer {spec['type']}; edgeq's tokenizer has {known}")
    NORMALIZERS[spec["type"]](spec, builder, program)


def _sequence(spec: Spec, builder: Builder, program: Program) -> None:
    for item in spec["normalizers"]:
        compile_normalizer(item, builder, program)


def _map(builder: Builder, program: Program, mapping: dict[int, str], *, hangul: bool = False) -> None:
    mask = np.zeros(CODES, dtype=bool)
    mask[list(mapping)] = True
    program.add(MAP, builder.kinds.add(mask), *builder.add_map(mapping), int(hangul))


def _form(compatible: bool, composed: bool) -> Callable[[Spec, Builder, Program], None]:
    def add(spec: Spec, builder: Builder, program: Program) -> None:
        _map(builder, program, decompositions(compatible), hangul=True)
        builder.blob.put(Section.CCC, sorted(combining_classes().items()))
        program.add(REORDER)
        if composed:
            builder.blob.put(Section.COMPOSE, compositions())
            program.add(COMPOSE)

    return add


def _lowercase(spec: Spec, builder: Builder, program: Program) -> None:
    from tokenizers import normalizers

    _map(builder, program, probe.mapping(normalizers.Lowercase()))


def _strip_accents(spec: Spec, builder: Builder, program: Program) -> None:
    from tokenizers import normalizers

    program.add(FILTER, builder.kinds.add(probe.removed_by(normalizers.StripAccents())))


def _bert(spec: Spec, builder: Builder, program: Program) -> None:
    strip = spec["strip_accents"]
    if spec["clean_text"]:
        cleaned = probe.mapping(_bert_part(clean_text=True), "a")
        program.add(FILTER, builder.kinds.add(_vanishing(cleaned)))
        _map(builder, program, {code: text for code, text in cleaned.items() if text})
    if spec["handle_chinese_chars"]:
        program.add(SURROUND, builder.kinds.add(_chinese()))
    if spec["lowercase"] if strip is None else strip:
        _form(False, False)(spec, builder, program)
        program.add(FILTER, builder.kinds.add(_vanishing(probe.mapping(_bert_part(strip_accents=True)))))
    if spec["lowercase"]:
        _lowercase(spec, builder, program)


def _bert_part(**on: bool) -> Any:
    from tokenizers import normalizers

    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(off | on))


def _vanishing(mapping: dict[int, str]) -> Mask:
    return probe.spread(np.array([code for code, text in mapping.items() if not text], dtype=np.int64))


def _chinese() -> Mask:
    mask = np.zeros(CODES, dtype=bool)
    for first, last in _CHINESE:
        mask[first : last + 1] = True
    return mask


def _nmt(spec: Spec, builder: Builder, program: Program) -> None:
    from tokenizers import normalizers

    _map(builder, program, probe.mapping(normalizers.Nmt(), "a"))


def _strip(spec: Spec, builder: Builder, program: Program) -> None:
    program.add(STRIP, int(spec["strip_left"]), int(spec["strip_right"]))


def _prepend(spec: Spec, builder: Builder, program: Program) -> None:
    program.add(PREPEND, *builder.blob.string(spec["prepend"]))


def _replace(spec: Spec, builder: Builder, program: Program) -> None:
    program.add(REPLACE, *replace_arguments(spec, builder))


def _byte_level(spec: Spec, builder: Builder, program: Program) -> None:
    program.add(BYTE_CHARS)


def replace_arguments(spec: Spec, builder: Builder) -> tuple[int, ...]:
    """Program, plain text, content: the arguments of Replace here and among decoders."""
    return *pattern_arguments(spec, builder), *builder.blob.string(spec["content"])


def pattern_arguments(spec: Spec, builder: Builder) -> tuple[int, ...]:
    """Program and plain text of a pattern; one of the two is none."""
    ((kind, pattern),) = spec["pattern"].items()
    if kind == "Regex":
        return builder.regex.add(pattern), 0, 0
    if not pattern:
        raise UnsupportedError(f"tokenizer.json: {spec['type']} with an empty pattern")
    return NONE, *builder.blob.string(pattern)


NORMALIZERS: dict[str, Callable[[Spec, Builder, Program], None]] = {
    "Sequence": _sequence,
    "NFC": _form(False, True),
    "NFD": _form(False, False),
    "NFKC": _form(True, True),
    "NFKD": _form(True, False),
    "Lowercase": _lowercase,
    "StripAccents": _strip_accents,
    "BertNormalizer": _bert,
    "Nmt": _nmt,
    "Strip": _strip,
    "Prepend": _prepend,
    "Replace": _replace,
    "Precompiled": compile_charsmap,
    "ByteLevel": _byte_level,
}
