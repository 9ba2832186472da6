"""What `edgeq --version` prints."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import edgeq


def installed(package: str) -> str:
    """Version of an installed package, or `not installed`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def llvm() -> str:
    """Major version of the LLVM inside TVM, or why it is unknown."""
    try:
        from tvm.target import codegen
    except ImportError as error:
        return f"unknown ({error})"
    return str(codegen.llvm_version_major())


def lines() -> list[str]:
    """One line a component."""
    parts = {
        "edgeq": edgeq.__version__,
        "tvm": installed("apache-tvm"),
        "llvm": llvm(),
        "zig": installed("ziglang"),
        "torch": installed("torch"),
        "transformers": installed("transformers"),
    }
    return [f"{name} {value}" for name, value in parts.items()]
