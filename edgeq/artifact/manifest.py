"""edgeq.json: what an artifact is, what it holds, and the hashes that tell whether it is still whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgeq.artifact.folder import MANIFEST
from edgeq.artifact.hashes import FileHash
from edgeq.artifact.space import cannot_write
from edgeq.artifact.storage import Component, StoredTensor, components
from edgeq.errors import ArtifactError

SCHEMA_VERSION = 3
LATER = ("budget", "imports")  # what the first artifacts of this schema lack
AGAIN = "compile it again or copy the folder again"


@dataclass(frozen=True)
class Manifest:
    """The contents of edgeq.json; `write` adds the schema version, the storage table and the manifest's own hash.

    Attributes:
        edgeq: version that wrote it. model: name as given to compile. target: `x86-64`. bits: canonical text.
        files: file name -> size and hashes, for every file of the folder but edgeq.json.
        tensors: what the weights file holds, in file order.
        source: where the model came from: `architecture`, `revision`, `license`, ... as known.
        passes: every pass that ran, in order, each with its options.
        recipe: what `edgeq compile -c` repeats: `options` as given, `passes` that the recipe stood for, what
            `calibration` they were measured on (by hash), `candidates` that `best` compared.
        entries: of every entry of the plan `name`, `kind` ("token", "static"), `base` (its name without length and
            batch), `batch`, `length`, `max_rows`, `inputs` and `outputs` (lists of `name`, `dtype` "f32" or "i32",
            `shape`, `row_stride` in elements), and `regions` in the plan's order.
        kernels: `name`, `family`, `what` (of glue: the ops it fuses), `unit`, `weight_bytes`, `ops` of every kernel.
        variants: `name`, `needs` of every ISA variant.
        memory: bytes by use: `weights`, `arena`, `private_per_thread`, `kv_cache`, ...; with `context` and `chunk`.
        task: what stands between a user's text, photo or sound and the entries' tensors: `kind` and its facts.
        declined: sites that a pass left alone: `pass`, `module`, `reason`.
        extra: sections of commands that ran later: latency, quality.
        budget: what was promised of size, perplexity and latency, and what is kept (docs/budgets.md); {}: nothing.
        imports: what became of each weight that the checkpoint held quantized: `name`, `source`, `outcome`, `format`,
            `rounding` (of scales, relative), `reason` (docs/imports.md); []: it held floats.
    """

    edgeq: str
    model: str
    target: str
    bits: str
    files: dict[str, FileHash]
    tensors: list[StoredTensor]
    source: dict[str, Any] = field(default_factory=dict)
    passes: list[Any] = field(default_factory=list)
    recipe: dict[str, Any] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    variants: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    declined: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    imports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def storage(self) -> list[Component]:
        """Bytes and bits a weight by component, the total last."""
        return components(self.tensors)

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without its hash."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self), "storage": [asdict(row) for row in self.storage]}


def write(manifest: Manifest, folder: Path) -> None:
    """Write edgeq.json into `folder`, an older one being replaced whole; raises OutputError."""
    body = manifest.to_json()
    part = folder / f"{MANIFEST}.part"
    try:
        part.write_text(json.dumps({**body, "hash": _digest(body)}, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / MANIFEST)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise cannot_write(folder / MANIFEST, error) from error


def read(folder: Path) -> Manifest:
    """Read edgeq.json and check that it is whole; the other files are `verify.verify_files`'s.

    Raises ArtifactError: not an artifact, damaged, of an older or newer schema.
    """
    return read_file(folder / MANIFEST)


def read_file(path: Path) -> Manifest:
    """`read` of an edgeq.json wherever it lies, perhaps without the rest of its artifact."""
    body = _parse(path)
    _check_schema(path, body.get("schema_version"))
    if body.pop("hash", None) != _digest(body):
        raise ArtifactError(f"{path}: its contents do not match its hash: it was damaged or edited; {AGAIN}")
    try:
        return _build(body)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: a section is missing or of the wrong form ({error}); {AGAIN}") from error


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ArtifactError(f"{path.parent} is not an edgeq artifact: it has no {MANIFEST}")
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read as JSON ({error}); {AGAIN}") from error
    if not isinstance(body, dict):
        raise ArtifactError(f"{path}: not a JSON object; {AGAIN}")
    return body


def _check_schema(path: Path, schema: Any) -> None:
    if not isinstance(schema, int) or schema < 1:
        raise ArtifactError(f"{path}: no schema version; {AGAIN}")
    if schema > SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: written by a newer edgeq (schema {schema}, this one reads {SCHEMA_VERSION}); upgrade edgeq"
        )
    if schema < SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: written by an older edgeq (schema {schema}, this one reads {SCHEMA_VERSION}); compile it again"
        )


def _build(body: dict[str, Any]) -> Manifest:
    values = {f.name: body[f.name] for f in fields(Manifest) if f.name not in LATER or f.name in body}
    values["files"] = {name: FileHash(**entry) for name, entry in values["files"].items()}
    values["tensors"] = [_tensor(entry) for entry in values["tensors"]]
    return Manifest(**values)


def _tensor(entry: dict[str, Any]) -> StoredTensor:
    return StoredTensor(**{**entry, "sources": tuple(entry["sources"]), "shape": tuple(entry["shape"])})


def _digest(body: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON text: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
