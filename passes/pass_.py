"""What a pass is: a frozen dataclass whose fields are its options, run between a precondition and a postcondition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from torch import fx

from edgeq.errors import UnsupportedError, VerifyError
from edgeq.ir.verify import verify


@dataclass(frozen=True)
class Site:
    """One place in the graph and what happened there: `module` is the Hugging Face name, `what` a phrase."""

    module: str
    what: str


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


@dataclass
class Context:
    """What passes share.

    Attributes:
        weights: reads weight values (`read(name, rows=None)`), None for a graph that came from text.
        tokens: a sample text, for passes that measure activations of a language model.
        texts: tokens of several sample texts, for passes that measure activations of an encoder.
        scales: what one entry's graph was scaled by, by the weights concerned: other entries share those weights.
        reports: of the passes so far.
    """

    weights: Any = None
    tokens: Sequence[int] = ()
    texts: Sequence[Sequence[int]] = ()
    scales: dict[str, Any] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)


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
