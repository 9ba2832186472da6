"""Draws what long work reports: a rich bar a stage on a terminal, plain lines elsewhere, nothing with -q."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from edgeq.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Report = Callable[[str, int, int], None]
LINE_EVERY_S = 5.0


class Bars:
    """One bar a stage; a new stage completes the one before."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.stage = ""
        self.task: TaskID | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw `done` of `total` (0: unknown) of `stage`."""
        if stage != self.stage:
            self.finish()
            self.stage, self.task = stage, self.bars.add_task(stage, total=total or None)
        if self.task is not None:
            self.bars.update(self.task, completed=done, total=total or None)

    def finish(self) -> None:
        """Fill the bar of the last stage."""
        if self.task is not None:
            self.bars.update(self.task, total=1, completed=1)


class Lines:
    """A line when a stage begins, and at most one every LINE_EVERY_S seconds while it lasts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.stage = ""
        self.last = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say `done` of `total` (0: unknown) of `stage`, if it is time to."""
        now = self.clock()
        if stage == self.stage and now - self.last < LINE_EVERY_S:
            return
        count = f" {done}/{total}" if total and stage == self.stage else ""
        self.stage, self.last = stage, now
        click.echo(f"edgeq: {stage}{count}", err=True)


@contextmanager
def reporting() -> Iterator[Report]:
    """The reporter to hand to long work, drawn until the block ends."""
    if console.level() <= console.QUIET:
        yield lambda stage, done, total: None
        return
    if not console.animated():
        yield Lines()
        return
    with _rich_bars() as bars:
        reporter = Bars(bars)
        yield reporter
        reporter.finish()


def _rich_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
