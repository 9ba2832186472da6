"""An artifact becomes one executable: its program is linked, and tokenizer, facts and weights are put behind it."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from edgeq.artifact.manifest import read
from edgeq.artifact.space import cannot_write, check_space
from edgeq.artifact.verify import verify_files
from edgeq.errors import OutputError
from edgeq.package.elf import PAGE, add_segment, aligned
from edgeq.package.facts import encode, facts_of
from edgeq.package.programs import TEXT, Program, program_of

Progress = Callable[[str, int, int], None]
WEIGHTS = "weights.safetensors"
MAGIC, VERSION, SECTIONS = b"edgeqapp", 1, 3
_HEADER = struct.Struct("<8s2I6QQ")  # app/sections.c
_LINE = 64
_MODE = 0o755


@dataclass(frozen=True)
class Package:
    """A packaged program.

    Attributes:
        path: the file. kind: what it does. target: what it runs on. example: arguments to try.
        total_bytes: of the file; the rest are its parts, padding belongs to none.
    """

    path: Path
    kind: str
    target: str
    example: str
    total_bytes: int
    program_bytes: int
    facts_bytes: int
    vocabulary_bytes: int
    weights_bytes: int


def package(artifact: Path, output: Path, overwrite: bool = False, progress: Progress | None = None) -> Package:
    """Make the program of an artifact.

    Args:
        output: the file, which appears whole (mode 755) or not at all. overwrite: replace a file that is there.

    Raises:
        ArtifactError: damaged, incomplete, or made before artifacts could be linked again.
        UnsupportedError: its tokenizer, chat template or kind of model has no program.
        OutputError: the file exists, or cannot be written. ToolchainError: linking failed.
    """
    say = progress or (lambda stage, done, total: None)
    check_file(output, overwrite)
    check_folder(output)
    say("check the artifact", 0, 0)
    manifest = read(artifact)
    verify_files(artifact, manifest)
    body = manifest.to_json()
    task = body.get("task") or {"kind": "chat"}
    program = program_of(task["kind"], _refused(task))
    facts = encode(facts_of(artifact, body, task["kind"]))
    vocabulary = _vocabulary(artifact, program, say)
    say("link the program", 0, 0)
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        code = _link(artifact, program, Path(folder) / "app")
    say("write the program", 0, 0)
    total = _write(artifact / WEIGHTS, output, code, facts, vocabulary, overwrite)
    sizes = len(code), len(facts), len(vocabulary), (artifact / WEIGHTS).stat().st_size
    return Package(output, task["kind"], manifest.target, program.example, total, *sizes)


def check_file(output: Path, overwrite: bool) -> None:
    """Raise OutputError unless `output` is free, or a plain file that may be replaced."""
    if output.is_dir():
        raise OutputError(f"{output} is a folder: -o names the file to make")
    if os.path.lexists(output) and not overwrite:
        raise OutputError(f"{output} exists already; choose another --output, or give --overwrite to replace it")


def check_folder(output: Path) -> None:
    """Raise OutputError unless a file can be made in the folder of `output`: known before anything is linked."""
    folder = output.parent
    if not folder.is_dir():
        raise OutputError(f"{folder}: there is no such folder: make it, or choose another --output")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{output.name}.edgeq-"):
            pass
    except OSError as error:
        raise OutputError(f"no file can be made in {folder}: {error.strerror or error}") from error


def _refused(task: dict[str, Any]) -> str | None:
    sections = [task[name] for name in ("text", "image") if name in task]
    return next((section["refused"] for section in sections if "refused" in section), None)


def _vocabulary(artifact: Path, program: Program, say: Progress) -> bytes:
    """The tokenizer's blob; nothing for programs that read no text."""
    if program.reads != TEXT:
        return b""
    from edgeq.runtime.tokens import load_tokenizer
    from edgeq.tokenizer import compile_tokenizer

    say("compile the tokenizer", 0, 0)
    load_tokenizer(artifact / "tokenizer.json")  # the artifact's own error for a missing or broken one
    return compile_tokenizer((artifact / "tokenizer.json").read_bytes())


def _link(artifact: Path, program: Program, out: Path) -> bytes:
    from edgeq.lower.link import link_program

    sources, include = list(program.sources), program.include
    if program.reads == TEXT:
        from edgeq import tokenizer

        sources, include = [*sources, *tokenizer.SOURCES], [*include, tokenizer.INCLUDE]
    link_program(artifact, sources, out, include=include, defines=[f"EDGEQ_APP_RUN={program.run}"])
    return out.read_bytes()


def _header(facts: bytes, vocabulary: bytes, weights_bytes: int) -> tuple[bytes, int]:
    """The segment's begin up to the weights, and the bytes of all of it."""
    facts_at = _LINE * 2
    vocabulary_at = aligned(facts_at + len(facts), _LINE)
    weights_at = aligned(vocabulary_at + len(vocabulary), PAGE)
    body = bytearray(weights_at)
    body[facts_at : facts_at + len(facts)] = facts
    body[vocabulary_at : vocabulary_at + len(vocabulary)] = vocabulary
    digest = xxhash.xxh64_intdigest(bytes(body[facts_at : vocabulary_at + len(vocabulary)]))
    sections = (facts_at, len(facts), vocabulary_at, len(vocabulary), weights_at, weights_bytes)
    _HEADER.pack_into(body, 0, MAGIC, VERSION, SECTIONS, *sections, digest)
    return bytes(body), weights_at + weights_bytes


def _write(weights: Path, output: Path, code: bytes, facts: bytes, vocabulary: bytes, overwrite: bool) -> int:
    """Write beside the output, then rename; returns the bytes of the file."""
    begin, segment_bytes = _header(facts, vocabulary, weights.stat().st_size)
    program = add_segment(code, segment_bytes)
    total = len(program) + segment_bytes
    part = None
    try:
        check_space(output, total)
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.edgeq-", delete=False) as file:
            part = Path(file.name)
            file.write(program)
            file.write(begin)
            with weights.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 22)
        part.chmod(_MODE)
        check_file(output, overwrite)
        part.replace(output)
    except OSError as error:
        raise cannot_write(output, error, total) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return total
