"""Which reader takes what `--calib` names."""

from __future__ import annotations

from pathlib import Path

from edgeq.calibrate.images import is_image
from edgeq.calibrate.records import Records
from edgeq.calibrate.text_file import pieces
from edgeq.errors import UsageError

OWN_TEXT = Path(__file__).with_name("sample.txt")
OWN, NONE, SELF = "edgeq's sample", "none", "self"
JSON_LINES, PARQUET = (".jsonl", ".ndjson"), ".parquet"


def read_records(spec: str) -> Records:
    """Records of `PATH` or `PATH#FIELD`; "" is the text that edgeq brings along.

    Raises:
        UsageError: no such file, or what its reader says.
    """
    if not spec:
        return own_text()
    path, field = _split(spec)
    if not path.exists():
        raise UsageError(
            f"--calib {spec}: no such file; give a text, .jsonl or .parquet file, a folder of images, a Hugging Face "
            "dataset on disk, `self` or `none`"
        )
    if path.is_dir():
        from edgeq.calibrate.dataset import read_folder

        return read_folder(path, field)
    return _read_file(path, field)


def own_text() -> Records:
    """The text that edgeq brings along: prose, dialogue, code, figures, several languages."""
    return Records(OWN, OWN, tuple(pieces(OWN_TEXT.read_text(encoding="utf-8"))), joined=True)


def short_name(name: str) -> str:
    """What to call a source in a manifest: the last part of its path, so that no machine's folders are in it."""
    return name if name == OWN else Path(name).name


def _read_file(path: Path, field: str) -> Records:
    suffix = path.suffix.lower()
    if suffix in JSON_LINES:
        from edgeq.calibrate.jsonl import read_jsonl

        return read_jsonl(path, field)
    if suffix == PARQUET:
        from edgeq.calibrate.parquet import read_parquet

        return read_parquet(path, field)
    if suffix == ".json":
        raise UsageError(f"--calib {path}: give one record a line, FILE.jsonl: jq -c '.[]' {path.name} > FILE.jsonl")
    if is_image(path):
        raise UsageError(f"--calib {path}: one image; give a folder of some, {path.parent} for one")
    if field:
        raise UsageError(f"--calib {path}#{field}: only .jsonl and .parquet files and datasets have fields")
    from edgeq.calibrate.text_file import read_text

    return read_text(path)


def _split(spec: str) -> tuple[Path, str]:
    """(path, field): a path that exists is taken as it is, even with a `#` in it."""
    whole = Path(spec).expanduser()
    if whole.exists() or "#" not in spec:
        return whole, ""
    path, _, field = spec.rpartition("#")
    return Path(path).expanduser(), field
