"""A plan made runnable without its weights: the very code of an artifact over a sparse file of zeros.

What kernels do does not depend on the values, so its speed is the artifact's. Tensors beyond PLAIN bytes share the
memory of earlier ones: what is read next was long evicted from the caches, as in the artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xxhash import xxh64

from edgeq.artifact.weights_file import ALIGNMENT
from edgeq.lower.build import WEIGHTS
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.link import KERNELS, LIBRARY, SOURCE, link_library
from edgeq.lower.objects import kernel_object
from edgeq.lower.plan import Plan
from edgeq.lower.toolchain import archive
from edgeq.predict.machine import best_isa, cold_bytes
from edgeq.targets import Isa, Target

PLAIN = 256 << 20  # bytes of weights up to which every tensor has its own place
HEADER = (56).to_bytes(8, "little") + b"{}".ljust(56)


def write_blank(plan: Plan, sizes: Mapping[str, int], target: Target, folder: Path, isa: Isa | None = None) -> None:
    """Write what a Session opens (with `verify=False`) into `folder`, kernels for one variant alone.

    Args:
        plan: of any entries. sizes: tensor -> bytes, of every weight that the plan names, in the file's order.
        isa: the variant; None is the one that the loader takes on this machine, and those partial to it.

    Raises:
        ToolchainError: as a compile.
    """
    isas = [isa] if isa else plan.variants(replace(target, isas=(best_isa(target),)))
    info = shared_layout(sizes, max(cold_bytes(), PLAIN))
    info = replace(info, hash=_hash(info.tensor_bytes))
    (folder / SOURCE).write_text(emit(plan, isas, info, "blank"))
    archive([kernel_object(plan.kernels().values(), isa) for isa in isas], folder / KERNELS)
    link_library(target.zig_triple, folder, folder / LIBRARY)
    with open(folder / WEIGHTS, "wb") as file:
        file.write(HEADER)
        file.truncate(info.file_bytes)


def shared_layout(sizes: Mapping[str, int], window: int) -> WeightsInfo:
    """Offsets one after another, from the start again wherever `window` is full; a larger tensor has room as well."""
    room = max([window, *sizes.values()])
    offsets: dict[str, int] = {}
    at = end = 0
    for name, size in sizes.items():
        at = 0 if at + size > room else at
        offsets[name] = at
        at += -(-size // ALIGNMENT) * ALIGNMENT
        end = max(end, at)
    return WeightsInfo(offsets, end, len(HEADER) + end, 0)


def _hash(zeros: int) -> int:
    """XXH64 of the file: the header, then so many zeros."""
    digest, block = xxh64(HEADER), bytes(1 << 20)
    for at in range(0, zeros, len(block)):
        digest.update(block[: min(len(block), zeros - at)])
    return digest.intdigest()
