"""A target: what one `model.so` is linked for, and the ISA variants it carries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeq.targets.isa import Isa


@dataclass(frozen=True)
class Target:
    """A platform that artifacts are compiled for.

    Attributes:
        name: as given to `--target`.
        zig_triple: the C compiler's triple of `model.so`.
        static_triple: the triple of programs that need nothing at all (musl).
        isas: variants in order of preference; the last one runs on any CPU of the platform.
        partial: variants with a `base` among `isas`, preferred to it: built where a plan's kernels gain from them.
        about: one line for `edgeq targets`.
        machines: what `platform.machine()` says on it.
        aliases: other names that `--target` takes for it, beside `machines`.
    """

    name: str
    zig_triple: str
    static_triple: str
    isas: tuple[Isa, ...]
    about: str
    machines: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    partial: tuple[Isa, ...] = ()

    def variants(self, families: Iterable[str]) -> tuple[Isa, ...]:
        """The variants that an artifact with kernels of these families carries, in order of preference."""
        known = set(families)
        return tuple(isa for isa in self.every if not isa.base or any(map(isa.owns, known)))

    @property
    def every(self) -> tuple[Isa, ...]:
        """All variants in order of preference: those partial to one before it."""
        return tuple(v for isa in self.isas for v in (*(p for p in self.partial if p.base == isa.name), isa))
