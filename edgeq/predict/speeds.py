"""Tokens a second and milliseconds of a plan on this machine: its own code over blank weights, region by region."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.measure.latency import write_inputs
from edgeq.measure.speed import prompt
from edgeq.predict.blank_library import write_blank
from edgeq.predict.machine import usable_threads
from edgeq.predict.timings import Timings
from edgeq.predict.undisturbed import region_seconds, spread, undisturbed
from edgeq.targets import Target

if TYPE_CHECKING:
    from edgeq.predict.blank_plan import Drawn
    from edgeq.runtime.loader import Session

Progress = Callable[[str, int, int], None]
BUDGET_S = 1.0  # of one figure
DECODE_TOKENS = 128  # as `edgeq profile` decodes: from an empty context, so that half of them lie before on average
PROMPTS = (128, 512)
KEPT_ERROR = 0.25  # figures of a machine that is busy with other things are not kept
MODEL_ERROR = 0.10  # assumed: blank against real weights were 7 % apart at worst, on a busy machine (docs/dry-run.md)


@dataclass(frozen=True)
class Speed:
    """Seconds of one run of an entry.

    Attributes:
        name: `decode_128`, `prefill_512` (as in `edgeq profile --json`), or a static entry's name.
        seconds: of one token (decode), of the whole prompt (prefill), of one run (static).
        tokens: that this takes in; 0 of a static entry. position: of the first.
        source: "measured" with blank weights on this machine, or "modelled".
        error: share of the rate by which it may be off.
    """

    name: str
    seconds: float
    tokens: int
    position: int
    source: str
    error: float

    @property
    def rate(self) -> float:
        """Tokens (of a static entry: runs) a second."""
        return max(self.tokens, 1) / self.seconds

    def to_json(self) -> dict[str, Any]:
        """With the rate."""
        return {**asdict(self), "tokens_per_second" if self.tokens else "runs_per_second": self.rate}


def measured_speeds(drawn: Drawn, target: Target, threads: int, again: bool, progress: Progress) -> list[Speed]:
    """Speeds of every entry; what was measured before comes from the user's cache.

    Raises:
        ToolchainError: as a compile.
    """
    timings = Timings(usable_threads(threads), again)
    with tempfile.TemporaryDirectory() as folder:
        key = plan_key(drawn)
        if (known := timings.get(key)) is None:
            progress("generate this machine's kernels", 0, 0)
            write_blank(drawn.plan, drawn.sizes, target, Path(folder))
            known = [asdict(speed) for speed in _measure(Path(folder), drawn, threads, progress)]
            if max(speed["error"] for speed in known) <= KEPT_ERROR:
                timings.put({key: known})
    return [Speed(**one) for one in known]


def plan_key(drawn: Drawn) -> str:
    """Everything that decides how fast a plan is, but for the machine: calls, where their memory lies, rows."""
    from edgeq.lower.emit import emit
    from edgeq.predict.blank_library import shared_layout

    text = emit(drawn.plan, [], shared_layout(drawn.sizes, 1 << 62), "blank")
    return "plan " + hashlib.sha256(text.encode()).hexdigest()[:24]


def _measure(folder: Path, drawn: Drawn, threads: int, progress: Progress) -> list[Speed]:
    from edgeq.runtime.loader import Session

    progress("time every entry on blank weights", 0, 0)
    with Session(folder, threads=threads, adapt=False, verify=False) as session:
        found = [_static(session, entry.name) for entry in session.entries if entry.kind == "static"]
        if drawn.context:
            names = {entry.name for entry in session.entries}
            found += [_prefill(session, count) for count in prompts(drawn.context) if "prefill" in names]
            found.append(_decode(session, min(DECODE_TOKENS, drawn.context)))
    return found


def prompts(context: int) -> tuple[int, ...]:
    """Lengths of the prompts that are predicted: as `edgeq profile` measures."""
    return tuple(n for n in PROMPTS if n <= context) or (context,)


def _static(session: Session, name: str) -> Speed:
    entry = next(entry for entry in session.entries if entry.name == name)
    write_inputs(session, entry)
    runs = region_seconds(session, name, partial(session.run, name, copy=False), BUDGET_S)
    return Speed(name, float(undisturbed(runs).sum()), 0, 0, "measured", MODEL_ERROR + spread(runs))


def _prefill(session: Session, count: int) -> Speed:
    """The walks of a prompt one by one: each has another position."""
    tokens = prompt(session.info.vocab, count)
    chunk, total, apart = session.info.chunk, 0.0, 0.0
    for start in range(0, count, chunk):
        piece = tokens[start : start + chunk]

        def walk(start: int = start, piece: Any = piece) -> None:
            session.rewind(start)
            session.feed(piece)

        entry = "prefill" if len(piece) > 1 else "decode"
        runs = region_seconds(session, entry, walk, BUDGET_S * chunk / count)
        total, apart = total + float(undisturbed(runs).sum()), max(apart, spread(runs))
    return Speed(f"prefill_{count}", total, count, 0, "measured", MODEL_ERROR + apart)


def _decode(session: Session, count: int) -> Speed:
    """A token in the middle of `count`."""
    position = count // 2
    session.rewind(0)
    session.feed(prompt(session.info.vocab, position))

    def walk() -> None:
        session.rewind(position)
        session.feed([1])

    runs = region_seconds(session, "decode", walk, BUDGET_S)
    return Speed(f"decode_{count}", float(undisturbed(runs).sum()), 1, position, "measured", MODEL_ERROR + spread(runs))
