"""Parquet files, and tables in general, as calibration data. pyarrow reads them: the extra `data`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from edgeq.calibrate.fields import IMAGE_FIELDS, choose, text_of
from edgeq.calibrate.records import MOST_BYTES, Photo, Records, plural, within
from edgeq.errors import UsageError

BATCH_ROWS = 256
Read = Callable[[list[str]], Iterable[Any]]  # column names -> batches (pyarrow.RecordBatch) of those columns


def read_parquet(path: Path, field: str = "") -> Records:
    """The texts of a file's rows, in order, or its photos; `field` names the column.

    Raises:
        UsageError: pyarrow is missing, not a parquet file, no such column, a column of another kind (with the row).
    """
    pyarrow = import_pyarrow("parquet files", str(path))
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(path)
        read: Read = lambda columns: file.iter_batches(BATCH_ROWS, columns=columns)  # noqa: E731
        return table_records(str(path), file.schema_arrow, read, field)
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"--calib {path}: cannot be read as parquet: {error}") from error


def import_pyarrow(what: str, name: str) -> Any:
    """The pyarrow module; raises UsageError that says how to get it."""
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError(f"--calib {name}: pyarrow, which reads {what}, is missing: pip install edgeq[data]") from error
    return pyarrow


def table_records(name: str, schema: Any, read: Read, field: str) -> Records:
    """Records of a table; only the columns that are needed are read.

    Raises:
        UsageError: no such column, a row of another kind, or no content at all.
    """
    chosen = choose(schema.names, field, name)
    columns = [chosen, *(["completion"] if chosen == "prompt" and "completion" in schema.names else [])]
    rows = _rows(name, read(columns))
    short = Path(name).name
    if chosen in IMAGE_FIELDS or _is_image(schema.field(chosen).type):
        photos = tuple(_photos(rows, chosen))
        _refuse_nothing(photos, name)
        return Records(name, f"{plural(len(photos), 'image')} of {short}", photos=photos)
    texts = within(text_of(row, chosen, where) for where, row in rows)
    _refuse_nothing(texts, name)
    return Records(name, f"{plural(len(texts), 'text')} of {short}", texts)


def _refuse_nothing(found: tuple[Any, ...], name: str) -> None:
    if not found:
        raise UsageError(f"--calib {name}: its rows hold nothing; give data, or `none`")


def _rows(name: str, batches: Iterable[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = (row for batch in batches for row in batch.to_pylist())
    return ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))


def _is_image(kind: Any) -> bool:
    """How Hugging Face datasets store images: a struct of a file's bytes and its path."""
    return str(kind).startswith("struct<") and {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}


def _photos(rows: Iterable[tuple[str, dict[str, Any]]], column: str) -> Iterator[Photo]:
    held = 0
    for where, row in rows:
        if held >= MOST_BYTES:
            return
        if row[column] is not None:
            photo = _photo(row[column], column, where)
            held += len(photo) if isinstance(photo, bytes) else 1
            yield photo


def _photo(value: Any, column: str, where: str) -> Photo:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, bytes):
        return value
    kind = type(value).__name__
    raise UsageError(f"--calib {where}: column {column!r} holds a value of type {kind}; it takes an image")
