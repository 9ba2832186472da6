"""The machine that predictions are measured on: its best instruction-set variant, and what its timings depend on."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from edgeq import __version__
from edgeq.lower.objects import generator_hash
from edgeq.measure.machine import this_machine
from edgeq.targets import Isa, Target

COLD_CACHES, COLD_LEAST, COLD_MOST = 2.5, 32 << 20, 256 << 20


def best_isa(target: Target) -> Isa:
    """The variant of a target for this machine that the loader takes here."""
    has = this_machine().features
    return next((isa for isa in target.isas if set(isa.needs) <= has), target.isas[-1])


def cold_bytes() -> int:
    """Bytes of weights that, read in turn, find nothing of themselves in a cache; at most a quarter of a gigabyte."""
    return min(max(int(COLD_CACHES * this_machine().cache_bytes), COLD_LEAST), COLD_MOST)


def machine_key(threads: int) -> str:
    """What timings hold for: this processor and its cores, these threads, these generators of kernels."""
    machine = this_machine()
    parts = [
        machine.cpu, machine.arch, str(machine.cores), str(machine.cache_bytes), *sorted(machine.features),
        str(threads), __version__, version("apache-tvm"), generator_hash(),
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def usable_threads(threads: int) -> int:
    """As the runtime counts: 0 is one for each core that this process may use."""
    return threads or this_machine().cores
