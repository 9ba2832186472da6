"""The runtime tests' toys as libraries for Android, and as model.so of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import toy_model

from edgeq.lower.android import link_android
from edgeq.lower.toolchain import RUNTIME, archive


@dataclass(frozen=True)
class Toy:
    """A toy as a library for Android, and as model.so of this machine, with one weights file."""

    library: Path
    here: Path

    @property
    def weights(self) -> Path:
        return self.here / "weights.safetensors"


def make(folder: Path, plan: str = "toy.c") -> Toy:
    """A toy as an artifact for arm64, its kernels in its plan, and the library of it."""
    toy_model.build(folder, plan=plan)
    shutil.copy(toy_model.HERE / plan, folder / "model.c")
    archive([], folder / "kernels.a")
    toy_model.write_manifest(folder, target="arm64")
    link_android(folder, folder / "libedgeq_toy.so")
    return Toy(folder / "libedgeq_toy.so", folder)


def build_here(main: Path, toy: Toy, out: Path) -> Path:
    """A program of this machine with the toy's model.so."""
    options = ["-O1", f"-I{RUNTIME}", "-pthread", str(toy.here / "model.so"), f"-Wl,-rpath,{toy.here}", "-o", str(out)]
    subprocess.run([sys.executable, "-m", "ziglang", "cc", str(main), *options], check=True, capture_output=True)
    return out
