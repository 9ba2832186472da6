"""What calibration decided: in memory, or in a folder from which an interrupted compile goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
INDEX = "journal.json"
OURS = ("decisions-*.safetensors*", "activations-*.safetensors*", f"{INDEX}.*")
AGAIN = "compile again without --resume"
Carried = list[dict[str, Any]]  # a sample's activations (and numbers) between two blocks, by node name


class Decisions:
    """What passes decided at their sites, in memory.

    Entries of a model share weights: what is decided for one holds for all. `step` is the pass and those before it
    (`Context.step`), `key` names the weights concerned (`FoldPoint.key`).
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, Tensor]] = {}

    def get(self, step: str, key: str) -> dict[str, Tensor] | None:
        """The tensors put for `key` in that step, None when there are none yet."""
        return self._kept.get((step, key))

    def put(self, step: str, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of `key`."""
        self._kept[step, key] = dict(tensors)


class Journal(Decisions):
    """Decisions that outlive the process, and the activations between blocks of the stream under way.

    `stream` saves both after every block: data files of new names, then the index that names them, replaced whole. An
    interrupted compile goes on after the last block saved and decides the rest equal bit for bit. For that a pass
    puts its decisions in the visit of the block that they come from (from a block whose visit put none, a stream is
    not saved), and rewrites the graph after the stream.

    Args:
        folder: exists; holds no journal, or one to go on with.
        fingerprint: what decisions depend on, by name: `{"model": hash, "options": text, "samples": hash, ...}`.

    Raises:
        UsageError: the journal there is damaged, or has another fingerprint or format; the message names what differs.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, str]) -> None:
        super().__init__()
        self._folder = folder
        self._index: dict[str, Any] = {
            "format": FORMAT, "fingerprint": dict(fingerprint), "decisions": [], "stream": None, "next": 0
        }  # fmt: skip
        self._unsaved: dict[tuple[str, str], dict[str, Tensor]] = {}
        self._step = ""
        if (folder / INDEX).exists():
            self._open()
        self._write_index()

    def get(self, step: str, key: str) -> dict[str, Tensor] | None:
        """The tensors put for `key` in that step, None when there are none yet."""
        self._step = step
        return super().get(step, key)

    def put(self, step: str, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of `key`; on disk with the next block saved, or by `flush`."""
        super().put(step, key, tensors)
        self._unsaved[step, key] = self._kept[step, key]

    @property
    def unsaved(self) -> int:
        """How many decisions are not on disk yet."""
        return len(self._unsaved)

    def place(self, stage: str, digest: str) -> str:
        """Name of a stream: the step that decisions were last asked for, its stage, and a hash of what it runs on."""
        return f"{self._step} | {stage} | {digest}"

    def saved(self, place: str) -> tuple[int, Carried] | None:
        """(blocks done, activations after them) of that stream; None when it is not the one under way."""
        under_way = self._index["stream"]
        if under_way is None or under_way["place"] != place:
            return None
        tensors = self._read(under_way)
        carried: Carried = [dict(numbers) for numbers in under_way["numbers"]]
        for name, tensor in tensors.items():
            sample, node = name.split("/", 1)
            carried[int(sample)][node] = tensor
        return under_way["blocks"], carried

    def save(self, place: str, blocks: int, carried: Carried) -> None:
        """Make decisions durable, and with them what that stream needs after its first `blocks` blocks."""
        tensors = {f"{i}/{n}": v for i, values in enumerate(carried) for n, v in values.items() if not _number(v)}
        numbers = [{n: v for n, v in values.items() if _number(v)} for values in carried]
        written = self._write("activations", tensors)
        self._index["stream"] = {**written, "place": place, "blocks": blocks, "numbers": numbers}
        self.flush()

    def finish(self) -> None:
        """Make decisions durable; no stream is under way any more."""
        self._index["stream"] = None
        self.flush()

    def flush(self) -> None:
        """Make the decisions put so far durable."""
        if self._unsaved:
            keys = [[step, key, list(held)] for (step, key), held in self._unsaved.items()]
            tensors = {f"{i}/{n}": v for i, held in enumerate(self._unsaved.values()) for n, v in held.items()}
            self._index["decisions"].append({**self._write("decisions", tensors), "keys": keys})
            self._unsaved = {}
        self._write_index()

    def _write(self, kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        from edgeq.calibrate.journal_file import write_tensors

        name = f"{kind}-{self._index['next']}.safetensors"
        self._index["next"] += 1
        return {"file": name, "hash": write_tensors(self._folder / name, tensors)}

    def _write_index(self) -> None:
        """From here on the index's data counts; files that it does not name are removed."""
        from edgeq.calibrate.journal_file import replace_file

        text = json.dumps(self._index).encode()
        replace_file(self._folder / INDEX, [_digest(text), b"\n", text])
        named = {part["file"] for part in self._data()}
        for path in (path for pattern in OURS for path in self._folder.glob(pattern)):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def _data(self) -> list[dict[str, Any]]:
        under_way = self._index["stream"]
        return [*self._index["decisions"], *([under_way] if under_way else [])]

    def _open(self) -> None:
        """Take over the journal in the folder; every file is checked before anything is computed."""
        from edgeq.calibrate.journal_file import file_hash

        found = _parsed(self._folder / INDEX)
        _check_same(self._folder, self._index, found)
        self._index = found
        for part in self._data():
            if file_hash(self._folder / part["file"]) != part["hash"]:
                raise _damaged(self._folder / part["file"])
        for part in found["decisions"]:
            tensors = self._read(part)
            for i, (step, key, names) in enumerate(part["keys"]):
                self._kept[step, key] = {name: tensors[f"{i}/{name}"] for name in names}

    def _read(self, part: dict[str, Any]) -> dict[str, Tensor]:
        from edgeq.calibrate.journal_file import read_tensors

        return read_tensors(self._folder / part["file"])


def _number(held: object) -> bool:
    return isinstance(held, (int, float))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if digest != _digest(text):
        raise _damaged(path)
    return json.loads(text)


def _digest(text: bytes) -> bytes:
    import xxhash

    return xxhash.xxh64_hexdigest(text).encode()


def _check_same(folder: Path, ours: dict[str, Any], found: dict[str, Any]) -> None:
    if found["format"] != FORMAT:
        raise UsageError(f"{folder}: its format is {found['format']}, this edgeq writes {FORMAT}: {AGAIN}")
    mine, theirs = ours["fingerprint"], found["fingerprint"]
    changed = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    if changed:
        listed = ", ".join(f"{n} (was {theirs.get(n, 'nothing')}, is {mine.get(n, 'nothing')})" for n in changed)
        raise UsageError(f"{folder}: the interrupted compile was another one: {listed}: {AGAIN}")


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path}: damaged, what it holds has another hash: {AGAIN}")
