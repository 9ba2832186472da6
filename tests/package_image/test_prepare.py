"""A photo's pixel_values are those of edgeq.tasks, bit for bit, whatever the steps; pad lanes are left alone."""

from __future__ import annotations

import numpy as np
import PIL
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_library import Refused, prepare, resized
from photos import smooth

from edgeq.errors import UsageError
from edgeq.tasks import image as tasks
from edgeq.tasks import resizing
from edgeq.tasks.image import Steps

RULES = [
    None, {"rule": "exact", "height": 31, "width": 47}, {"rule": "shortest", "edge": 40},
    {"rule": "bounded", "shortest": 40, "longest": 66}, {"rule": "longest", "edge": 64},
    {"rule": "bounded", "shortest": 40, "longest": 66, "within": (50, 60)}, {"rule": "box", "height": 40, "width": 50},
]  # fmt: skip
EDGES = st.integers(8, 150)


@given(st.sampled_from(RULES[1:]), st.integers(1, 5000), st.integers(1, 5000))
@settings(max_examples=500, deadline=None)
def test_sizes_are_those_of_the_rules(rule, height, width):
    want = resizing.resized(rule, (height, width))
    if min(want) < 1 or want[0] * want[1] > tasks.MOST_PIXELS:
        with pytest.raises(Refused, match="long and thin"):
            resized(Steps(rule), (height, width))
    else:
        assert resized(Steps(rule), (height, width)) == want


@st.composite
def steps(draw: st.DrawFn, channels: int) -> Steps:
    floats = st.floats(0.1, 0.9)
    means = st.lists(floats, min_size=channels, max_size=channels).map(tuple)
    normal = draw(st.booleans())
    return Steps(
        resize=draw(st.sampled_from(RULES)),
        resample=draw(st.integers(0, 5)),
        crop=draw(st.none() | st.tuples(st.integers(5, 90), st.integers(5, 90))),
        rescale=draw(st.none() | st.sampled_from([1 / 255, 1 / 127.5, 0.0039])),
        mean=draw(means) if normal else None,
        std=draw(means) if normal else None,
    )


def same_passes(given: tuple[int, int], found: tuple[int, int]) -> bool:
    """Whether this Pillow resizes along x and y in the order of Pillow 13 (which wants Python 3.11)."""
    rows, columns = given[0] - found[0], given[1] - found[1]
    return int(PIL.__version__.split(".")[0]) >= 13 or not rows > max(0, 2 * columns)


@given(st.data(), st.sampled_from([1, 3]), EDGES, EDGES, st.integers(0, 9))
@settings(max_examples=250, deadline=None)
def test_values_are_those_of_edgeq_tasks(data, channels, height, width, lanes):
    spec, photo = data.draw(steps(channels)), smooth(height, width, channels, seed=lanes)
    shape = tasks.prepare(photo if channels == 3 else photo[..., 0], spec, channels).pixels.shape[1:]
    if lanes % 2:
        spec = Steps(**{**spec.__dict__, "pad": (shape[0] + lanes, shape[1] + 3)})
    want = tasks.prepare(photo if channels == 3 else photo[..., 0], spec, channels)
    assume(same_passes(want.original, want.resized))
    size = want.pixels.shape[1:]
    found, sizes = prepare(photo, spec, size, size[1] + lanes)
    assert np.array_equal(found[:, :, : size[1]], want.pixels)
    assert np.isnan(found[:, :, size[1] :]).all()
    assert (sizes.height, sizes.width) == want.original
    assert (sizes.resized_height, sizes.resized_width) == want.resized


def test_a_size_that_is_not_the_model_s_is_refused():
    with pytest.raises(Refused, match="compile the model again"):
        prepare(smooth(20, 30), Steps({"rule": "exact", "height": 8, "width": 8}), (8, 9), 9)


def test_a_photo_too_thin_is_refused_as_in_python():
    photo, spec = smooth(1, 300), Steps({"rule": "longest", "edge": 64})
    with pytest.raises(UsageError, match="long and thin"):
        tasks.prepare(photo, spec)
    with pytest.raises(Refused, match="long and thin"):
        prepare(photo, spec, (64, 64), 64)
