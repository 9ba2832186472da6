"""Fixtures of tests that need the emulator, LLVM's tools, or a program for AArch64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from qemu import qemu

from edgeq.errors import TargetError
from edgeq.lower.toolchain import cc
from edgeq.modelled.counter import INCLUDE
from edgeq.modelled.tools import find_llvm


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """edgeq finds the emulator that the other tests of arm64 use; skips as they do."""
    monkeypatch.setenv("EDGEQ_QEMU", str(Path(qemu("cortex-a72")[0]).parent))


@pytest.fixture
def llvm() -> None:
    """Skips where llvm-mca is missing: pip has none, and continuous integration need not install it."""
    try:
        find_llvm("llvm-mca")
        find_llvm("llvm-objdump")
    except TargetError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`assemble(text, *options)`: C that is one asm statement -> a static program without a C library."""

    def build(text: str, *options: str) -> Path:
        folder = tmp_path_factory.mktemp("asm")
        (folder / "p.c").write_text(text)
        flags = ["-nostdlib", "-static", "-O1", f"-I{INCLUDE}", *options]
        cc("aarch64-linux-musl", [*flags, str(folder / "p.c"), "-o", str(folder / "p")], "p")
        return folder / "p"

    return build
