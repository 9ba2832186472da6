"""The pass `qdrop`: the two ends of dropping are methods that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_cbq import run, same, tables
from test_objective import Weights

from edgeq.errors import UsageError
from edgeq.ir.text import parse
from edgeq.passes.pipeline import make


def learned(llama, pipeline):
    gm = parse(llama)
    found = run((gm, Weights(gm)), pipeline)
    return tables(gm), [site.what for site in found.reports[-1].changed]


def test_without_dropping_it_is_block_reconstruction(llama):
    plain, errors = learned(llama, "cbq{bits=w3a8g32,window=1,overlap=0,kl=0,epochs=2}")
    none, others = learned(llama, "qdrop{bits=w3a8g32,drop=0,epochs=2}")
    some, _ = learned(llama, "qdrop{bits=w3a8g32,epochs=2}")
    assert same(plain, none) and errors == others
    assert not same(some, none)


def test_dropping_all_learns_weights_alone(llama, monkeypatch):
    """Every activation is float while it learns; what is judged is quantized whole."""
    from edgeq.passes.learned import trainer

    seen = []
    plain = trainer.Trainer._one

    def spy(self, example, generator=None):
        error = plain(self, example, generator)
        if generator is not None:
            kept = self._learner._quants
            self._learner._quants = {node: replace(quant, act="none") for node, quant in kept.items()}
            seen.append((float(error.detach()), float(plain(self, example).detach())))
            self._learner._quants = kept
        return error

    monkeypatch.setattr(trainer.Trainer, "_one", spy)
    learned(llama, "qdrop{bits=w3a4g32,drop=1,epochs=1}")
    assert seen and all(one == other for one, other in seen)


def test_dropping_within_windows(llama):
    some, _ = learned(llama, "qdrop{bits=w3a8g32,epochs=1}")
    inside, _ = learned(llama, "cbq{bits=w3a8g32,window=1,overlap=0,kl=0,drop=0.5,epochs=1}")
    assert same(some, inside)
    assert any(name.endswith("codes") and held.dtype == torch.uint8 for name, held in inside.items())


def test_what_cannot_be_done_is_said():
    with pytest.raises(UsageError, match="between 0 and 1"):
        make("qdrop", "drop=2")
