"""Kernel object files, one an instruction set, cached by the kernels' names and the hash of their generators."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from edgeq import kernels as kernels_package
from edgeq.kernels.kernel import Kernel
from edgeq.lower import glue
from edgeq.targets.isa import Isa


def cache_folder() -> Path:
    """`$EDGEQ_CACHE`, or `edgeq` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("EDGEQ_CACHE") or Path(base) / "edgeq")


def kernel_object(kernels: Iterable[Kernel], isa: Isa) -> Path:
    """Object file with those of these kernels that are this variant's own, from the cache when it is there."""
    kernels = _owned(kernels, isa)
    path = cache_folder() / "kernels" / f"{_key(kernels, isa)}.o"
    if not path.exists():
        _build(kernels, isa, path)
    return path


def has_object(kernels: Iterable[Kernel], isa: Isa) -> bool:
    """Whether the object file of these kernels is in the cache."""
    return (cache_folder() / "kernels" / f"{_key(_owned(kernels, isa), isa)}.o").exists()


def _owned(kernels: Iterable[Kernel], isa: Isa) -> list[Kernel]:
    return [kernel for kernel in kernels if isa.owns(kernel.family)]


def _build(kernels: list[Kernel], isa: Isa, path: Path) -> None:
    from edgeq.kernels.compile import compile_object

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / "kernels.o"
        compile_object(kernels, isa, fresh)
        shutil.move(fresh, path)  # atomic: another compile may be making the same file


def _key(kernels: list[Kernel], isa: Isa) -> str:
    text = [repr(isa), version("apache-tvm"), generator_hash(), *sorted(k.name for k in kernels)]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:32]


def generator_hash() -> str:
    """Hash of the source of kernel factories and of glue's schedule: any change makes new objects."""
    digest = hashlib.sha256()
    folders = (Path(kernels_package.__path__[0]), Path(glue.__path__[0]))
    for path in (path for folder in folders for path in sorted(folder.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()
