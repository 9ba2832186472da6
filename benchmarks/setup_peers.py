"""Installs the peers of the CPU benchmark from PyPI, apart from edgeq's own environment.

    python benchmarks/setup_peers.py            # about 15 minutes and 6 GB, most of it PyTorch

Leaves CACHE/peers/venv (onnxruntime-genai, OpenVINO, their converters) and CACHE/peers/llama.cpp
with `source` (out of llama-cpp-python's source distribution) and `build` (for this CPU).
Needs cmake, ninja (both on PyPI) and a C++ compiler, because llama.cpp is built natively.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSIONS = {
    "llama-cpp-python": "0.3.36",
    "onnxruntime-genai": "0.18.0",
    "openvino": "2026.4.1",
    "openvino-genai": "2026.4.1.0",
    "openvino-tokenizers": "2026.4.1.0",
    "optimum-intel": "2.2.0",
    "nncf": "3.4.0",
    "onnx-ir": "1.1.0",
    "torch": "2.13.0",
}
PROGRAMS = ("llama-bench", "llama-quantize", "llama-perplexity")
OPTIONS: tuple[str, ...] = (
    "GGML_NATIVE=ON",
    "BUILD_SHARED_LIBS=ON",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
)
OPTIONS += ("LLAMA_BUILD_TOOLS=ON", "LLAMA_BUILD_SERVER=OFF", "LLAMA_CURL=OFF", "CMAKE_BUILD_TYPE=Release")


def run(*command: object) -> None:
    """Run one step in the foreground; a failed one ends the script with its own message."""
    print("+", *command, flush=True)
    done = subprocess.run([str(word) for word in command], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def install_packages(venv: Path) -> None:
    """Make the peers' environment."""
    pip = venv / "bin" / "pip"
    run(sys.executable, "-m", "venv", venv)
    python_peers = {name: version for name, version in VERSIONS.items() if name != "llama-cpp-python"}
    pinned = [f"{name}=={version}" for name, version in python_peers.items()]
    run(pip, "install", "-q", *pinned, "transformers", "gguf", "sentencepiece", "cmake", "ninja")
    # optimum pulls a torchvision made for another torch, which then breaks transformers' imports.
    run(pip, "uninstall", "-q", "-y", "torchvision")


def unpack_llama_cpp(venv: Path, folder: Path) -> None:
    """Leave the llama.cpp tree of the source distribution at folder/source."""
    package = f"llama-cpp-python=={VERSIONS['llama-cpp-python']}"
    download = folder / "download"
    run(venv / "bin/pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", package, "-d", download)
    with tarfile.open(next(download.glob("*.tar.gz"))) as archive:
        archive.extractall(download, filter="data")
    shutil.move(next(download.glob("*/vendor/llama.cpp")), folder / "source")
    shutil.rmtree(download)


def build_llama_cpp(venv: Path, folder: Path, jobs: int) -> None:
    """Build the programs at folder/build/bin."""
    options = [f"-D{option}" for option in OPTIONS]
    ninja = venv / "bin" / "ninja"
    generator = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja.absolute()}")
    run(venv / "bin/cmake", "-S", folder / "source", "-B", folder / "build", *generator, *options)
    run(venv / "bin/cmake", "--build", folder / "build", f"-j{jobs}", "--target", *PROGRAMS)


def main() -> None:
    """Command line: install what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    venv, folder = args.cache / "peers" / "venv", args.cache / "peers" / "llama.cpp"
    if not (venv / "bin" / "optimum-cli").exists():
        install_packages(venv)
    if not (folder / "source").exists():
        unpack_llama_cpp(venv, folder)
    build_llama_cpp(venv, folder, args.jobs)


if __name__ == "__main__":
    main()
