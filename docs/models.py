"""Writes docs/models.md: every architecture tried, how far it came, and what refused it: `python docs/models.py`.

Each model is tiny and random (tests/frontend/frontend_zoo.py, tests/zoo/), compiled for this machine at fp32 and at
w8a8 and compared with Hugging Face's eager model. Each is tried in a process of
its own, so that nothing can end the run.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / folder) for folder in ("frontend", "zoo")]
LIMIT_S, PATIENCE_S = 300, 0.2
PAGE = HERE / "models.md"


@dataclasses.dataclass
class Outcome:
    """How far a model came. stage: the last that was reached; error, cosine: None when it did not run so far."""

    cls: str = ""
    entries: str = ""
    stage: str = ""
    exports: bool = False
    lowers: bool = False
    error: float | None = None
    cosine: float | None = None
    refused: str = ""
    done: bool = False


def attempt(case: Any, answer: Any) -> None:
    """Child process: compile, run, compare; what is known so far is sent after each step."""
    import torch

    torch.set_num_threads(1)
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome.cls, check = case.save(Path(folder) / "model")
            for bits in ("fp32", "w8a8"):
                _measure(outcome, bits, check, Path(folder))
                answer.send(outcome)
        except Exception as error:  # whatever happens to a model belongs into its line
            outcome.refused = f"{type(error).__name__}: {error}"
    outcome.done = True
    answer.send(outcome)


def _measure(outcome: Outcome, bits: str, check: Any, folder: Path) -> None:
    def reached(stage: str, done: int, total: int) -> None:
        outcome.stage = stage
        outcome.exports |= stage == "run the passes"

    artifact = folder / bits
    artifact.mkdir()
    session, comparison = check(folder / "model", artifact, bits, reached)
    outcome.lowers = True
    outcome.stage = "run"
    outcome.entries = outcome.entries or ", ".join(entry.name for entry in session.entries)
    found = comparison(session)
    if bits == "fp32":
        outcome.error = found.error
    else:
        outcome.cosine = found.cosine
    session.close()


def tried(case: Any) -> Outcome:
    """Try one model in a child process; a crash or an endless loop is an outcome too."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=attempt, args=(case, there))
    child.start()
    outcome, end = Outcome(), time.monotonic() + LIMIT_S
    while not outcome.done and time.monotonic() < end:
        if here.poll(PATIENCE_S):
            outcome = here.recv()
        elif not child.is_alive() and not here.poll():
            outcome.refused = f"the process ended with {child.exitcode} at: {outcome.stage or 'start'}"
            return outcome
    if not outcome.done:
        outcome.refused = f"not done after {LIMIT_S} s"
        child.kill()
    child.join()
    return outcome


def timed(case: Any) -> Outcome:
    """`tried`, with a line on the terminal."""
    from model_page import line

    start = time.monotonic()
    outcome = tried(case)
    print(f"{time.monotonic() - start:5.1f} s {line(case.name, outcome)}", flush=True)
    return outcome


def main() -> None:
    """Try every model, print a line each, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="models whose name has TEXT; prints"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="models at a time")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from model_cases import cases
    from model_page import page

    chosen = [(g, case) for g, case in cases() if not args.only or any(text in case.name for text in args.only)]
    with ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(timed, (case for _, case in chosen)))
    found: dict[str, list[tuple[str, Outcome]]] = {}
    for (group, case), outcome in zip(chosen, outcomes, strict=True):
        found.setdefault(group, []).append((case.name, outcome))
    if not args.only:
        PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
