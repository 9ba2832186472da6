"""What a pass is: a frozen dataclass whose fields are its options, run between a precondition and a postcondition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, fx

from edgeq.errors import UnsupportedError, VerifyError
from edgeq.ir.verify import verify

if TYPE_CHECKING:
    from edgeq.calibrate.samples import Sample
    from edgeq.quant.bits import Bits


@dataclass(frozen=True, eq=False)
class Range:
    """How far each channel of an activation reaches over the counted rows of all samples: f32 `[C]` each."""

    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Site:
    """One place in the graph and what happened there: `module` is the Hugging Face name, `what` a phrase.

    before, after: the activation's channel ranges, of passes that measure them.
    """

    module: str
    what: str
    before: Range | None = None
    after: Range | None = None


@dataclass(frozen=True)
class Report:
    """What a pass did: the sites it changed, and those it declined with the reason."""

    name: str
    changed: tuple[Site, ...] = ()
    declined: tuple[Site, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.changed)} changed, {len(self.declined)} declined"]
        lines += [f"  {site.module}: {site.what}" for site in self.changed]
        lines += [f"  {site.module}: declined, {site.what}" for site in self.declined]
        return "\n".join(lines)


class Remembers(Protocol):
    """What a pass decided at a site, kept for other entries of the model (they share weights) and for `--resume`."""

    def get(self, step: str, key: str) -> dict[str, Tensor] | None:
        """The tensors put for `key` in that step of the pipeline, None when there are none yet."""

    def put(self, step: str, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of `key`."""


class Decisions:
    """Decisions in memory."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, Tensor]] = {}

    def get(self, step: str, key: str) -> dict[str, Tensor] | None:
        """The tensors put for `key` in that step, None when there are none yet."""
        return self._kept.get((step, key))

    def put(self, step: str, key: str, tensors: dict[str, Tensor]) -> None:
        """Keep the tensors of `key`."""
        self._kept[step, key] = tensors


def _no_samples(gm: fx.GraphModule) -> list[Sample]:
    return []


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


@dataclass
class Context:
    """What passes share. All but `weights` are given by name.

    Attributes:
        weights: reads weight values (`read(name, rows=None)`), None for a graph that came from text.
        tokens, texts, scales: what `smooth` takes until it reads `samples` and `decisions`.
        reports: of the passes so far.
        samples: inputs of a graph of this model that activations are measured on; [] when it takes something else.
        decisions: what passes decided, by step and by the weights concerned.
        progress: called with (stage, done, total).
        step: `"index:pass text"` of the pass that runs, so that decisions of a pass that runs twice do not mix.
        bits: what the model will be quantized to, None when nobody said.
    """

    weights: Any = None
    tokens: Sequence[int] = ()
    texts: Sequence[Sequence[int]] = ()
    scales: dict[str, Any] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    samples: Callable[[fx.GraphModule], list[Sample]] = _no_samples
    decisions: Remembers = field(default_factory=Decisions)
    progress: Callable[[str, int, int], None] = _silent
    step: str = ""
    bits: Bits | None = None


@dataclass(frozen=True)
class Pass:
    """Base of every pass. A pass rewrites the graph in place and leaves it valid.

    Subclasses set `name` (as on the command line), override `run`, and, where more than validity is needed,
    `requires` (raises UnsupportedError on graphs that it cannot take) and `ensures`.
    """

    name: ClassVar[str] = ""

    def __call__(self, gm: fx.GraphModule, context: Context | None = None) -> Report:
        """Run between the checks; VerifyError names the pass when it left an invalid graph."""
        context = context or Context()
        self.requires(gm)
        report = self.run(gm, context)
        gm.graph.lint()
        gm.recompile()
        try:
            self.ensures(gm)
        except VerifyError as error:
            raise VerifyError(f"after pass {self}: {error}") from error
        context.reports.append(report)
        return report

    def requires(self, gm: fx.GraphModule) -> None:
        """The graph is valid."""
        verify(gm)

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Rewrite the graph in place."""
        raise NotImplementedError

    def ensures(self, gm: fx.GraphModule) -> None:
        """The graph is valid."""
        verify(gm)

    def __str__(self) -> str:
        """As on the command line, options that differ from their defaults included."""
        options = [(item, getattr(self, item.name)) for item in fields(self)]
        given = [(item.name, value) for item, value in options if value != item.default]
        return self.name + ("{" + ",".join(f"{name}={_text(value)}" for name, value in given) + "}" if given else "")


def refuse(what: str, sites: Iterable[Site]) -> None:
    """Raise UnsupportedError that lists every site, if there is any."""
    listed = [f"  {site.module}: {site.what}" for site in sites]
    if listed:
        raise UnsupportedError(f"{what}:\n" + "\n".join(listed))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
