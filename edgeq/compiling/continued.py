"""Decisions that an interrupted compile goes on from, and everything that they depend on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from edgeq import __version__
from edgeq.calibrate.journal import Decisions, Journal
from edgeq.compiling.measured import Measured, arithmetic
from edgeq.compiling.options import Options, record
from edgeq.frontend.source import Source

FREE = ("model", "target", "context", "chunk", "calib")  # lowering's, or covered by a hash of contents


def decisions(journal: Path | None, source: Source, options: Options, measured: Measured) -> Decisions:
    """Kept in a journal's folder, or in memory where there is none or nothing is measured.

    Raises:
        UsageError: the folder holds the work of another compile; the message names what differs.
    """
    if journal is None or not measured.wanted:
        return Decisions()
    return Journal(journal, fingerprint(source, options, measured))


def fingerprint(source: Source, options: Options, measured: Measured) -> dict[str, str]:
    """What decisions depend on, by name: edgeq, options but for lowering's, weights, calibration data, arithmetic."""
    facts = {name: value for name, value in record(options).items() if name not in FREE}
    facts |= {"edgeq": __version__, "weights": _sampled(source), "calibration data": measured.data.hash, **arithmetic()}
    return {name: json.dumps(value) for name, value in facts.items()}


def _sampled(source: Source) -> str:
    """A hash of the first row of every tensor: another checkpoint at the same place is noticed, without reading all."""
    digest = hashlib.sha256()
    for name in source.weights.names():
        rows = slice(0, 1) if source.weights.shape(name) else None  # a scalar has none
        digest.update(name.encode() + source.weights.read(name, rows).contiguous().numpy().tobytes())
    return digest.hexdigest()
