"""Models of the zoo through the whole road, for one instruction set, and their entries run beside eager."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import static_zoo as zoo

from edgeq.compiling.compiler import Options, compile_into
from edgeq.frontend.entries import Shapes
from edgeq.measure.machine import this_machine
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import Target, find

CONTEXT, CHUNK = 32, 16


def one_isa() -> Target:
    """This machine as a target of its best instruction set alone."""
    target = find("native")
    best = next(isa for isa in target.isas if set(isa.needs) <= set(this_machine().features))
    return dataclasses.replace(target, isas=(best,))


def compile_folder(model: Path, artifact: Path, bits: str, shapes: Shapes | None = None) -> Session:
    """Compile a Hugging Face folder and open it."""
    artifact.mkdir()
    options = Options(str(model), one_isa(), Bits.parse(bits), CONTEXT, CHUNK, shapes=shapes or Shapes())
    compile_into(artifact, options, lambda *_: None)
    return Session(artifact, threads=2, verify=False)


def compile_zoo(name: str, model: Path, artifact: Path, bits: str, batches: tuple[int, ...] = ()) -> Session:
    """Compile a saved model of the zoo for its lengths and batches."""
    recipe = zoo.ZOO[name]
    return compile_folder(model, artifact, bits, Shapes(batches or recipe.batches, recipe.lengths or (128,)))


@dataclass
class Pair:
    """An output of an entry and what eager gives for it."""

    where: str
    want: np.ndarray
    got: np.ndarray

    @property
    def error(self) -> float:
        """Largest difference relative to eager's largest value."""
        return float(np.abs(self.want - self.got).max() / np.abs(self.want).max())

    @property
    def cosine(self) -> float:
        a, b = self.want.astype(np.float64).ravel(), self.got.astype(np.float64).ravel()
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@dataclass
class Comparison:
    """Every output of every run, in order."""

    pairs: list[Pair] = field(default_factory=list)

    @property
    def error(self) -> float:
        return max(pair.error for pair in self.pairs)

    @property
    def cosine(self) -> float:
        return min(pair.cosine for pair in self.pairs)

    def worst(self, least_cosine: bool = False) -> str:
        found = min(self.pairs, key=lambda p: p.cosine) if least_cosine else max(self.pairs, key=lambda p: p.error)
        return f"{found.where}: error {found.error:.1e}, cosine {found.cosine:.6f}"


def compare(session: Session, runs: list[zoo.Run]) -> Comparison:
    """Run every entry in order; each output that the entry has, and the logits of tokens fed after it."""
    found = Comparison()
    for run in runs:
        for name, got in session.run(run.entry, **taken(session, run)).items():
            found.pairs.append(Pair(f"{run.entry}.{name}", run.outputs[name], got))
        if run.logits is not None:
            session.rewind(0)
            found.pairs.append(Pair(f"{run.entry}, decode", run.logits, session.logits(run.tokens)))
    return found


def taken(session: Session, run: zoo.Run) -> dict[str, np.ndarray]:
    """Of a run's inputs those that the entry declares; the rest it has dropped as unused."""
    entry = next((entry for entry in session.entries if entry.name == run.entry), None)
    if entry is None:
        raise AssertionError(f"no entry {run.entry} among {', '.join(e.name for e in session.entries)}")
    return {tensor.name: run.inputs[tensor.name] for tensor in entry.inputs if tensor.name in run.inputs}
