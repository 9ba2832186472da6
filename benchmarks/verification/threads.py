"""Logits of a prefill and of decode steps have the same bits for 1 to 4 threads and on every variant."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from edgeq.artifact.manifest import read
from edgeq.errors import TargetError
from edgeq.runtime.loader import Session
from verification.report import Bar, Report, say

THREADS = (1, 2, 3, 4)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--prompt", type=int, default=300, help="tokens of the prefill")
    parser.add_argument("--decode", type=int, default=16, help="decode steps")


def run(options: argparse.Namespace) -> Report:
    """Compare every run with the first: the best variant on one thread."""
    report = Report(f"{options.artifact}: bits of the logits", ["variant", "threads", "values that differ"])
    first: np.ndarray | None = None
    wrong = 0
    for variant, threads, logits in runs(options):
        first = logits if first is None else first
        differ = int((logits.view(np.uint32) != first.view(np.uint32)).sum())
        report.rows.append([variant, threads, differ])
        wrong += differ
    compared = len(report.rows) * (0 if first is None else first.size)
    report.bars.append(Bar("logits bit-equal", f"{wrong} of {compared:,} values differ", wrong == 0 and compared > 0))
    return report


def runs(options: argparse.Namespace) -> Iterator[tuple[str, int, np.ndarray]]:
    """(variant, threads, logits f32[1 + decode, vocab]) of every combination this machine can run."""
    for variant in [str(v["name"]) for v in read(options.artifact).variants]:
        for threads in THREADS:
            say(f"{variant}, {threads} threads")
            try:
                session = Session(options.artifact, threads, variant, adapt=False)
            except TargetError as error:
                say(f"{variant} cannot run here: {error}")
                break
            with session:
                yield variant, threads, logits(session, options.prompt, options.decode)


def logits(session: Session, prompt: int, steps: int) -> np.ndarray:
    """After the prompt and after each of the steps; every step really takes the number of threads asked for."""
    tokens = np.random.default_rng(0).integers(0, session.info.vocab, prompt + steps)
    rows = []
    for piece in (tokens[:prompt], *tokens[prompt:, None]):
        session.feed(piece)
        assert session.info.last_threads == session.info.threads
        rows.append(session.last_logits())
    return np.stack(rows)
