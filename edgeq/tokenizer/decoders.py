"""Decoders of tokenizer.json as operations for `decode.c`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.normalizers import replace_arguments
from edgeq.tokenizer.program import Builder, Program

BYTE_LEVEL, WORDPIECE, METASPACE, BYTE_FALLBACK, FUSE, STRIP, REPLACE, SUFFIX, SPACES, CHAR_BYTES = range(10)
Spec = dict[str, Any]


def flatten(spec: Spec | None) -> list[Spec]:
    """The decoders one after the other, sequences dissolved; none at all joins tokens with spaces."""
    if spec is None:
        return [{"type": "spaces"}]
    if spec["type"] != "Sequence":
        return [spec]
    return [inner for item in spec["decoders"] for inner in flatten(item)]


def compile_decoder(spec: Spec, builder: Builder, program: Program) -> None:
    """Append a decoder's operation.

    Raises:
        UnsupportedError: a decoder that is not in the table.
    """
    if spec["type"] not in DECODERS:
        raise UnsupportedError(f"tokenizer.json: decoder {spec['type']}; edgeq's tokenizer has {', '.join(DECODERS)}")
    operation, arguments = DECODERS[spec["type"]]
    if operation == BYTE_LEVEL and not builder.bytes_as_bytes:
        program.add(CHAR_BYTES)
    program.add(operation, *arguments(spec, builder))


def _none(spec: Spec, builder: Builder) -> tuple[int, ...]:
    return ()


def _wordpiece(spec: Spec, builder: Builder) -> tuple[int, ...]:
    return *builder.blob.string(spec["prefix"]), int(spec["cleanup"])


def _metaspace(spec: Spec, builder: Builder) -> tuple[int, ...]:
    return *builder.blob.string(spec["replacement"]), int(spec["prepend_scheme"] != "never")


def _strip(spec: Spec, builder: Builder) -> tuple[int, ...]:
    return *builder.blob.string(spec["content"]), spec["start"], spec["stop"]


def _suffix(spec: Spec, builder: Builder) -> tuple[int, ...]:
    return builder.blob.string(spec["suffix"])


DECODERS: dict[str, tuple[int, Callable[[Spec, Builder], tuple[int, ...]]]] = {
    "ByteLevel": (BYTE_LEVEL, _none),
    "WordPiece": (WORDPIECE, _wordpiece),
    "Metaspace": (METASPACE, _metaspace),
    "ByteFallback": (BYTE_FALLBACK, _none),
    "Fuse": (FUSE, _none),
    "Strip": (STRIP, _strip),
    "Replace": (REPLACE, replace_arguments),
    "BPEDecoder": (SUFFIX, _suffix),
    "spaces": (SPACES, _none),
}
