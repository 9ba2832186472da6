"""The resizing rules give the sizes that transformers' functions give, for any photo."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transformers.image_transforms import get_resize_output_image_size, get_size_with_aspect_ratio

from edgeq.tasks.resizing import resized

EDGE = st.integers(1, 3000)
SIZE = st.tuples(EDGE, EDGE)


@given(SIZE, EDGE)
def test_shortest(size, edge):
    import numpy as np

    photo = np.broadcast_to(np.uint8(0), (3, *size))
    expected = get_resize_output_image_size(photo, edge, default_to_square=False, input_data_format="channels_first")
    assert resized({"rule": "shortest", "edge": edge}, size) == expected


@given(SIZE, EDGE, EDGE)
def test_bounded(size, shortest, longest):
    rule = {"rule": "bounded", "shortest": shortest, "longest": longest}
    assert resized(rule, size) == get_size_with_aspect_ratio(size, shortest, longest)


@given(SIZE, SIZE)
def test_within_never_grows_beyond_the_compiled_size(size, within):
    found = resized({"rule": "bounded", "shortest": 800, "longest": 1333, "within": within}, size)
    assert 1 <= found[0] <= within[0] or found == resized({"rule": "bounded", "shortest": 800, "longest": 1333}, size)
    assert found[0] <= within[0]
    assert found[1] <= within[1]


def test_longest_rounds_to_nearest():
    assert resized({"rule": "longest", "edge": 1024}, (480, 640)) == (768, 1024)
    assert resized({"rule": "longest", "edge": 100}, (1000, 333)) == (100, 33)
    assert resized({"rule": "longest", "edge": 100}, (1000, 335)) == (100, 34)
