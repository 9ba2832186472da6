"""Packaged encoders give the vectors and labels that the Python tasks give."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeq.tasks.embeddings import similarity

TEXTS = ["a b c", "d", "", "abc de fgh", "a b c d e f g h a b c d e f g h", "zzz [SEP] [MASK] b"]


def test_vectors_are_those_of_the_artifact(embedder) -> None:
    lines = embedder.answer("--", *TEXTS).splitlines()
    found = np.array([json.loads(line) for line in lines], np.float32)
    assert np.array_equal(found, embedder.artifact.embed(TEXTS))


def test_a_line_of_stdin_is_a_text(embedder) -> None:
    assert embedder.answer(given="a b c\r\n\nd") == embedder.answer("a b c", "", "d")


def test_cosines_of_texts(embedder) -> None:
    expected = similarity(embedder.artifact.embed(TEXTS[:3]))
    found = json.loads(embedder.answer("--similarity", "--json", *TEXTS[:3]))
    assert np.abs(np.array(found) - expected).max() < 1e-5
    table = embedder.answer("-s", *TEXTS[:3]).splitlines()
    assert table[1].split() == ["1", *(f"{c:.4f}" for c in expected[0]), "a", "b", "c"]


def test_long_texts_are_cut_and_that_is_said(embedder) -> None:
    done = embedder.run("a " * 40, "b")
    assert done.returncode == 0 and b"1 text cut to 14 tokens (the longest has 42)" in done.stderr


def test_one_text_has_nothing_to_be_compared_with(embedder) -> None:
    done = embedder.run("--similarity", "a")
    assert done.returncode == 2 and b"takes two texts or more" in done.stderr


def test_labels_are_those_of_the_artifact(classifier) -> None:
    lines = classifier.answer("--json", "-k", "0", *TEXTS).splitlines()
    for line, text, expected in zip(lines, TEXTS, classifier.artifact.classify(TEXTS), strict=True):
        found = json.loads(line)
        assert found["input"] == text
        assert [item["label"] for item in found["labels"]] == [item["label"] for item in expected]
        scores = [item["score"] for item in expected]
        assert [item["score"] for item in found["labels"]] == pytest.approx(scores, abs=1e-6)


def test_labels_as_a_table(classifier) -> None:
    best = classifier.artifact.classify(["a b"], top_k=2)[0]
    assert classifier.answer("--top-k", "2", "a b") == "".join(f"{i['score']:7.4f}  {i['label']}\n" for i in best)
    assert len(classifier.answer("a b").splitlines()) == 5
    assert classifier.answer("-k", "1", "a", "b").split("\n")[0::3] == ["a", "b"]


def test_static_entries_are_measured(classifier) -> None:
    bench = json.loads(classifier.answer("--bench", "--json"))
    names = [entry["name"] for entry in classifier.artifact.manifest["entries"]]
    assert names and all(bench[name]["seconds"] > 0 for name in names)
    assert classifier.answer("--info").count("entry ") == len(names)
