"""What a pass is: a frozen dataclass whose fields are its options, run between a precondition and a postcondition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, fx

from edgeq.calibrate.journal import Decisions
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


def _no_samples(gm: fx.GraphModule) -> list[Sample]:
    return []


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


@dataclass
class Context:
    """What passes share. All but `weights` are given by name.

    Attributes:
        weights: reads weight values (`read(name, rows=None)`), None for a graph that came from text.
        reports: of the passes so far.
        samples: inputs of a graph of this model that activations are measured on; [] when it takes something else.
        decisions: what passes decided, by step and by the weights concerned.
        progress: called with (stage, done, total).
        step: `"index:passes so far"` of the pass that runs, it being the last: decisions of a pass that runs twice, or
            in two pipelines, do not mix.
        bits: what the model will be quantized to, None when nobody said.
        formats: linears that have a weight format of their own: Hugging Face names or patterns -> `"w4g64a"`.
    """

    weights: Any = None
    reports: list[Report] = field(default_factory=list)
    samples: Callable[[fx.GraphModule], list[Sample]] = _no_samples
    decisions: Decisions = field(default_factory=Decisions)
    progress: Callable[[str, int, int], None] = _silent
    step: str = ""
    bits: Bits | None = None
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """Base of every pass. A pass rewrites the graph in place and leaves it valid.

    Subclasses set `name` (as on the command line), override `run`, and, where more than validity is needed,
    `requires` (raises UnsupportedError on graphs that it cannot take) and `ensures`. `measures` says that it cannot do
    without `context.samples`: a recipe leaves it out of entries that no sample fits.
    """

    name: ClassVar[str] = ""
    measures: ClassVar[bool] = False

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
        return self._with(given)

    def spelt(self) -> str:
        """As on the command line with every option: the same pass, whatever becomes of the defaults."""
        return self._with([(item.name, getattr(self, item.name)) for item in fields(self)])

    def _with(self, given: list[tuple[str, Any]]) -> str:
        return self.name + ("{" + ",".join(f"{name}={_text(value)}" for name, value in given) + "}" if given else "")


def refuse(what: str, sites: Iterable[Site]) -> None:
    """Raise UnsupportedError that lists every site, if there is any."""
    listed = [f"  {site.module}: {site.what}" for site in sites]
    if listed:
        raise UnsupportedError(f"{what}:\n" + "\n".join(listed))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
