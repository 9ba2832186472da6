"""Texts in buckets: cut, padded, batched, and given back in order."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from fakes import FakeSession, write_word_tokenizer

from edgeq.errors import ArtifactError, UsageError
from edgeq.tasks.entry import facts
from edgeq.tasks.models import open_model
from edgeq.tasks.text import TextEntries

SHAPES = ((4, 1), (4, 3), (8, 1), (8, 3))  # length, batch


def entry(
    length: int, batch: int, outputs: dict | None = None, names=("input_ids", "attention_mask", "token_type_ids")
):
    name = f"text_{length}" if batch == 1 else f"text_{length}x{batch}"
    shapes = {"sentence_embedding": (batch, 2)} if outputs is None else outputs
    inputs = {key: (batch, length) for key in names}
    return {"name": name, "base": "text", "batch": batch, "length": length, "inputs": inputs, "outputs": shapes}


def count(held):
    """The number of tokens and the sum of their ids, by the mask."""
    mask = held["attention_mask"]
    return {"sentence_embedding": np.stack([mask.sum(1), (held["input_ids"] * mask).sum(1)], 1).astype(np.float32)}


def opened(folder, entries, spec=None, run=count):
    session = FakeSession(**{e["name"]: run for e in entries})
    spec = {"max_length": None, "pad_id": 0, "full": False, "output": "sentence_embedding"} | (spec or {})
    return TextEntries(session, folder, [facts(e) for e in entries], spec), session


ALL = [entry(*shape) for shape in SHAPES]


def test_each_text_takes_the_smallest_bucket_and_results_keep_their_order(tmp_path):
    texts, session = opened(write_word_tokenizer(tmp_path), ALL)
    given = ["a b c d", "a", "e f g", "b", "c", "d"]
    found = [row.outputs["sentence_embedding"].tolist() for row in texts.run(given)]
    ids = {"a": 4, "b": 5, "c": 6, "d": 7, "e": 8, "f": 9, "g": 10}
    assert found == [[len(t.split()) + 2, 3 + sum(ids[w] for w in t.split())] for t in given]
    assert session.names == ["text_4x3", "text_4", "text_8", "text_8"]


def test_a_batch_that_cannot_be_filled_is_padded(tmp_path):
    texts, session = opened(write_word_tokenizer(tmp_path), [entry(8, 3)])
    assert len(texts.run(["a", "b", "c", "d"])) == 4
    inputs = session.runs[1][1]
    assert inputs["input_ids"][1:].sum() == 0
    assert inputs["attention_mask"].sum(1).tolist() == [3, 1, 1]  # no row may see nothing at all


def test_padding_and_types(tmp_path):
    texts, session = opened(write_word_tokenizer(tmp_path, pad_token="[UNK]"), [entry(8, 1)])
    texts.run([("a", "b")])
    inputs = session.runs[0][1]
    assert inputs["input_ids"].tolist() == [[1, 4, 2, 5, 2, 3, 3, 3]]
    assert inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]


def test_only_what_the_entry_takes_is_given(tmp_path):
    run = lambda held: {"sentence_embedding": np.zeros((1, 2), np.float32)}  # noqa: E731
    texts, session = opened(write_word_tokenizer(tmp_path), [entry(8, 1, names=("input_ids",))], run=run)
    texts.run(["a"])
    assert set(session.runs[0][1]) == {"input_ids"}


def test_long_texts_are_cut_before_their_last_token_and_this_is_said(tmp_path, caplog):
    texts, _ = opened(write_word_tokenizer(tmp_path), ALL)
    with caplog.at_level(logging.WARNING):
        rows = texts.run(["a " * 20, "b"])
    assert rows[0].tokens.ids == [1, 4, 4, 4, 4, 4, 4, 2]
    assert "1 of 2 texts cut to 8 tokens (the longest has 22)" in caplog.text
    caplog.clear()
    texts.run(["a b c d e f"])  # exactly fits
    assert not caplog.text


def test_the_model_s_own_limit_cuts_too(tmp_path):
    texts, _ = opened(write_word_tokenizer(tmp_path), ALL, {"max_length": 6})
    assert len(texts.run(["a " * 20])[0].tokens.ids) == 6


def test_truncation_and_padding_inside_tokenizer_json_do_not_matter(tmp_path):
    texts, _ = opened(write_word_tokenizer(tmp_path, cut_to=4), ALL)
    assert texts.run(["a b c d e"])[0].tokens.ids == [1, 4, 5, 6, 7, 8, 2]
    assert texts.run(["a"])[0].tokens.ids == [1, 4, 2]


def test_models_that_see_padding_get_it_all(tmp_path):
    texts, session = opened(write_word_tokenizer(tmp_path), ALL, {"full": True})
    texts.run(["a"])
    assert session.names == ["text_8"]
    assert session.runs[0][1]["attention_mask"].tolist() == [[1] * 8]


def test_token_outputs_end_with_the_text(tmp_path):
    run = lambda held: {"logits": np.arange(16, dtype=np.float32).reshape(1, 8, 2)}  # noqa: E731
    texts, _ = opened(write_word_tokenizer(tmp_path), [entry(8, 1, {"logits": (1, 8, 2)})], run=run)
    assert texts.run(["a"])[0].outputs["logits"].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("given", [[], "a text", [1], [("a",)], None])
def test_what_is_no_list_of_texts_is_refused(tmp_path, given):
    texts, _ = opened(write_word_tokenizer(tmp_path), ALL)
    with pytest.raises(UsageError, match="list of texts"):
        texts.run(given)


def test_an_artifact_without_its_tokenizer_is_incomplete(tmp_path):
    with pytest.raises(ArtifactError, match=r"tokenizer.json"):
        opened(tmp_path, ALL)


def model(folder, kind, outputs, run, **more):
    entries = [entry(8, 1, outputs)]
    spec = {"max_length": None, "pad_id": 0, "full": False, "output": next(iter(outputs))}
    task = {"kind": kind, "entries": entries, "text": spec, **more}
    return open_model(FakeSession(text_8=run), task, write_word_tokenizer(folder))


def test_embeddings_without_a_head_are_means_over_the_text(tmp_path):
    hidden = np.random.default_rng(0).normal(size=(1, 8, 4)).astype(np.float32)
    found = model(tmp_path, "embedding", {"last_hidden_state": (1, 8, 4)}, lambda held: {"last_hidden_state": hidden})
    assert np.allclose(found.embed(["a b"])[0], hidden[0, :4].mean(0))
    assert found.pooling == "mean of last_hidden_state"


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("softmax", [0.7310586, 0.26894143]), ("sigmoid", [0.5, 0.26894143]), ("none", [0, -1])],
)
def test_labels_are_ranked(tmp_path, activation, expected):
    run = lambda held: {"logits": np.array([[-1, 0]], np.float32)}  # noqa: E731
    found = model(tmp_path, "text-classification", {"logits": (1, 2)}, run, labels=["no", "yes"], activation=activation)
    (answer,) = found.classify(["a"])
    assert [item["label"] for item in answer] == ["yes", "no"]
    assert np.allclose([item["score"] for item in answer], expected)
    assert found.classify(["a"], top_k=1) == [answer[:1]]


def test_words_are_labelled_where_they_stand(tmp_path):
    def run(held):
        return {"logits": np.eye(2, dtype=np.float32)[(held["input_ids"] == 5).astype(int)] * 9}

    found = model(tmp_path, "token-classification", {"logits": (1, 8, 2)}, run, labels=["O", "B"], activation="softmax")
    (tokens,) = found.classify(["a  b a"])
    assert [(t["text"], t["start"], t["end"], t["labels"][0]["label"]) for t in tokens] == [
        ("a", 0, 1, "O"), ("b", 3, 4, "B"), ("a", 5, 6, "O"),
    ]  # fmt: skip


def test_masks_are_filled_with_the_likeliest_words(tmp_path):
    def run(held):
        return {"logits": np.eye(12, dtype=np.float32)[(held["input_ids"] + 1) % 12] * 5}  # the next word of WORDS

    found = model(tmp_path, "fill-mask", {"logits": (1, 8, 12)}, run)
    assert found.mask_token == "[UNK]"
    (masks,) = found.fill(["a [UNK] b [UNK]"], top_k=2)
    assert [(m["start"], m["end"], m["labels"][0]["label"]) for m in masks] == [(2, 7, "a"), (10, 15, "a")]
    assert [len(m["labels"]) for m in masks] == [2, 2]
    with pytest.raises(UsageError, match=r"no \[UNK\]"):
        found.fill(["a b"])


def test_a_tokenizer_without_a_mask_token_fills_nothing(tmp_path):
    found = model(tmp_path, "fill-mask", {"logits": (1, 8, 12)}, dict)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    task = {"kind": "fill-mask", "entries": ALL, "text": {"output": ""}}
    with pytest.raises(ArtifactError, match="no mask token"):
        open_model(FakeSession(), task, tmp_path)
    assert found.mask_token


def test_a_refused_section_is_a_usage_error(tmp_path):
    task = {"kind": "embedding", "entries": ALL, "text": {"refused": "the model came without tokenizer.json"}}
    with pytest.raises(UsageError, match="came without"):
        open_model(FakeSession(), task, tmp_path)
    with pytest.raises(UsageError, match="text_4, text_4x3"):
        open_model(FakeSession(), {"kind": "features", "entries": ALL}, tmp_path)
