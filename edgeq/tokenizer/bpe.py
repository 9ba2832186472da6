"""Byte-pair encoding: merges by rank, a hash table of pairs, and which texts must be found by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeq.errors import ModelError, UnsupportedError
from edgeq.tokenizer.blob import NONE, Blob, Section, Word
from edgeq.tokenizer.vocabulary import (
    LOAD,
    byte_alphabet,
    fallback_bytes,
    write_bytes,
    write_index,
    write_merged_texts,
    write_texts,
)

KIND = 0
BYTE_LEVEL, BYTE_FALLBACK, FUSE_UNK, IGNORE_MERGES = 1, 2, 4, 8


def write_bpe(blob: Blob, model: dict[str, Any], texts: Sequence[bytes], *, byte_level: bool) -> None:
    """The model's sections.

    texts: what each id stands for when decoding; byte_level: words reach the model as bytes.
    """
    _refuse(model)
    vocab: dict[str, int] = model["vocab"]
    flags = {
        BYTE_LEVEL: byte_level,
        BYTE_FALLBACK: model.get("byte_fallback"),
        FUSE_UNK: model.get("fuse_unk"),
        IGNORE_MERGES: model.get("ignore_merges"),
    }
    unk = model.get("unk_token")
    suffix = model.get("end_of_word_suffix") or ""
    blob.model[Word.KIND] = KIND
    blob.model[Word.FLAGS] = sum(flag for flag, on in flags.items() if on)
    blob.model[Word.UNK] = vocab.get(unk, NONE) if unk is not None else NONE
    blob.model[Word.SUFFIX], blob.model[Word.SUFFIX_BYTES] = blob.string(suffix)
    _write_merges(blob, _merges(model), vocab, texts)
    _write_symbols(blob, vocab, suffix, byte_level=byte_level, whole_words=bool(model.get("ignore_merges")))


def _refuse(model: dict[str, Any]) -> None:
    if model.get("dropout"):
        raise UnsupportedError(f"tokenizer.json: BPE with dropout {model['dropout']} draws at random; set it to null")
    if prefix := model.get("continuing_subword_prefix"):
        raise UnsupportedError(f"tokenizer.json: BPE with continuing_subword_prefix {prefix!r}")
    unk = model.get("unk_token")
    if unk is not None and unk not in model["vocab"]:
        raise UnsupportedError(f"tokenizer.json: unk_token {unk!r} is not in the vocabulary")


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = []
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.append((left, right))
    return pairs


def _write_merges(blob: Blob, merges: list[tuple[str, str]], vocab: dict[str, int], texts: Sequence[bytes]) -> None:
    try:
        pairs = [(vocab[left], vocab[right]) for left, right in merges]
        made = [vocab[left + right] for left, right in merges]
    except KeyError as error:
        raise ModelError(f"tokenizer.json: a merge makes or takes {error}, which is not in the vocabulary") from None
    first = made[0] if made else 0
    consecutive = made == list(range(first, first + len(made)))
    blob.model[Word.FIRST_MERGED] = first
    if not (consecutive and made and write_merged_texts(blob, texts, pairs, first)):
        write_texts(blob, texts)
    if not consecutive:
        blob.put(Section.MERGE_IDS, made)
    blob.model[Word.WIDE_IDS] = int(len(texts) > 0x10000)
    blob.model[Word.WIDE_RANKS] = int(len(pairs) >= 0xFFFF)
    blob.put(Section.MERGES, pairs, "<u4" if len(texts) > 0x10000 else "<u2")
    blob.put(Section.MERGE_SLOTS, _slots(pairs), "<u4" if len(pairs) >= 0xFFFF else "<u2")


def _slots(pairs: list[tuple[int, int]]) -> np.ndarray:
    """Rank of each pair at the place of its hash; of equal pairs the last, as a map filled in order has it."""
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    slots = np.full(int(len(ranks) / LOAD) + 1 if ranks else 0, NONE, dtype=np.uint32)
    for (left, right), rank in ranks.items():
        value = (left * 0x9E3779B1 & 0xFFFFFFFF ^ right) * 0x85EBCA6B & 0xFFFFFFFF
        at = (value ^ value >> 15) * len(slots) >> 32
        while slots[at] != NONE:
            at = (at + 1) % len(slots)
        slots[at] = rank
    return slots


def _write_symbols(blob: Blob, vocab: dict[str, int], suffix: str, *, byte_level: bool, whole_words: bool) -> None:
    """What a word begins as: ids of its characters or bytes; and the words that are looked up whole."""
    if not byte_level:
        ends = len(suffix) + 1
        one = {t for t in vocab if len(t) == 1 or (len(t) == ends and t.endswith(suffix))}
        found = {t: i for t, i in vocab.items() if whole_words or t in one}
        write_bytes(blob, fallback_bytes(vocab))
        write_index(blob, {text.encode(): token for text, token in found.items()})
        return
    alphabet = byte_alphabet()
    symbols = {byte: symbol for symbol, byte in alphabet.items()}
    write_bytes(blob, [vocab.get(symbols[byte]) for byte in range(256)])
    write_bytes(blob, [vocab.get(symbols[byte] + suffix) for byte in range(256)], Section.LAST_BYTES)
    words = vocab.items() if whole_words else ()
    spelled = {t: i for t, i in words if all(c in alphabet for c in t)}
    write_index(blob, {bytes(alphabet[c] for c in text): token for text, token in spelled.items()})
