"""Which systems the CPU benchmark runs, where their files lie, and how a round of one is started."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

from peers.runner import NOT_INSTALLED

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class System:
    """One row of the table: `module` of peers, `format` it converts to, `file` its prepared model."""

    name: str
    module: str
    format: str
    file: str


EDGEQ = "edgeq"
PEERS = (
    System("llama.cpp Q4_0", "llama_cpp", "Q4_0", "Q4_0.gguf"),
    System("llama.cpp Q4_K_M", "llama_cpp", "Q4_K_M", "Q4_K_M.gguf"),
    System("onnxruntime-genai int4", "onnxruntime_genai", "int4", "onnxruntime-genai"),
    System("OpenVINO int4", "openvino", "int4", "openvino"),
)


def all_systems(bits: str) -> tuple[System, ...]:
    """edgeq at `bits`, then the peers."""
    return (System(f"edgeq {bits}", EDGEQ, bits, f"edgeq-{bits}"), *PEERS)


class FailedError(Exception):
    """A system that gave no figures; the text is its own last line."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where everything lies: `cache` as described in README.md; `artifacts` replaces edgeq's folders."""

    cache: Path
    threads: int
    prompt: int
    decode: int
    artifacts: dict[str, Path] = dataclasses.field(default_factory=dict)

    def prepared(self, system: System, model: str) -> Path:
        """The system's own form of a model."""
        if system.module == EDGEQ and model in self.artifacts:
            return self.artifacts[model].absolute()
        return (self.cache / "prepared" / model / system.file).absolute()

    def python(self, system: System) -> str:
        """The interpreter that runs a system: edgeq's is this one, the peers have their own."""
        peers = self.cache / "peers" / "venv" / "bin" / "python"
        return sys.executable if system.module == EDGEQ else str(peers.absolute())

    def call(self, system: System, verb: str, prepared: Path, *options: object) -> str:
        """Run one verb of a peer's module in its own process; its stdout, or FailedError."""
        words = [verb, prepared, "--tools", (self.cache / "peers" / "llama.cpp").absolute(), "--threads", self.threads]
        command = [self.python(system), "-m", f"peers.{system.module}", *map(str, (*words, *options))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
        except FileNotFoundError:
            raise FailedError("not installed (python benchmarks/setup_peers.py)") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            raise FailedError(lines[-1] if done.returncode == NOT_INSTALLED else "failed: " + "\n".join(lines[-5:]))
        return done.stdout

    def prepare(self, system: System, model: str, folder: Path) -> None:
        """Convert `folder` unless that was done before; nothing half-made keeps the final name."""
        final = self.prepared(system, model)
        if final.exists():
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(final.name + f".partial{time.time_ns()}")
        self.call(system, "prepare", partial, "--model", folder.absolute(), "--format", system.format)
        partial.rename(final)

    def round(self, system: System, model: str, decode_only: bool) -> dict:
        """One timed round: the fields of peers.runner.Round."""
        options = ["--prompt", self.prompt, "--decode", self.decode, "--started-at", time.monotonic()]
        options += ["--decode-only"] if decode_only else []
        output = self.call(system, "round", self.prepared(system, model), *options)
        return json.loads(output.splitlines()[-1])
