"""kv4 through the whole road (kv2 differs in its kernels alone): chunks, rewinding, the reference, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from replay_models import rebuild
from zoo_compiled import one_isa

from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import Options
from edgeq.errors import EdgeqError, UsageError
from edgeq.ir.execute import Reference
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session

TOKENS = (np.arange(236) * 37 % 200).tolist()
CHUNK = 32  # a ring of 160 positions


@pytest.fixture(scope="module")
def artifact(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifact")
    compile_into(out, Options(str(tiny_model), one_isa(), Bits.parse("fp32kv4"), 256, CHUNK), lambda *_: None)
    return out


def test_chunks_decoding_and_the_reference_agree(artifact: Path):
    with Session(artifact, threads=2) as session:
        got = session.logits(TOKENS)
        for pieces in ((236,), (7, 122, 32, 75)):
            session.rewind(0)
            for start, size in zip(np.cumsum((0, *pieces)), pieces, strict=False):
                session.feed(TOKENS[start : start + size])
            assert np.array_equal(session.last_logits(), got[-1])
    plan = rebuild(artifact)
    reference = Reference(plan.graph, plan.source.weights)
    want = reference.forward(TOKENS).numpy()
    # a number half way between two codes may be rounded to either: a whole step of one query or weight
    assert np.abs(got - want)[:128].max() < 1e-3 * np.abs(want).max()
    assert np.abs(got - want).mean() < 1e-3 * np.abs(want).max()


def test_rewinds_as_far_as_floats_are_kept(artifact: Path):
    with Session(artifact, threads=1) as session:
        want = session.logits(TOKENS[:200])
        session.rewind(0)
        session.feed(TOKENS[:230])  # positions 70..229 are in the ring; 170 is in block 5, whose window begins at 64
        assert session.rewindable(170) == 0
        with pytest.raises(UsageError, match="keeps older tokens as codes"):
            session.rewind(170)
        assert session.position == 230
        assert session.rewindable(195) == 195  # its window begins at 96
        session.rewind(195)
        session.feed(TOKENS[195:200])
        assert np.array_equal(session.last_logits(), want[199])
        assert session.rewindable(170) == 0  # what was overwritten before the rewind has not come back
        session.rewind(0)
        session.feed(TOKENS[:150])  # nothing of the ring is overwritten yet
        assert session.rewindable(60) == 60
        session.rewind(60)
        session.feed(TOKENS[60:200])
        assert np.array_equal(session.last_logits(), want[199])


def test_the_cache_is_counted(artifact: Path):
    held = json.loads((artifact / "edgeq.json").read_text())
    layers, heads, dim, bits = 2, 2, 16, 4
    block, ring = 2 * dim * 32 * bits // 8 + 4 * (dim + 32), 2 * 2 * dim * 160
    assert held["memory"]["kv_cache"] == layers * heads * (256 // 32 * block + ring)


def test_an_encoder_s_keys_are_refused():
    from edgeq.passes.cross_cache import CrossCache

    with pytest.raises(EdgeqError, match=r"'i4'.*kv8"):
        CrossCache(kv="i4")
