"""Builds the toys (toy.c, toy_static.c) with the compiler that edgeq uses, and says in numpy what toy.c must answer."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from edgeq.artifact.manifest import Manifest, write
from edgeq.artifact.verify import hash_folder
from edgeq.targets import native_name

HERE = Path(__file__).resolve().parent
RUNTIME = HERE.parent.parent / "edgeq" / "runtime"
CONTEXT, CHUNK, WIDTH = 64, 8, 32
FLAGS = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]


@dataclass(frozen=True)
class Toy:
    """A built toy: its folder, embedding f32[vocab, 32], and what it adds to each logit."""

    folder: Path
    embedding: np.ndarray
    bias: float

    def logits(self, tokens: list[int]) -> np.ndarray:
        """f32[vocab] after `tokens`; every number is an exact integer."""
        positions = np.arange(len(tokens))
        cache = self.embedding[tokens] + (positions % 5)[:, None]
        h = ((positions % 3 + 1)[:, None] * np.roll(cache, -7, axis=1)).sum(0)
        return (self.embedding @ h + self.bias).astype(np.float32)


def weights_file(embedding: np.ndarray) -> bytes:
    """A safetensors file of one tensor, its data aligned to 64 bytes."""
    data = embedding.astype(np.float32).tobytes()
    entry = {"e": {"dtype": "F32", "shape": embedding.shape, "data_offsets": [0, len(data)]}}
    header = json.dumps(entry).encode()
    header += b" " * (-(len(header) + 8) % 64)
    return struct.pack("<Q", len(header)) + header + data


def config(weights: bytes, vocab: int, bias: float, abi: int, best: bool, tokens: bool) -> str:
    """toy_config.h."""
    tensors = len(weights) - 8 - struct.unpack("<Q", weights[:8])[0]
    values = {
        "ABI": abi,
        "NAME": '"toy"',
        "TENSOR_BYTES": tensors,
        "HASH": f"{xxhash.xxh64_intdigest(weights):#x}u",
        "FILE_BYTES": len(weights),
        "BEST": 0 if best else "EDGEQ_NO_BEST",
        "VOCAB": vocab,
        "BIAS": bias,
        "TOKENS": int(tokens),
    }
    return "".join(f"#define TOY_{k} {v}\n" for k, v in values.items())


def sources(plan: str = "toy.c") -> list[str]:
    """The C files of a model.so."""
    return [str(HERE / plan), *(str(p) for p in sorted(RUNTIME.glob("*.c")))]


def build(
    folder: Path,
    *,
    seed: int = 0,
    vocab: int = 100,
    bias: float = 0,
    abi: int = 3,
    best: bool = True,
    plan: str = "toy.c",
    tokens: bool = True,
) -> Toy:
    """Write weights.safetensors and model.so into `folder`; without `tokens` toy_static.c has static entries alone."""
    folder.mkdir(parents=True, exist_ok=True)
    embedding = np.random.default_rng(seed).integers(-3, 4, (vocab, WIDTH)).astype(np.float32)
    weights = weights_file(embedding)
    (folder / "new").write_bytes(weights)
    (folder / "new").replace(folder / "weights.safetensors")  # a session may have mapped the old one
    (folder / "toy_config.h").write_text(config(weights, vocab, bias, abi, best, tokens))
    compile_with([sys.executable, "-m", "ziglang", "cc"], folder, folder / "new.so", plan=plan)
    (folder / "new.so").replace(folder / "model.so")
    write_manifest(folder)
    return Toy(folder, embedding, bias)


def write_manifest(folder: Path, target: str | None = None, **sections: Any) -> None:
    """edgeq.json with the hashes of what is in the folder now."""
    (folder / "edgeq.json").unlink(missing_ok=True)
    files = hash_folder(folder)
    write(Manifest("0", "toy", target or native_name(), "fp32", files, [], **sections), folder)


def compile_with(cc: list[str], folder: Path, out: Path, *flags: str, plan: str = "toy.c") -> None:
    """Compile toy and runtime with a C compiler; `folder` holds toy_config.h."""
    command = [*cc, *FLAGS, f"-I{RUNTIME}", f"-I{folder}", *sources(plan), "-o", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
