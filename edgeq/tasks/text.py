"""Texts become the token tensors of compiled lengths, and the rows of what comes out, in the order given."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import UsageError
from edgeq.runtime.tokens import Tokenizer, load_tokenizer
from edgeq.tasks.entry import EntryFacts, Session

Text = str | tuple[str, str]
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """A tokenized text: `ids`, `types` (0, or 1 in the second of a pair), `special` (added by the tokenizer, not in the
    text) and `offsets` (begin and end in the text, in characters), one each a token."""

    ids: list[int]
    types: list[int]
    special: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True)
class Row:
    """One text's share of a run: its tokens and its outputs, without the batch axis (token rows cut to the text's)."""

    tokens: Tokens
    outputs: dict[str, np.ndarray]


class TextEntries:
    """The entries of one text tower, a bucket of length and batch each.

    Attributes:
        lengths: of the buckets, ascending. pad_id: the tokenizer's padding token, else the config's.
    """

    def __init__(self, session: Session, folder: Path, entries: Sequence[EntryFacts], spec: Mapping[str, Any]) -> None:
        """`spec` is `task["text"]`: `max_length`, `pad_id`, `full`; raises ArtifactError without a tokenizer."""
        self._session, self._spec = session, spec
        self._entries = sorted(entries, key=lambda e: (e.length, e.batch))
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._tokenizer.no_padding()
        named = self._tokenizer.token_to_id(Tokenizer(folder).special_tokens.get("pad_token", ""))
        self.pad_id = int(spec.get("pad_id") or 0) if named is None else int(named)
        self.lengths = sorted({e.length for e in self._entries})

    @property
    def limit(self) -> int:
        """Most tokens of a text: the longest bucket, or what the model was trained for."""
        return min(self.lengths[-1], self._spec.get("max_length") or self.lengths[-1])

    def tokenize(self, texts: Sequence[Text]) -> list[Tokens]:
        """Tokens of each text, cut to `limit` (the tokenizer's special tokens stay); says so in the log.

        Raises:
            UsageError: no text, or something that is not text.
        """
        if isinstance(texts, str) or not texts or not all(map(_is_text, texts)):
            raise UsageError('give a list of texts, at least one: ["a text", "another"]')
        self._tokenizer.no_truncation()
        whole = self._tokenizer.encode_batch(list(texts))
        self._tokenizer.enable_truncation(self.limit)
        long = [i for i, tokens in enumerate(whole) if len(tokens.ids) > self.limit]
        if long:
            most = max(len(whole[i].ids) for i in long)
            LOG.warning(
                "%d of %d texts cut to %d tokens (the longest has %d); a longer bucket takes more: "
                "edgeq compile --lengths",
                len(long), len(texts), self.limit, most,
            )  # fmt: skip
            for i, cut in zip(long, self._tokenizer.encode_batch([texts[i] for i in long]), strict=True):
                whole[i] = cut
        return [Tokens(t.ids, t.type_ids, t.special_tokens_mask, t.offsets) for t in whole]

    def run(self, texts: Sequence[Text]) -> list[Row]:
        """Run every text, batched by length; raises as `tokenize`."""
        tokens = self.tokenize(texts)
        rows: dict[int, Row] = {}
        for entry, chosen in self._batches(tokens):
            outputs = self._session.run(entry.name, **self.inputs(entry, [tokens[i] for i in chosen]))
            for place, i in enumerate(chosen):
                rows[i] = Row(tokens[i], _share(entry, outputs, place, len(tokens[i].ids)))
        return [rows[i] for i in range(len(texts))]

    def _batches(self, tokens: Sequence[Tokens]) -> Iterator[tuple[EntryFacts, list[int]]]:
        """Entries to run and the texts that go into each: the smallest bucket that fits, the largest batch it fills."""
        groups: dict[int, list[int]] = {}
        for i, item in enumerate(tokens):
            groups.setdefault(self._bucket(len(item.ids)), []).append(i)
        for length, members in sorted(groups.items()):
            entries = [e for e in self._entries if e.length == length]
            while members:
                entry = next((e for e in reversed(entries) if e.batch <= len(members)), entries[0])
                yield entry, members[: entry.batch]
                members = members[entry.batch :]

    def _bucket(self, count: int) -> int:
        """`full`: the model sees padding, and was trained with texts padded to the end."""
        if self._spec.get("full"):
            return self.lengths[-1]
        return next(length for length in self.lengths if length >= count)

    def inputs(self, entry: EntryFacts, tokens: Sequence[Tokens]) -> dict[str, Any]:
        """The tensors `entry` takes, i32[batch, length] each; rows beyond the texts hold padding."""
        shape = entry.batch, entry.length
        ids = np.full(shape, self.pad_id, np.int32)
        types, mask = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        for row, item in enumerate(tokens):
            count = len(item.ids)
            ids[row, :count], types[row, :count], mask[row, :count] = item.ids, item.types, 1
        mask[len(tokens) :, 0] = 1  # a row that sees nothing would divide by zero
        if self._spec.get("full"):
            mask[:] = 1
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: values[name] for name in entry.inputs if name in values}


def _share(entry: EntryFacts, outputs: dict[str, np.ndarray], place: int, count: int) -> dict[str, np.ndarray]:
    """One text's rows; token rows only as far as its text goes."""
    by_token = {name for name, shape in entry.outputs.items() if len(shape) == 3 and shape[1] == entry.length}
    return {name: value[place, :count] if name in by_token else value[place] for name, value in outputs.items()}


def _is_text(item: object) -> bool:
    pair = isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item)
    return isinstance(item, str) or pair
