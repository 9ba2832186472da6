"""Cutting windows and drawing samples: nothing is lost, nothing is in two places."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeq.calibrate.records import Records
from edgeq.calibrate.text_file import pieces
from edgeq.calibrate.tokens import STRETCH, cut, divided, drawn, stretches

BEGIN = 999


@given(st.lists(st.integers(0, 9), max_size=200), st.integers(16, 40), st.sampled_from([None, BEGIN]))
def test_windows_hold_the_tokens_in_order(ids, length, begin):
    found = cut(ids, length, begin)
    bodies = [window if begin is None else window[1:] for window in found]
    joined = [token for body in bodies for token in body]
    assert joined == ids[: len(joined)]
    assert len(ids) - len(joined) < max(2, length // 4)  # only a short end is left out
    assert all(len(window) <= length for window in found)
    assert begin is None or all(window[0] == BEGIN for window in found)


def test_a_begin_token_that_is_there_is_not_doubled():
    assert cut([BEGIN, 1, 2], 16, BEGIN) == [[BEGIN, 1, 2]]


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 5))
def test_samples_and_those_held_out_are_different_ones(count, wanted, seed):
    used, held = divided(range(count), wanted, seed)
    assert not set(used) & set(held)
    assert used == sorted(used)
    assert held == sorted(held)
    assert len(used) <= wanted
    assert bool(used) == bool(count)
    assert len(held) == (0 if count < 2 else min(max(1, wanted // 4), (count + 2) // 4))
    assert (used, held) == divided(range(count), wanted, seed)


def test_as_many_are_used_as_are_wanted_where_there_are_enough():
    used, held = divided(range(100), 16, 0)
    assert (len(used), len(held)) == (16, 4)


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 100), st.integers(0, 5))
def test_what_is_drawn_is_enough_and_not_more(sizes, most, seed):
    found = drawn(list(enumerate(sizes)), lambda item: item[1], most, seed)
    assert found == sorted(found)
    total = sum(size for _, size in found)
    assert total >= min(most, sum(sizes))
    assert not found or total - max(size for _, size in found) < most


@given(st.text(alphabet="ab \n", max_size=200).map(lambda text: text * 100))
def test_stretches_of_a_text_are_the_text(text):
    records = Records("x", "x", tuple(pieces(text)), joined=True)
    found = stretches(records)
    assert "".join("".join(map(str, part)) for part in found) == text
    assert all(sum(len(str(piece).strip()) for piece in part) <= STRETCH for part in found)


def test_texts_of_their_own_stay_apart():
    assert stretches(Records("x", "x", ("a", "b"))) == [["a"], ["b"]]
