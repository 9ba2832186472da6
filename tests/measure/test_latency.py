"""Latencies of static entries, and the profile of an artifact that has some."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from toy_model import Toy, build, write_manifest

from edgeq.cli.app import app
from edgeq.errors import UsageError
from edgeq.measure.latency import MOST, latency, summarize, write_inputs
from edgeq.measure.profile import Settings, profile
from edgeq.runtime.loader import Session


def regions(*names: str) -> list[dict]:
    return [{"kind": n, "modules": [n], "kernels": [n], "weight_bytes": 640, "ops": 70} for n in names]


ENCODE = {"name": "encode", "kind": "static", "max_rows": 1, "regions": regions("embed", "mix")}
SCORE = {"name": "score", "kind": "static", "max_rows": 1, "regions": regions("dot", "best")}
DECODE = {"name": "decode", "kind": "token", "max_rows": 1, "regions": regions("head")}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = build(tmp_path_factory.mktemp("encoder"), plan="toy_static.c", tokens=False)
    write_manifest(toy.folder, entries=[ENCODE, SCORE], memory={"context": 0})
    return toy


@pytest.fixture(scope="module")
def encoder_decoder(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    toy = build(tmp_path_factory.mktemp("encdec"), plan="toy_static.c")
    write_manifest(toy.folder, entries=[DECODE, ENCODE, SCORE], memory={"context": 300})
    return toy


def test_percentiles_are_samples():
    found = summarize([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0, 100.0])
    assert (found.p50, found.p90, found.best) == (5.0, 9.0, 1.0)
    assert found.runs_per_s == pytest.approx(1 / 5)


def test_random_inputs_are_what_the_entry_takes(encoder: Toy):
    with Session(encoder.folder) as session:
        write_inputs(session, session.entries[0])
        ids, mask = (tensor.view().copy() for tensor in session.entries[0].inputs)
        assert 0 <= ids.min() < ids.max() < 100
        assert (mask == 1).all()
        write_inputs(session, session.entries[0])
        np.testing.assert_array_equal(session.entries[0].inputs[0].view(), ids)


def test_runs_end_with_the_budget_or_their_number(encoder: Toy):
    with Session(encoder.folder) as session:
        write_inputs(session, session.entries[0])
        ticks = iter(float(i) for i in range(10_000))
        found = latency(session, "encode", 7.0, 3, lambda: next(ticks))
        assert found.samples == (1.0,) * 3  # a second a tick, three ticks a run
        assert len(latency(session, "encode", 1e9, 3, lambda: 0.0).samples) == MOST
        assert len(latency(session, "encode", 0.0, 4).samples) == 4


def test_profile_of_an_encoder(encoder: Toy):
    report = profile(encoder.folder, Settings(budget_s=0.05, repeats=3, threads=2))
    assert set(report["latency"]) == {"encode", "score"}
    encode = report["latency"]["encode"]
    assert encode["best_seconds"] <= encode["p50_seconds"] <= encode["p90_seconds"]
    assert (encode["weight_bytes"], encode["multiply_adds"]) == (1280, 140)
    assert encode["bytes_per_s"] == pytest.approx(1280 / encode["p50_seconds"])
    assert [op["name"] for op in report["entries"]["score"]] == ["dot dot", "best best"]
    assert sum(op["share_of_time"] for op in report["entries"]["score"]) == pytest.approx(1)
    assert report["tokens_per_second"] == {}
    assert report["first_token"] is None and report["decode_weight_bytes"] is None


def test_profile_of_an_encoder_decoder_runs_the_encoder_first(encoder_decoder: Toy):
    report = profile(encoder_decoder.folder, Settings(decode=5, budget_s=0.05, repeats=2))
    assert set(report["latency"]) == {"encode", "score"}
    assert set(report["tokens_per_second"]) == {"decode_5"}
    assert report["decode_weight_bytes"] == 640
    with pytest.raises(UsageError, match="no prefill entry"):
        profile(encoder_decoder.folder, Settings(prefill=(16,)))
    with pytest.raises(UsageError, match="context of 300"):
        profile(encoder_decoder.folder, Settings(decode=301))


def test_the_command_prints_latencies_and_ops(encoder: Toy):
    words = ["profile", str(encoder.folder), "--repeats", "2", "--brief", "--threads", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert any(line.split()[:5] == ["a", "run", "of", "P50", "ms"] for line in lines)
    assert any(line.startswith("encode: op") for line in lines)
    assert "first token" not in done.stdout and "tokens a second" not in done.stdout
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["latency"]["score"]["runs"] >= 2


def test_an_encoder_takes_no_tokens(encoder: Toy, tmp_path: Path):
    for words in (["--prefill", "16"], ["--decode", "3"]):
        done = CliRunner().invoke(app, ["profile", str(encoder.folder), *words])
        assert done.exit_code == 2
        assert "takes no tokens" in done.stderr
