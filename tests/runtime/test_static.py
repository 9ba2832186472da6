"""Static entries: typed tensors in, typed tensors out, one tensor where entries share it."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from toy_model import Toy

from edgeq.errors import EdgeqError, UsageError
from edgeq.runtime.library import INPUT, COptions, CTensor, Library
from edgeq.runtime.loader import Session

B, S, D = 2, 7, 5
RNG = np.random.default_rng(7)


def inputs(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "input_ids": rng.integers(0, 100, (B, S), np.int32),
        "attention_mask": rng.integers(0, 2, (B, S), np.int32),
    }


def features(toy: Toy, given: dict[str, np.ndarray]) -> np.ndarray:
    rows = np.roll(toy.embedding[given["input_ids"], :D], -1, axis=-1)
    return (given["attention_mask"][..., None] * rows).sum(1, keepdims=True) * np.arange(1, S + 1)[:, None]


QUERY = np.arange(D, dtype=np.float32)


@pytest.fixture
def session(static_toy: Toy):
    with Session(static_toy.folder) as session:
        yield session


def test_entries_say_their_tensors(session: Session):
    encode, score = session.entries
    assert (encode.name, encode.kind, encode.max_rows, encode.regions) == ("encode", "static", 1, 2)
    assert [(t.name, t.dtype, t.shape, t.row_stride, t.limit) for t in encode.inputs] == [
        ("input_ids", np.int32, (B, S), 16, 100),
        ("attention_mask", np.int32, (B, S), 16, 0),
    ]
    assert [(t.name, t.shape) for t in encode.outputs] == [("features", (B, S, D)), ("count", ())]
    assert [(t.name, t.shape) for t in score.outputs] == [("scores", (B, S)), ("best", (B,))]
    assert encode.outputs[0].key == score.inputs[0].key
    info = session.info
    assert (info.vocab, info.context, info.chunk) == (0, 0, 0)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("adapt", [True, False])
def test_outputs_do_not_depend_on_threads(static_toy: Toy, threads: int, adapt: bool):
    with Session(static_toy.folder, threads=threads, adapt=adapt) as session:
        for seed in range(30):
            given = inputs(seed)
            out = session.run("encode", **given)
            np.testing.assert_array_equal(out["features"], features(static_toy, given))
            assert out["count"].shape == () and out["count"] == (given["attention_mask"] != 0).sum()
            assert out["count"].dtype == np.int32
            scores = session.run("score", query=QUERY)
            np.testing.assert_array_equal(scores["scores"], features(static_toy, given) @ QUERY)
            np.testing.assert_array_equal(scores["best"], scores["scores"].argmax(1))


def test_inputs_keep_their_values_and_shared_tensors_are_one(static_toy: Toy, session: Session):
    given = inputs()
    session.run("encode", **given)
    other = given | {"attention_mask": np.ones((B, S), np.int32)}
    out = session.run("encode", attention_mask=other["attention_mask"])
    np.testing.assert_array_equal(out["features"], features(static_toy, other))
    for query in (QUERY, QUERY[::-1]):  # strided arrays are copied as they are
        np.testing.assert_array_equal(session.run("score", query=query)["scores"], out["features"] @ query)
    own = RNG.integers(-3, 4, (B, S, D)).astype(np.float32)
    np.testing.assert_array_equal(session.run("score", features=own)["scores"], own @ QUERY[::-1])


def test_what_was_never_written_is_missing(static_toy: Toy):
    with Session(static_toy.folder) as session:
        with pytest.raises(UsageError, match=r"encode needs input_ids int32\[2, 7\], attention_mask int32\[2, 7\]$"):
            session.run("encode")
        with pytest.raises(UsageError, match=r"score needs features .* \(computed by encode: run it first\), query"):
            session.run("score")
        with pytest.raises(UsageError, match="encode needs attention_mask"):
            session.run("encode", input_ids=inputs()["input_ids"])


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("decoder", {}, "no entry 'decoder'; this model has encode, score"),
        ("encode", {"id": 1, "masks": 2}, r"encode has no input id, masks; it takes input_ids int32\[2, 7\], att"),
        ("encode", {"input_ids": [[1] * S] * B}, r"input_ids int32\[2, 7\] takes a numpy array, not list"),
        (
            "encode",
            {"input_ids": np.zeros((B, S), np.int64)},
            r"was given int64: convert it with \.astype\(np\.int32\)",
        ),
        ("encode", {"attention_mask": np.zeros((B, S + 1), np.int32)}, r"mask .* was given shape \[2, 8\]"),
        ("score", {"query": np.zeros(())}, "was given float64"),
    ],
)
def test_what_is_not_the_input_is_refused_and_nothing_runs(session: Session, name: str, given: dict, message: str):
    with pytest.raises(UsageError, match=message):
        session.run(name, **given)
    with pytest.raises(UsageError, match="encode needs input_ids"):
        session.run("encode")


@pytest.mark.parametrize(("value", "at"), [(100, (0, 0)), (-1, (1, 3)), (2**31 - 1, (1, 6))])
def test_indices_outside_a_table_are_refused(static_toy: Toy, session: Session, value: int, at: tuple[int, int]):
    good = inputs()
    before = session.run("encode", **good)
    bad = good["input_ids"].copy()
    bad[at] = value
    index = at[0] * S + at[1]
    with pytest.raises(UsageError, match=rf"encode: value {index} of input input_ids is {value}, outside 0\.\.99"):
        session.run("encode", input_ids=bad)
    with pytest.raises(UsageError, match="of input input_ids"):
        session.run_region("encode", 0)
    again = session.run("encode", input_ids=good["input_ids"])
    np.testing.assert_array_equal(again["features"], before["features"])


def test_views_are_the_memory_and_pad_lanes_stay_zero(static_toy: Toy, session: Session):
    given = inputs()
    view = session.run("encode", copy=False, **given)["features"]
    copy = session.run("encode")["features"]
    assert copy.flags.c_contiguous and not view.flags.c_contiguous
    session.run("encode", **(changed := inputs(1)))
    np.testing.assert_array_equal(view, features(static_toy, changed))
    np.testing.assert_array_equal(copy, features(static_toy, given))
    ids = session.entries[0].inputs[0]
    lanes = np.ndarray((B, 16), np.int32, (ctypes.c_uint8 * (B * 64)).from_address(ids.address))
    np.testing.assert_array_equal(lanes[:, :S], changed["input_ids"])
    assert not lanes[:, S:].any()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_regions_one_at_a_time_make_a_run(static_toy: Toy, threads: int):
    given = inputs(4)
    with Session(static_toy.folder) as session:
        for tensor in session.entries[0].inputs:
            tensor.view()[...] = given[tensor.name]
        for region in range(2):
            session.run_region("encode", region, threads=threads)
        np.testing.assert_array_equal(session.entries[0].outputs[0].view(), features(static_toy, given))
        for tokens, position in (([1, 2], 0), ([1], 3)):
            with pytest.raises(UsageError, match="encode is static"):
                session.run_region("encode", 0, tokens, position)


def test_profile_counts_runs(session: Session):
    session.run("encode", **inputs())
    session.profile_start()
    for _ in range(3):
        session.run("encode")
    session.profile_stop()
    session.run("encode")
    profile = session.profile("encode")
    assert (profile.walks, profile.rows, len(profile.total_ns)) == (3, 3, 2)
    assert profile.inside_ns.sum() > 0
    assert session.profile("score").walks == 0


def test_a_model_without_token_entries_takes_no_tokens(session: Session):
    for tokens in ([1], [1, 2]):
        with pytest.raises(UsageError, match="use edgeq_run with one of its entries, encode score"):
            session.feed(tokens)
    with pytest.raises(UsageError, match="no logits"):
        session.last_logits()
    assert session.position == 0
    session.rewind(0)


def test_a_decoder_waits_for_its_encoder(encoder_decoder: Toy):
    given = inputs()
    with Session(encoder_decoder.folder, threads=2) as session:
        with pytest.raises(UsageError, match=r"nothing is encoded yet: .* entries encode score, then feed"):
            session.feed([1])
        assert session.position == 0
        first = session.run("encode", **given)["features"][0, 0]
        session.feed([3])
        session.feed([4])
        expected = encoder_decoder.embedding[:, :D] @ first
        np.testing.assert_array_equal(session.last_logits(), expected + 5)
        with pytest.raises(UsageError, match="decode takes tokens, not arrays"):
            session.run("decode")
        session.run("encode", **inputs(9))
        assert session.position == 2
        with pytest.raises(UsageError, match="no logits"):
            session.sample()


def test_a_rewind_keeps_what_was_encoded(encoder_decoder: Toy):
    """Even after a text so long that a model of token entries alone would give its memory back."""
    given = inputs()
    with Session(encoder_decoder.folder) as session:
        first = session.run("encode", **given)["features"][0, 0]
        session.feed([1] * 300)
        session.rewind(0)
        session.feed([2])
        np.testing.assert_array_equal(session.last_logits(), encoder_decoder.embedding[:, :D] @ first + 2)


def test_sessions_in_parallel_threads(static_toy: Toy):
    wrong: list[int] = []

    def use(seed: int):
        with Session(static_toy.folder, threads=3) as session:
            for i in range(20):
                given = inputs(seed + i)
                session.run("encode", **given)
                scores = session.run("score", query=QUERY)["scores"]
                if not np.array_equal(scores, features(static_toy, given) @ QUERY):
                    wrong.append(seed)

    threads = [threading.Thread(target=use, args=(100 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_session_runs_nothing(static_toy: Toy):
    session = Session(static_toy.folder)
    session.close()
    with pytest.raises(EdgeqError, match="closed"):
        session.run("encode", **inputs())


def test_the_c_functions_say_what_is_wrong(static_toy: Toy):
    library = Library(static_toy.folder / "model.so")
    handle, index, tensor = ctypes.c_void_p(), ctypes.c_int32(), CTensor()
    library.open(str(static_toy.folder).encode(), COptions(), handle)
    try:
        assert library.find_entry(handle, b"score", index) == 0 and index.value == 1
        for call, text in (
            (lambda: library.find_entry(handle, b"image", index), b"no entry image; this model has encode score"),
            (lambda: library.find_entry(handle, None, index), b"no entry (NULL)"),
            (lambda: library.run(handle, 2), b"no entry 2: there are 2"),
            (lambda: library.tensor_info(handle, 0, INPUT, 2, tensor), b"no input 2 in encode: it has 2"),
            (lambda: library.tensor_info(handle, -1, INPUT, 0, tensor), b"no entry -1"),
        ):
            assert call() == 2
            assert text in library.error(handle)
    finally:
        library.close(handle)
