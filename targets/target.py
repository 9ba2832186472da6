"""A target: what one `model.so` is linked for, and the ISA variants it carries."""

from __future__ import annotations

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
