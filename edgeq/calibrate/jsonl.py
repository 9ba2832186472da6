"""JSON lines as calibration data: one record a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgeq.calibrate.fields import choose, text_of
from edgeq.calibrate.records import Records, Text, plural, within
from edgeq.calibrate.text_file import decoded, read_start
from edgeq.errors import UsageError


def read_jsonl(path: Path, field: str = "") -> Records:
    """The texts of a file's records, in order; `field` names theirs.

    Raises:
        UsageError: unreadable, not UTF-8, bad JSON, no such field (with the line), or empty.
    """
    texts = within(_texts(path, field))
    if not texts:
        raise UsageError(f"--calib {path}: the file holds no text; give one record a line, or `none`")
    return Records(str(path), f"{plural(len(texts), 'text')} of {path.name}", texts)


def _texts(path: Path, field: str) -> Iterator[Text]:
    chosen = field
    for number, line in enumerate(decoded(path, read_start(path)).removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            record = _record(line, where)
            chosen = choose(record, chosen, where)
            yield text_of(record, chosen, where)


def _record(line: str, where: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise UsageError(f"--calib {where}: not JSON ({why}); every line is one JSON object") from error
    if not isinstance(record, dict):
        raise UsageError(f"--calib {where}: a JSON {type(record).__name__}; every line is one JSON object")
    return record
