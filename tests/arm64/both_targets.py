"""One model compiled for arm64 and x86-64, and the same work done by every variant of both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from isas import EMULATED, NATIVE, cpu
from qemu import qemu

from edgeq.compiling import compiler
from edgeq.compiling.compiler import Options, compile_into
from edgeq.lower.build import WEIGHTS, write_library
from edgeq.lower.link import link_program
from edgeq.runtime.facts import Entry
from edgeq.runtime.loader import Session
from edgeq.targets import find

DRIVE = Path(__file__).with_name("drive.c")


@dataclass(frozen=True)
class Feed:
    """Tokens for a token entry; the result is their logits."""

    ids: Sequence[int]

    def line(self) -> str:
        return " ".join(map(str, ("feed", len(self.ids), *self.ids)))

    def here(self, session: Session) -> bytes:
        session.feed(list(self.ids))
        return session.last_logits().tobytes()


@dataclass(frozen=True)
class Run:
    """Inputs of a static entry, those that another entry did not leave; the result is all outputs."""

    entry: Entry
    inputs: dict[str, np.ndarray]

    def line(self) -> str:
        names = [t.name for t in self.entry.inputs]
        given = (f"{names.index(n)} {' '.join(map(repr, a.ravel().tolist()))}" for n, a in self.inputs.items())
        return " ".join(("run", self.entry.name, str(len(self.inputs)), *given))

    def here(self, session: Session) -> bytes:
        outputs = session.run(self.entry.name, **self.inputs)
        return b"".join(outputs[t.name].tobytes() for t in self.entry.outputs)


Work = Sequence[Feed | Run]


class BothTargets:
    """Artifacts of one plan and one weights file; kernels and libraries are made for each target."""

    def __init__(self, options: Options, folder: Path):
        self.arm, self.x86, self.program = folder / "arm64", folder / "x86-64", folder / "drive"
        for target in (self.arm, self.x86):
            target.mkdir(parents=True)
        with mock.patch.object(compiler, "write_library", self._write_both):
            compile_into(self.arm, replace(options, target=find("arm64")), lambda *_: None)
        (self.x86 / WEIGHTS).symlink_to(self.arm / WEIGHTS)

    def _write_both(self, plan: Any, target: Any, info: Any, model: str, folder: Path, progress: Any) -> None:
        write_library(plan, target, info, model, folder, progress)
        write_library(plan, find("x86-64"), info, model, self.x86, progress)
        self.held = {isa.name for isa in plan.variants(find("x86-64"))}

    @cached_property
    def drive(self) -> Path:
        """Static executable for arm64 that does work from stdin (drive.c)."""
        link_program(self.arm, [DRIVE], self.program)
        return self.program

    def emulated(self, work: Work, on: str, variant: str = "-", threads: int = 1) -> subprocess.CompletedProcess[bytes]:
        """What the program says and returns on an emulated CPU; stdout is all results, one after another."""
        command = [*qemu(on), str(self.drive), str(self.arm / WEIGHTS), variant, str(threads)]
        return subprocess.run(command, input="\n".join(w.line() for w in work).encode(), capture_output=True)

    def results(self, work: Work, threads: int = 1) -> Iterator[tuple[str, bytes]]:
        """(variant, bits of all results) of each variant of both targets."""
        for isa in filter(lambda i: i.name in self.held, NATIVE):
            with Session(self.x86, threads=threads, variant=isa.name, verify=False) as session:
                yield isa.name, b"".join(w.here(session) for w in work)
        for isa in EMULATED:
            done = self.emulated(work, cpu(isa), isa.name, threads)
            assert done.returncode == 0, f"{isa.name}: {done.stderr.decode()} ({done.returncode})"
            yield isa.name, done.stdout


def check(both: BothTargets, work: Work, threads: int = 1) -> None:
    """Every variant gives the same bits, which are finite and not all alike."""
    found = dict(both.results(work, threads))
    first = next(iter(found.values()))
    values = np.frombuffer(first, np.float32)
    assert np.isfinite(values).all() and values.std() > 0
    differing = [name for name, result in found.items() if result != first]
    assert not differing, f"{', '.join(differing)} differ from {next(iter(found))}"
