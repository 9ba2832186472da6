"""tokenizer.json -> blob."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgeq.errors import ModelError, UnsupportedError
from edgeq.tokenizer import decoders, splitters
from edgeq.tokenizer.added import matched_text, write_added
from edgeq.tokenizer.blob import Section, Word
from edgeq.tokenizer.bpe import write_bpe
from edgeq.tokenizer.normalizers import compile_normalizer
from edgeq.tokenizer.program import Builder, Program
from edgeq.tokenizer.template import template_ids
from edgeq.tokenizer.unigram import write_unigram
from edgeq.tokenizer.vocabulary import byte_alphabet
from edgeq.tokenizer.wordpiece import write_wordpiece

Spec = dict[str, Any]


def compile_json(tokenizer_json: bytes) -> bytes:
    """See `edgeq.tokenizer.compile_tokenizer`."""
    tokenizer = _load(tokenizer_json)
    spec: Spec = json.loads(tokenizer.to_str())  # as the library understands it: old spellings brought up to date
    builder = Builder()
    builder.bytes_as_bytes = _bytes_as_bytes(spec)
    steps = (_normalizer, _splitters, _decoders, _template, _model)
    problems = [_problem(step, tokenizer, spec, builder) for step in steps]
    if any(problems):
        raise UnsupportedError("\n".join(dict.fromkeys(filter(None, problems))))
    return builder.build()


def _problem(step: Callable[[Any, Spec, Builder], None], tokenizer: Any, spec: Spec, builder: Builder) -> str:
    try:
        step(tokenizer, spec, builder)
    except UnsupportedError as error:
        return str(error)
    return ""


def _load(tokenizer_json: bytes) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(tokenizer_json.decode())
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"tokenizer.json cannot be read: {error}") from None


def _normalizer(tokenizer: Any, spec: Spec, builder: Builder) -> None:
    program = Program()
    compile_normalizer(spec["normalizer"], builder, program)
    builder.blob.put(Section.NORMALIZERS, program.words)
    write_added(builder, tokenizer.get_added_tokens_decoder(), tokenizer.normalizer, _tokens(tokenizer, spec))


def _splitters(tokenizer: Any, spec: Spec, builder: Builder) -> None:
    program, steps = Program(), splitters.flatten(spec["pre_tokenizer"])
    for step in steps:
        splitters.compile_splitter(step, builder, program)
    builder.blob.put(Section.SPLITTERS, program.words)


def _decoders(tokenizer: Any, spec: Spec, builder: Builder) -> None:
    program, steps = Program(), decoders.flatten(spec["decoder"])
    for step in steps:
        decoders.compile_decoder(step, builder, program)
    builder.blob.put(Section.DECODERS, program.words)


def _template(tokenizer: Any, spec: Spec, builder: Builder) -> None:
    front, behind = template_ids(spec["post_processor"])
    builder.blob.model[Word.FRONT] = len(front)
    builder.blob.put(Section.TEMPLATE, front + behind)


def _model(tokenizer: Any, spec: Spec, builder: Builder) -> None:
    kind, write = spec["model"]["type"], MODELS.get(spec["model"]["type"])
    if write is None:
        raise UnsupportedError(f"tokenizer.json: model {kind}; edgeq's tokenizer has {', '.join(MODELS)}")
    write(builder, spec["model"], _texts(tokenizer, spec, builder.bytes_as_bytes))


def _bytes_as_bytes(spec: Spec) -> bool:
    """Do words of bytes go into the model and come out of it? Then the vocabulary is kept as bytes: it is smaller."""
    splits = [step["type"] for step in splitters.flatten(spec["pre_tokenizer"])]
    decoded = [step["type"] for step in decoders.flatten(spec["decoder"])]
    once = splits.count("ByteLevel") == decoded.count("ByteLevel") == 1
    ends = once and splits[-1] == decoded[0] == "ByteLevel"
    return ends and spec["model"]["type"] == "BPE" and not spec["model"].get("byte_fallback")


def _texts(tokenizer: Any, spec: Spec, as_bytes: bool) -> list[bytes]:
    """What each id stands for when it is decoded; ids that are not given stand for nothing."""
    tokens = _tokens(tokenizer, spec)
    alphabet = byte_alphabet() if as_bytes else {}
    return [_bytes(tokens.get(i, ""), alphabet) for i in range(max(tokens, default=-1) + 1)]


def _tokens(tokenizer: Any, spec: Spec) -> dict[int, str]:
    vocab = spec["model"]["vocab"]
    if isinstance(vocab, list):  # Unigram: (text, score) in the order of ids
        vocab = {i: text for i, (text, _) in enumerate(vocab)}
    else:
        vocab = {i: text for text, i in vocab.items()}
    added = tokenizer.get_added_tokens_decoder()
    return vocab | {i: matched_text(token, tokenizer.normalizer) for i, token in added.items()}


def _bytes(token: str, alphabet: dict[str, int]) -> bytes:
    return bytes(alphabet[c] for c in token) if alphabet and all(c in alphabet for c in token) else token.encode()


def _bpe(builder: Builder, model: Spec, texts: list[bytes]) -> None:
    write_bpe(builder.blob, model, texts, byte_level=builder.bytes_as_bytes)


def _wordpiece(builder: Builder, model: Spec, texts: list[bytes]) -> None:
    write_wordpiece(builder.blob, model, texts)


def _unigram(builder: Builder, model: Spec, texts: list[bytes]) -> None:
    write_unigram(builder.blob, model, texts)


MODELS: dict[str, Callable[[Builder, Spec, list[bytes]], None]] = {
    "BPE": _bpe,
    "Unigram": _unigram,
    "WordPiece": _wordpiece,
    "WordLevel": _wordpiece,
}
