"""Programs of normalizers, pre-tokenizers and decoders: operation, number of arguments, arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeq.tokenizer.blob import Blob, Section
from edgeq.tokenizer.kinds import Kinds
from edgeq.tokenizer.regex_code import RegexCode

ARGUMENTS = 9  # every operation has room for as many


@dataclass
class Program:
    """Operations of one stage, in order."""

    words: list[int] = field(default_factory=list)

    def add(self, operation: int, *args: int) -> None:
        """Append an operation."""
        self.words += [operation, ARGUMENTS, *args, *[0] * (ARGUMENTS - len(args))]


class Builder:
    """What the stages share while a blob is made."""

    def __init__(self) -> None:
        self.blob = Blob()
        self.kinds = Kinds()
        self.regex = RegexCode(self.kinds)
        self.bytes_as_bytes = False  # byte-level words reach the model as bytes, not as characters that stand for them
        self.maps: list[int] = []  # code point, offset, bytes of each item of each map

    def add_map(self, mapping: dict[int, str]) -> tuple[int, int]:
        """First item and number of items of a map from code points to texts."""
        first = len(self.maps) // 3
        for code, text in sorted(mapping.items()):
            self.maps += [code, *self.blob.string(text)]
        return first, len(mapping)

    def build(self) -> bytes:
        """The finished blob."""
        self.kinds.write(self.blob)
        self.blob.put(Section.REGEX, self.regex.code)
        self.blob.put(Section.MAPS, self.maps)
        return self.blob.build()
