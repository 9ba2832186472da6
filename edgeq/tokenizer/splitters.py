"""Pre-tokenizers of tokenizer.json as operations for `split.c`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tokenizer import probe
from edgeq.tokenizer.blob import NONE
from edgeq.tokenizer.normalizers import pattern_arguments
from edgeq.tokenizer.probe import CODES, Mask
from edgeq.tokenizer.program import Builder, Program

BYTE_LEVEL, PATTERN, CHARACTERS, METASPACE, BYTE_CHARS = range(5)
BEHAVIORS = {"Isolated": 0, "Removed": 1, "Contiguous": 2, "MergedWithPrevious": 3, "MergedWithNext": 4}
SCHEMES = {"always": 0, "first": 1, "never": 2}
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
Spec = dict[str, Any]


def flatten(spec: Spec | None) -> list[Spec]:
    """The pre-tokenizers one after the other, sequences dissolved."""
    if spec is None:
        return []
    if spec["type"] != "Sequence":
        return [spec]
    return [inner for item in spec["pretokenizers"] for inner in flatten(item)]


def compile_splitter(spec: Spec, builder: Builder, program: Program) -> None:
    """Append a pre-tokenizer's operations.

    Raises:
        UnsupportedError: a pre-tokenizer or a pattern that edgeq does not do exactly.
    """
    if spec["type"] not in SPLITTERS:
        known = ", ".join(SPLITTERS)
        raise UnsupportedError(f"tokenizer.json: pre-tokenizer {spec['type']}; edgeq's tokenizer has {known}")
    SPLITTERS[spec["type"]](spec, builder, program)


def _byte_level(spec: Spec, builder: Builder, program: Program) -> None:
    pattern = builder.regex.add(GPT2_PATTERN) if spec["use_regex"] else NONE
    program.add(BYTE_LEVEL, int(spec["add_prefix_space"]), pattern)
    if not builder.bytes_as_bytes:
        program.add(BYTE_CHARS)


def _split(spec: Spec, builder: Builder, program: Program) -> None:
    code, *text = pattern_arguments(spec, builder)
    program.add(PATTERN, code, BEHAVIORS[spec["behavior"]], int(spec["invert"]), *text)


def _characters(builder: Builder, program: Program, mask: Mask, behavior: str) -> None:
    program.add(CHARACTERS, builder.kinds.add(mask), BEHAVIORS[behavior], 0)


def _digits(spec: Spec, builder: Builder, program: Program) -> None:
    from tokenizers import pre_tokenizers

    digits = probe.isolated_by(pre_tokenizers.Digits(individual_digits=True))
    _characters(builder, program, digits, "Isolated" if spec["individual_digits"] else "Contiguous")


def _punctuation(spec: Spec, builder: Builder, program: Program) -> None:
    from tokenizers import pre_tokenizers

    _characters(builder, program, probe.isolated_by(pre_tokenizers.Punctuation("isolated")), spec["behavior"])


def _whitespace_split(spec: Spec, builder: Builder, program: Program) -> None:
    _characters(builder, program, probe.whitespace(), "Removed")


def _whitespace(spec: Spec, builder: Builder, program: Program) -> None:
    word = probe.word()
    runs = builder.regex.add_runs(word, ~(word | probe.whitespace()))
    program.add(PATTERN, runs, BEHAVIORS["Removed"], 1)


def _bert(spec: Spec, builder: Builder, program: Program) -> None:
    _whitespace_split(spec, builder, program)
    _punctuation({"behavior": "Isolated"}, builder, program)


def _delimiter(spec: Spec, builder: Builder, program: Program) -> None:
    mask = np.zeros(CODES, dtype=bool)
    mask[ord(spec["delimiter"])] = True
    _characters(builder, program, mask, "Removed")


def _metaspace(spec: Spec, builder: Builder, program: Program) -> None:
    mark = builder.blob.string(spec["replacement"])
    program.add(METASPACE, *mark, SCHEMES[spec["prepend_scheme"]], int(spec["split"]))


SPLITTERS: dict[str, Callable[[Spec, Builder, Program], None]] = {
    "ByteLevel": _byte_level,
    "Split": _split,
    "Digits": _digits,
    "Punctuation": _punctuation,
    "Whitespace": _whitespace,
    "WhitespaceSplit": _whitespace_split,
    "BertPreTokenizer": _bert,
    "CharDelimiterSplit": _delimiter,
    "Metaspace": _metaspace,
}
