"""Damages: measured, estimated, and measured again by quantizing the graph itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.errors import UsageError
from edgeq.evaluate.graph import GraphModel
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.ir.graph import arguments, calls, hf_name
from edgeq.ir.values import weight_value
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import quantize
from edgeq.sensitivity.harm import divergences
from edgeq.sensitivity.measure import measure

FORMATS = ("w8", "w4g32", "w3g32")


@pytest.fixture(scope="module")
def found(tiny, texts):
    source, entries = tiny
    heads = ("w4g32", "w8g32", "f16")
    return {m: measure(entries, source, texts, FORMATS, m, heads=heads) for m in ("kl", "fisher")}


def damages(one, text):
    return np.array([unit.formats[text].damage for unit in one.units if text in unit.formats])


def test_fewer_bits_do_more_damage(found) -> None:
    for one in found.values():
        assert (damages(one, "w8")[:8] < damages(one, "w4g32")[:8]).all()
        assert (damages(one, "w4g32")[:8] < damages(one, "w3g32")).all()
        head = one.units[-1].formats
        assert 0 <= head["f16"].damage < head["w8g32"].damage < head["w4g32"].damage


def test_the_estimate_is_near_what_is_measured(found) -> None:
    for text in FORMATS:
        ratio = damages(found["fisher"], text) / damages(found["kl"], text)
        assert (ratio > 0.5).all() and (ratio < 2).all()


def test_kl_is_that_of_the_model_with_one_linear_quantized(tiny, texts) -> None:
    source, entries = tiny
    kl = measure(entries, source, lambda gm: texts(gm)[:2], ("w4g32",), "kl", heads=("f32",), act="a16")
    unit = kl.units[3]
    entry = load_entries(source, Shapes())[0]
    exact = GraphModel(load_entries(source, Shapes())[0].gm, source.weights)
    linear = next(node for node in calls(entry.gm, "aten.linear") if hf_name(node) == unit.modules[0])
    fmt = WeightFormat.parse("w4g32")
    weight = weight_value(arguments(linear)["weight"], source.weights)
    codes, scale, _ = (None if t is None else torch.from_numpy(t) for t in quantize(weight, fmt))
    put_on_grid(entry.gm, linear, codes, scale, None, fmt)
    changed = GraphModel(entry.gm, source.weights)
    rows = [
        divergences(*(model.run(sample.inputs)[0][0, 1:] for model in (exact, changed)))
        for sample in texts(entry.gm)[:2]
    ]
    assert unit.formats["w4g32"].damage == pytest.approx(float(torch.cat(rows).mean()), rel=1e-3)


def test_float_weights_do_no_damage(tiny, texts) -> None:
    source, entries = tiny
    for method in ("kl", "fisher"):
        one = measure(entries, source, texts, ("f32",), method, heads=("f32",))
        assert max(unit.formats["f32"].damage for unit in one.units) < 1e-9


def test_weights_on_a_grid_have_one_candidate(tiny, texts) -> None:
    source, _ = tiny
    entry = load_entries(source, Shapes())[0]
    rounded = {hf_name(linear): linear for linear in calls(entry.gm, "aten.linear") if "o_proj" in hf_name(linear)}
    fmt = WeightFormat.parse("w4g64a")
    for linear in rounded.values():
        stored = quantize(weight_value(arguments(linear)["weight"], source.weights), fmt)
        put_on_grid(entry.gm, linear, *map(torch.from_numpy, stored), fmt)
    one = measure([entry], source, texts, ("w8",), "fisher", heads=("f32",), act="a16")
    units = [unit for unit in one.units if list(unit.formats) == ["w4g64a"]]
    assert [unit.modules[0] for unit in units] == list(rounded) and len(rounded) == 2
    assert all(unit.formats["w4g64a"].damage < 1e-9 for unit in units)  # beside the model as it is now


def test_a_recipe_may_come_first(tiny, texts) -> None:
    source, _ = tiny
    entry = load_entries(source, Shapes())[0]
    run_pipeline(entry.gm, parse_pipeline("smooth,clip-weights{bits=w4a8}"), Context(source.weights, samples=texts))
    one = measure([entry], source, texts, ("w4g32",), heads=("w8g32",))
    assert len(one.units) == 9 and all(unit.formats for unit in one.units)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "fisher, kl, output"),
        ({"formats": ["w5"]}, "w5"),
        ({"formats": []}, "at least one"),
        ({"act": "a8s"}, "static"),
        ({"only": "layers.9"}, "9 in all"),
    ],
)
def test_what_is_not_known_is_refused(tiny, texts, arguments, message) -> None:
    given = {"formats": ["w8"], **arguments}
    with pytest.raises(UsageError, match=message):
        measure(tiny[1], tiny[0], texts, **given)


def test_some_units_suffer_as_they_do_among_all(tiny, texts, found) -> None:
    source, entries = tiny
    for method in ("kl", "fisher"):
        one = measure(entries, source, texts, FORMATS, method, only="*.1.mlp.*")
        assert [unit.modules for unit in one.units] == [unit.modules for unit in found[method].units[6:8]]
        assert damages(one, "w8") == pytest.approx(damages(found[method], "w8")[6:8], rel=1e-4)


def test_samples_are_needed(tiny) -> None:
    with pytest.raises(UsageError, match="--calib"):
        measure(tiny[1], tiny[0], lambda gm: [], ("w8",))
