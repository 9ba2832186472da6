"""A long text that is forgotten whole gives its memory back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edgeq.compiling.compiler import Options, compile_into
from edgeq.measure.machine import this_machine
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find


def test_rewinding_a_long_text_to_zero_frees_the_cache(tiny_model: Path, tmp_path: Path) -> None:
    target = find("native")
    best = next(isa for isa in target.isas if set(isa.needs) <= this_machine().features)
    options = Options(str(tiny_model), dataclasses.replace(target, isas=(best,)), Bits.parse("w8a8"), 256, 64)
    compile_into(tmp_path, options, lambda *_: None)
    tokens = np.random.default_rng(0).integers(0, 256, 256)
    with Session(tmp_path, verify=False) as session:
        session.feed(tokens)
        want = session.last_logits()
        session.rewind(100)
        assert session.arena().any()
        session.feed(tokens[100:])
        session.rewind(0)
        assert not session.arena().any()
        session.feed(tokens)
        assert np.array_equal(session.last_logits(), want)
