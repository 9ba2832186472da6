"""What benchmarks/encoders.py measures with: sentences, agreement of embeddings."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from agreement import agreement
from sentences import is_prose, sentences


def test_sentences_are_prose_and_always_the_same() -> None:
    found = sentences(50)
    assert found == sentences(50)
    assert len(set(found)) == 50
    assert all(text[0].isupper() and text.endswith(".") and len(text.split()) >= 6 for text in found)


def test_code_is_no_prose() -> None:
    assert is_prose("The final items of the iterable are assigned to the targets.")
    assert not is_prose("The method object.__iter__ is called when an iterator is required.")
    assert not is_prose("Too short.")


def test_equal_directions_agree_whatever_their_length() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 8))
    found = agreement(rows, rows * 3.0)
    assert np.isclose(found["mean_cosine"], 1) and np.isclose(found["min_cosine"], 1)
    assert found["top1"] == found["top10"] == 1


def test_a_moved_row_changes_its_cosine_and_neighbours() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 8))
    moved = rows.copy()
    moved[3] = -moved[3]
    found = agreement(rows, moved)
    assert np.isclose(found["min_cosine"], -1)
    assert np.isclose(found["mean_cosine"], 28 / 30)
    assert found["top1"] < 1 and found["top10"] < 1
