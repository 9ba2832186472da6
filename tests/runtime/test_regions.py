"""Regions one at a time, memory views, profile."""

from __future__ import annotations

import numpy as np
import pytest
from toy_model import CHUNK, CONTEXT, WIDTH, Toy

from edgeq.errors import UsageError
from edgeq.runtime.loader import Session

H = (CONTEXT + CHUNK) * WIDTH * 4
LOGITS = H + CHUNK * WIDTH * 4


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_regions_one_at_a_time_make_a_walk(toy: Toy, threads: int):
    tokens = [4, 8, 15, 16, 23]
    with Session(toy.folder, threads=1) as session:
        for region in range(3):
            session.run_region("prefill", region, tokens, position=0, threads=threads)
        arena = session.arena().view(np.float32)
        np.testing.assert_array_equal(arena[LOGITS // 4 : LOGITS // 4 + 100], toy.logits(tokens))
        assert session.position == 0
        with pytest.raises(UsageError, match="no logits"):
            session.sample()


def test_a_region_reads_the_arena_it_is_given(toy: Toy):
    with Session(toy.folder, threads=1) as session:
        h = session.arena()[H : H + 4 * WIDTH].view(np.float32)
        h[:] = np.arange(WIDTH)
        session.run_region("decode", 2, [0], position=0)
        logits = session.arena()[LOGITS : LOGITS + 400].view(np.float32)
        np.testing.assert_array_equal(logits, toy.embedding @ np.arange(WIDTH))
        best = session.private()[0]
        assert best[64:68].view(np.int32)[0] == logits.argmax()


@pytest.mark.parametrize(
    ("entry", "region", "tokens", "position", "threads"),
    [
        ("encode", 0, [1], 0, 1),
        ("decode", 3, [1], 0, 1),
        ("decode", 0, [1, 2], 0, 1),
        ("decode", 0, [1], CONTEXT, 1),
        ("decode", 0, [1], 0, 65),
    ],
)
def test_what_does_not_fit_an_entry_is_refused(toy: Toy, entry, region, tokens, position, threads):
    with Session(toy.folder) as session, pytest.raises(UsageError):
        session.run_region(entry, region, tokens, position, threads)


def test_weights_are_the_tensors_and_cannot_be_written(toy: Toy):
    with Session(toy.folder) as session:
        weights = session.weights()
        np.testing.assert_array_equal(weights.view(np.float32), toy.embedding.ravel())
        with pytest.raises(ValueError, match="read-only"):
            weights[0] = 1


@pytest.mark.parametrize("threads", [1, 2])
def test_profile_counts_walks_rows_and_time(toy: Toy, threads: int):
    with Session(toy.folder, threads=threads) as session:
        session.feed([1, 2, 3])
        session.profile_start()
        session.feed(list(range(CHUNK + 3)))
        session.feed([1])
        session.profile_stop()
        session.feed([1])
        prefill, decode = session.profile("prefill"), session.profile("decode")
        assert (prefill.walks, prefill.rows) == (2, CHUNK + 3)
        assert (decode.walks, decode.rows) == (1, 1)
        assert prefill.inside_ns.shape == (3,)
        assert (prefill.total_ns >= prefill.inside_ns).all()
        assert prefill.inside_ns.sum() > 0
        session.profile_start()
        assert session.profile("prefill").walks == 0
