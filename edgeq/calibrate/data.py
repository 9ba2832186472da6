"""Calibration data: what passes measure a model's activations on, from wherever `--calib` says."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.calibrate.images import check_photos
from edgeq.calibrate.records import Photo, Records, plural
from edgeq.calibrate.sources import NONE, OWN, SELF, own_text, read_records, short_name
from edgeq.calibrate.tokens import Encoder, divided, windows
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from torch import fx

    from edgeq.calibrate.samples import Sample
    from edgeq.frontend.source import Source

__all__ = ["NONE", "OWN", "SELF", "Data", "open_data"]

Progress = Callable[[str, int, int], None]
COUNT, LENGTH = 8, 256  # windows of a language model's text and their tokens
TEXTS, PHOTOS = 32, 16
LEAST_LENGTH = 16


@dataclass(frozen=True)
class Part:
    """Token ids of texts (for a language model: of windows), and photos."""

    tokens: tuple[tuple[int, ...], ...] = ()
    photos: tuple[Photo, ...] = ()


@dataclass(frozen=True)
class Data:
    """Samples for each graph of one model.

    Attributes:
        description: for people and the manifest: `8 windows of 256 tokens of notes.txt`.
        hash: SHA-256 in hex of everything that the samples are made of, those held out
            included: token ids, image files.
        tokens: token ids in all samples (a text beyond an entry's length is cut later); 0 for images.
        seed: what was drawn is drawn by it.
    """

    description: str
    hash: str
    seed: int = 0
    part: Part = field(default_factory=Part, repr=False)
    rest: Part = field(default_factory=Part, repr=False)
    config: Any = field(default=None, repr=False)
    assets: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def tokens(self) -> int:
        """Token ids in all samples."""
        return sum(map(len, self.part.tokens))

    def samples(self, gm: fx.GraphModule) -> list[Sample]:
        """Inputs for a float graph of the model; [] when it takes something that this data is not.

        Raises:
            UsageError: a photo cannot be read, or the model came without preprocessing.
        """
        from edgeq.calibrate.entry_samples import graph_samples

        return graph_samples(gm, self)

    def held_out(self) -> Data:
        """Samples of the same source that are not in this one, a quarter as many; none where it has only one."""
        return replace(self, description=f"held out of {self.description}", part=self.rest, rest=Part())


def open_data(
    spec: str,
    source: Source,
    seed: int = 0,
    count: int | None = None,
    length: int | None = None,
    progress: Progress | None = None,
) -> Data:
    """Read calibration data.

    Args:
        spec: a text, .jsonl or .parquet file, a folder (images, a Hugging Face dataset, shards), with `#FIELD` where
            there are fields; `self`: text that the model generates; `none`; "": text that edgeq brings along.
        source: the model.
        seed: draws windows, texts and photos from what is there.
        count: samples; None: 8 windows of a language model, 32 texts of an encoder, 16 photos.
        length: tokens of a language model's window, at most those it has positions for; None: 256. Static entries
            have their own.
        progress: called with (stage, done, total).

    Raises:
        UsageError: unreadable data (with file and line), data that this model cannot take, a count or length too small.
    """
    _check(count, length)
    length = min(length or LENGTH, positions(source.config))
    if spec == NONE:
        return _data("none", source, seed, Part(), Part())
    if spec == SELF:
        return _generated(source, seed, count or COUNT, length, progress)
    records = read_records(spec)
    takes = _inputs(source.config)
    _refuse(spec, records, source, takes)
    found = []
    if records.photos:
        found.append(_photos(records, count or PHOTOS, seed))
    if "input_ids" in takes and "tokenizer.json" in source.assets:
        texts, given = (own_text(), None) if records.photos else (records, count)
        found.append(_texts(texts, source, seed, given, length))
    used, held = _merged([part for _, part, _ in found]), _merged([rest for _, _, rest in found])
    return _data(", ".join(what for what, *_ in found) or "none", source, seed, used, held)


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


def _check(count: int | None, length: int | None) -> None:
    if count is not None and count < 1:
        raise UsageError(f"--calib-samples {count}: give at least 1")
    if length is not None and length < LEAST_LENGTH:
        raise UsageError(f"--calib-length {length}: give at least {LEAST_LENGTH} tokens")


def positions(config: Any) -> int:
    """Tokens that the model was made for; those of learned position embeddings are no more than that."""
    names = ("max_target_positions", "max_position_embeddings", "n_positions")
    return int(next((most for name in names if (most := getattr(config, name, None))), sys.maxsize))


def _inputs(config: Any) -> set[str]:
    from edgeq.frontend.classes import model_class

    return set(inspect.signature(model_class(config).forward).parameters)


def _refuse(spec: str, records: Records, source: Source, takes: set[str]) -> None:
    """Raise UsageError for data that the model would never see."""
    if records.photos and "pixel_values" not in takes:
        raise UsageError(f"--calib {spec} holds images, and {source.name} takes none; give a text")
    if not spec or records.photos:
        return
    if "input_ids" not in takes:
        other = "; give a folder of images" if "pixel_values" in takes else ""
        raise UsageError(f"--calib {spec} holds text, and {source.name} takes none{other}, or `none`")
    if "tokenizer.json" not in source.assets:
        raise UsageError(f"--calib {spec} holds text, and {source.name} came without the tokenizer.json to read it")


Found = tuple[str, Part, Part]  # description, samples, those held out


def _photos(records: Records, count: int, seed: int) -> Found:
    used, held = divided(records.photos, count, seed)
    check_photos(records.name, [*used, *held])
    what = f"{plural(len(used), 'image')} of {Path(records.name).name}"
    return what, Part(photos=tuple(used)), Part(photos=tuple(held))


def _texts(records: Records, source: Source, seed: int, count: int | None, length: int) -> Found:
    """A language model's windows; an encoder's texts, each by itself."""
    from edgeq.frontend.classes import is_decoder_only

    encoder = Encoder(source.assets)
    if is_decoder_only(source.config):
        count = count or COUNT
        used, held = divided(windows(encoder, records, length, 2 * count, seed), count, seed)
        what = f"{plural(len(used), 'window')} of {length} tokens"
    else:
        chosen, others = divided(records.texts, count or TEXTS, seed)
        used, held = ([encoder.encode(text, records.name) for text in part] for part in (chosen, others))
        what = plural(len(used), "text")
    return f"{what} of {short_name(records.name)}", _part(used), _part(held)


def _generated(source: Source, seed: int, count: int, length: int, progress: Progress | None) -> Data:
    from edgeq.calibrate.self_text import generated

    texts = generated(source, seed, count + max(1, count // 4), length, progress or _silent)
    what = f"{plural(count, 'text')} of {length} tokens that the model generated"
    return _data(what, source, seed, _part(texts[:count]), _part(texts[count:]))


def _merged(parts: Sequence[Part]) -> Part:
    return Part(tuple(ids for p in parts for ids in p.tokens), tuple(photo for p in parts for photo in p.photos))


def _part(tokens: Sequence[Sequence[int]]) -> Part:
    return Part(tuple(tuple(map(int, ids)) for ids in tokens if len(ids)))


def _data(what: str, source: Source, seed: int, used: Part, held: Part) -> Data:
    return Data(what, _hash(used, held), seed, used, held, source.config, source.assets)


def _hash(*parts: Part) -> str:
    """SHA-256 over each part: its token ids as JSON, then the bytes of each photo's file."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part.tokens, separators=(",", ":")).encode() + b"\n")
        for photo in part.photos:
            data = photo if isinstance(photo, bytes) else photo.read_bytes()
            digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()
