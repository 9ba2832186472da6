"""Draws what long work reports and how long it still takes: a rich bar a stage, or plain lines; nothing with -q."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from edgeq.cli import console
from edgeq.cli.time_left import TimeLeft

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
        self.left = TimeLeft()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Draw `done` of `total` (0: unknown) of `stage`."""
        if stage != self.stage:
            self.finish()
            self.left = TimeLeft()
            self.stage, self.task = stage, self.bars.add_task(stage, total=total or None, left=self.left)
        if self.task is not None:
            self.left.report(done, total)
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
        self.left = TimeLeft(clock)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say `done` of `total` (0: unknown) of `stage`, if it is time to."""
        now = self.clock()
        begins = stage != self.stage
        self.left = TimeLeft(self.clock) if begins else self.left
        self.left.report(done, total)
        if not begins and now - self.last < LINE_EVERY_S:
            return
        words = self.left.words()
        count = f" {done}/{total}{f', {words}' if words else ''}" if total and not begins else ""
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
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Left(rich.ProgressColumn):
        """Drawn anew several times a second, so it counts down between reports."""

        def render(self, task: rich.Task) -> Text:
            return Text("" if task.finished else task.fields["left"].words())

    counts = rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), Left()
    return rich.Progress(rich.TextColumn("{task.description}"), rich.BarColumn(), *counts, console=Console(stderr=True))
