"""What recipes stand for, and how options of a config and of the command line go together."""

from __future__ import annotations

import json

import pytest

from edgeq.compiling.config import merged, read_config
from edgeq.compiling.options import Resolved, make_options, record
from edgeq.compiling.recipes import CANDIDATES, DEFAULTS, KINDS, OWN, RECIPES, candidates, kind_of, pipelines, resolve
from edgeq.errors import UsageError
from edgeq.frontend.entries import EntryGraph, Port
from edgeq.passes import PASSES
from edgeq.passes.pipeline import parse_pipeline
from edgeq.quant.bits import Bits


@pytest.mark.parametrize("line", [*DEFAULTS, *CANDIDATES], ids=str)
def test_every_line_names_passes_and_kinds_that_exist(line):
    assert line.recipe in RECIPES
    assert set(line.kinds.split()) <= {*KINDS, "*"}
    assert not {step.name for step in parse_pipeline(line.passes)} & set(OWN)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", ["w8a8", "w4a8", "w4a16", "w8a16", "w8a8s"])
def test_best_compares_fast_and_balanced_first_and_nothing_too(kind, bits):
    parsed = Bits.parse(bits)
    found = candidates(kind, parsed)
    assert found[0] == resolve("fast", kind, parsed)
    assert resolve("balanced", kind, parsed) in found[:2] and [] in found
    assert len(found) == len(set(map(tuple, found)))


def test_float_models_have_no_calibrated_passes():
    assert all(resolve(recipe, kind, Bits.parse("fp16")) == [] for recipe in RECIPES[:2] for kind in KINDS)
    assert candidates("decoder", Bits.parse("fp32")) == [[]]


def test_passes_are_spelt_out_and_parse_back():
    for name in PASSES:
        text = parse_pipeline(name)[0].spelt()
        assert parse_pipeline(text)[0] == parse_pipeline(name)[0]
        assert parse_pipeline(text)[0].spelt() == text
    assert parse_pipeline("smooth{alpha=0.4}")[0].spelt().startswith("smooth{alpha=0.4,powers=true")


def test_static_activations_bring_the_pass_that_measures_them():
    static = pipelines(make_options("m", bits="w8a8s"), "decoder")
    assert static[0][-1].startswith("static-ranges{")
    chosen = pipelines(make_options("m", bits="w8a8s", passes=("static-ranges{method=mse}", "smooth")), "decoder")
    assert [text.split("{")[0] for text in chosen[0]] == ["static-ranges", "smooth"]
    assert not any("static-ranges" in text for text in pipelines(make_options("m", bits="w8a8"), "decoder")[0])


TEXT, IMAGE = Port("input_ids", "i32", (1, 8)), Port("pixel_values", "f32", (1, 3, 8, 8))


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ([("token", ())], "decoder"),
        ([("static", (TEXT,)), ("token", ())], "encoder-decoder"),
        ([("static", (TEXT,)), ("static", (IMAGE,))], "encoder"),
        ([("static", (IMAGE,))], "vision"),
    ],
)
def test_the_kind_is_found_by_entries(entries, kind):
    made = [EntryGraph("e", "e", how, 1, 8, None, inputs) for how, inputs in entries]
    assert kind_of(made) == kind


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "best", "passes": ("smooth",)}, "contradict"),
        ({"recipe": "slow"}, "known: fast, balanced, best"),
        ({"passes": ("quantize",)}, "runs it itself"),
        ({"passes": ("polish",)}, "'polish' is not known"),
        ({"calib_samples": -1}, "--calib-samples -1"),
        ({"image_size": (3,)}, "HEIGHT,WIDTH"),
        ({"lengths": ()}, "--lengths"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, says):
    with pytest.raises(UsageError, match=says):
        make_options("model", **options)


def test_options_are_recorded_so_that_they_come_back():
    given = make_options("m", bits="W4A8G64", passes=("smooth{alpha=0.4}",), lengths=(32, 8, 8), calib="a.txt", seed=3)
    assert make_options(**json.loads(json.dumps(record(given)))) == given
    plain = make_options("m")
    assert make_options(**record(plain)) == plain and record(plain)["recipe"] == ""


RESOLVED = Resolved(("smooth",), calibration={"hash": "1"})
CONFIG = {"model": "m", "bits": "w8a8", "recipe": "balanced", "passes": [], "lengths": [8], "resolved": RESOLVED}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"resolved": RESOLVED}),
        ({"target": "arm64", "chunk": 8, "lengths": (8,)}, {"resolved": RESOLVED, "target": "arm64"}),
        ({"bits": "w4a8"}, {"bits": "w4a8", "recipe": "balanced", "resolved": None}),
        ({"calib": "b.txt"}, {"resolved": None}),
        ({"passes": ("awq",)}, {"passes": ("awq",), "recipe": "", "resolved": None}),
        ({"recipe": "fast"}, {"recipe": "fast", "passes": (), "resolved": None}),
    ],
)
def test_what_is_changed_overrides_a_config_and_resolves_anew_only_where_it_matters(changes, found):
    options = merged(CONFIG, changes)
    assert {name: options.get(name) for name in found} == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not a JSON object"),
        ('{"mode": "m"}', "mode means nothing; known: model"),
        ('{"model": "m", "context": "64"}', 'context is "64"; give a whole number'),
        ('{"model": "m", "lengths": [1.5]}', "give a list of whole numbers"),
        ('{"model": "m", "seed": true}', "seed is true"),
        ('{"bits": "w8a8"}', "names no model"),
    ],
)
def test_config_files_that_mean_nothing_are_refused(tmp_path, text, says):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=says):
        merged(read_config(tmp_path / "config.json"), {})


def test_a_written_config_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model": "m", "passes": ["smooth"], "revision": null, "lengths": [8, 16]}')
    options = make_options(**merged(read_config(tmp_path / "config.json"), {"bits": "w8a8"}))
    assert (options.shapes.lengths, str(options.bits), options.passes[0][:7]) == ((8, 16), "w8a8", "smooth{")
