"""Plain text as calibration data: one text, cut into pieces at blank lines."""

from __future__ import annotations

import re
from pathlib import Path

from edgeq.calibrate.records import MOST_BYTES, Records
from edgeq.errors import UsageError

MOST_CHARACTERS = 4000  # of a piece: a paragraph beyond it is cut at a line's end, else at a space
BLANK_LINES = re.compile(r"(\n[ \t]*\n\s*)")


def read_text(path: Path) -> Records:
    """The pieces of a UTF-8 file, joined.

    Raises:
        UsageError: unreadable, not UTF-8 (with the line), or empty.
    """
    content = decoded(path, read_start(path)).replace("\r\n", "\n").removeprefix("\ufeff")
    if not content.strip():
        raise UsageError(f"--calib {path}: the file is empty; give a text, or `none`")
    return Records(str(path), f"the text {path.name}", tuple(pieces(content)), joined=True)


def read_start(path: Path) -> bytes:
    """The first MOST_BYTES of a file, cut after a line when there are more; raises UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--calib {path}: cannot be read: {error.strerror or error}") from error
    if len(data) <= MOST_BYTES:
        return data
    return data[: data.rfind(b"\n", 0, MOST_BYTES) + 1 or MOST_BYTES]


def decoded(path: Path, data: bytes) -> str:
    """UTF-8 bytes as text; raises UsageError with the line of the first byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(data) == MOST_BYTES:
            return data[: error.start].decode("utf-8")  # our own cut went through a character
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"--calib {path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; convert the file "
            "(iconv -t UTF-8), or give a .txt, .jsonl or .parquet file, or a folder"
        ) from error


def pieces(content: str) -> list[str]:
    """Paragraphs with the blank lines after them; their concatenation is `content`."""
    parts = [*BLANK_LINES.split(content), ""]
    paragraphs = [text + blank for text, blank in zip(parts[::2], parts[1::2], strict=True)]
    return [piece for paragraph in paragraphs if paragraph for piece in _cut(paragraph)]


def _cut(paragraph: str) -> list[str]:
    found = []
    while len(paragraph) > MOST_CHARACTERS:
        ends = (paragraph.rfind(mark, 0, MOST_CHARACTERS) + 1 for mark in ("\n", " "))
        at = next((end for end in ends if end > 0), MOST_CHARACTERS)
        found.append(paragraph[:at])
        paragraph = paragraph[at:]
    return [*found, paragraph]
