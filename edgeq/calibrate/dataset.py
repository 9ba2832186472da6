"""Folders as calibration data: a Hugging Face dataset on disk, shards of parquet or JSON lines, or image files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeq.calibrate.images import is_image, read_images
from edgeq.calibrate.jsonl import read_jsonl
from edgeq.calibrate.parquet import BATCH_ROWS, Read, import_pyarrow, read_parquet, table_records
from edgeq.calibrate.records import MOST_BYTES, Records, plural, size
from edgeq.calibrate.text_file import read_text
from edgeq.errors import UsageError

SPLITS, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
READERS: dict[str, Callable[[Path, str], Records]] = {
    ".parquet": read_parquet,
    ".jsonl": read_jsonl,
    ".txt": lambda path, field: read_text(path),
}


def read_folder(folder: Path, field: str = "") -> Records:
    """The records of a folder.

    Args:
        folder: what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote (`train` is taken), shards of one kind
            (parquet, jsonl, txt), or images, in folders of their own or not.
        field: of the records.

    Raises:
        UsageError: none of these, several kinds at once, or what a file's reader says.
    """
    if (folder / SPLITS).is_file():
        return read_folder(_split(folder), field)
    if (folder / STATE).is_file() or (folder / INFO).is_file():
        return _read_arrow(folder, field)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path, folder)]
    kinds = {suffix: [p for p in files if p.suffix.lower() == suffix] for suffix in READERS}
    kinds = {suffix: found for suffix, found in kinds.items() if found}
    images = [path for path in files if is_image(path)]
    data = len(images) + sum(map(len, kinds.values()))
    if len(kinds) + bool(images) != 1 or data < len(files) - data:
        raise UsageError(f"--calib {folder}: {_mixture(files, kinds, images)}")
    if images:
        return read_images(folder, images)
    ((suffix, shards),) = kinds.items()
    return _joined(folder, (READERS[suffix](path, field) for path in shards))


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _mixture(files: list[Path], kinds: dict[str, list[Path]], images: list[Path]) -> str:
    takes = "a folder holds either images, or .parquet, .jsonl or .txt files, or is what datasets' save_to_disk wrote"
    if len(kinds) + bool(images) < 2:
        listed = ", ".join(path.name for path in files[:5]) + (", ..." if len(files) > 5 else "")
        return f"{'it is empty' if not files else f'no folder of data (it holds {listed})'}; {takes}"
    found = [*((len(paths), suffix) for suffix, paths in kinds.items()), *([(len(images), "image")] if images else [])]
    return f"several kinds of data ({', '.join(plural(n, f'{kind} file') for n, kind in found)}); {takes}"


def _joined(folder: Path, shards: Iterator[Records]) -> Records:
    """Shards one after another, as far as MOST_BYTES reach."""
    held, found = 0, []
    for shard in shards:
        found.append(shard)
        held += sum(map(size, shard.texts)) + sum(len(p) for p in shard.photos if isinstance(p, bytes))
        if held >= MOST_BYTES:
            break
    texts = tuple(text for shard in found for text in shard.texts)
    photos = tuple(photo for shard in found for photo in shard.photos)
    what = plural(len(texts), "text") if texts else plural(len(photos), "image")
    return replace(found[0], name=str(folder), what=f"{what} of {folder.name}", texts=texts, photos=photos)


def _split(folder: Path) -> Path:
    splits = list(_json(folder / SPLITS).get("splits") or [])
    if "train" in splits or len(splits) == 1:
        return folder / ("train" if "train" in splits else splits[0])
    listed = ", ".join(splits) or "none"
    raise UsageError(f"--calib {folder}: a dataset without the split `train`; name one of its folders: {listed}")


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"--calib {path}: no JSON object ({error}); save the dataset again") from error


def _read_arrow(folder: Path, field: str) -> Records:
    """The tables of one split, Arrow's stream format, mapped."""
    pa = import_pyarrow("Hugging Face datasets", str(folder))
    listed = _json(folder / STATE).get("_data_files") if (folder / STATE).is_file() else None
    files = [folder / entry["filename"] for entry in listed] if listed else sorted(folder.glob("*.arrow"))
    missing = [path.name for path in files if not path.is_file()]
    if missing or not files:
        what = f"lacks {', '.join(missing)}" if missing else "has no .arrow file"
        raise UsageError(f"--calib {folder}: the dataset {what}; save it again, or copy it whole")
    try:
        read: Read = lambda columns: (part for path in files for part in _batches(pa, path, columns))  # noqa: E731
        return table_records(str(folder), _stream(pa, files[0]).schema, read, field)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"--calib {folder}: cannot be read as Arrow ({error}); save the dataset again") from error


def _stream(pa: Any, path: Path) -> Any:
    return pa.ipc.open_stream(pa.memory_map(str(path)))


def _batches(pa: Any, path: Path, columns: list[str]) -> Iterator[Any]:
    """Small ones: they are made Python objects one at a time, and perhaps not all of them are wanted."""
    for batch in _stream(pa, path):
        starts = range(0, batch.num_rows, BATCH_ROWS)
        yield from (batch.slice(start, BATCH_ROWS).select(columns) for start in starts)
