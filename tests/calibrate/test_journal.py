"""An interrupted stream goes on after the last block saved and decides the same; what does not fit is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_decoder import Weights, samples, two_layers

from edgeq.calibrate import journal_file
from edgeq.calibrate.journal import INDEX, Decisions, Journal
from edgeq.calibrate.stream import stream
from edgeq.errors import OutputError, UsageError
from edgeq.ir.graph import op

PRINT = {"model": "m1", "samples": "s1"}
STEP = "0:smooth"


class Killed(Exception):
    """The process ends here."""


class Run:
    """A pass that decides, at every norm and gated activation, its channels' largest values."""

    def __init__(self, decisions: Decisions, die_at: int = -1, decides: bool = True) -> None:
        self.gm = two_layers()
        self.weights, self.decisions, self.die_at, self.decides = Weights(self.gm), decisions, die_at, decides
        self.visited: list[int] = []
        self.seen: dict[str, dict[str, torch.Tensor]] = {}

    def wanted(self, node: Any) -> bool:
        return op(node) in ("edgeq.rms_norm", "edgeq.gated") and self.decisions.get(STEP, node.name) is None

    def visit(self, block, captured) -> None:
        self.visited.append(block.index)
        for node in block.nodes:
            if node in captured:
                self.seen[node.name] = {"largest": torch.cat(captured.rows(node)).abs().amax(0)}
                if self.decides:
                    self.decisions.put(STEP, node.name, self.seen[node.name])
        if block.index == self.die_at:
            raise Killed

    def stream(self) -> dict[str, dict[str, torch.Tensor] | None]:
        stream(self.gm, self.weights, samples(), self.wanted, self.visit, journal=self.decisions)
        if not self.decides:
            for name, decision in self.seen.items():
                self.decisions.put(STEP, name, decision)
        names = [node.name for node in self.gm.graph.nodes if op(node) in ("edgeq.rms_norm", "edgeq.gated")]
        return {name: self.decisions.get(STEP, name) for name in names}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[n]["largest"], other[n]["largest"]) for n in one)


def interrupted(folder: Path, at: int = 2) -> None:
    with pytest.raises(Killed):
        Run(Journal(folder, PRINT), die_at=at).stream()


def files(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.iterdir())


@pytest.mark.parametrize("at", range(5))
def test_a_killed_stream_goes_on_and_decides_the_same(tmp_path, at):
    expected = Run(Decisions()).stream()
    interrupted(tmp_path, at)
    again = Run(Journal(tmp_path, PRINT))
    assert same(again.stream(), expected)
    assert again.visited == list(range(at, 5))
    if at > 0:
        assert not again.weights.rows  # the embedding is of the first block: it was not computed again
    done = Run(Journal(tmp_path, PRINT), die_at=0)
    assert same(done.stream(), expected) and not done.visited


def test_it_goes_on_in_another_process(tmp_path):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from test_journal import Journal, PRINT, Run\n"
        "run = Run(Journal(Path(sys.argv[1]), PRINT)); run.stream(); print(run.visited)"
    )
    interrupted(tmp_path)
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[2, 3, 4]"


def test_a_visit_that_decides_nothing_is_done_again(tmp_path):
    with pytest.raises(Killed):
        Run(Journal(tmp_path, PRINT), die_at=3, decides=False).stream()
    again = Run(Journal(tmp_path, PRINT), decides=False)
    assert same(again.stream(), Run(Decisions()).stream()) and again.visited == list(range(5))


def test_another_graph_is_computed_from_its_start(tmp_path):
    interrupted(tmp_path)
    other = Run(Journal(tmp_path, PRINT))
    node = next(node for node in other.gm.graph.nodes if op(node) == "edgeq.gated")
    node.kwargs = {"act": "gelu"}
    other.stream()
    assert other.weights.rows and other.visited == [2, 3, 4]  # what is decided stays decided


def test_decisions_put_outside_a_stream_are_flushed(tmp_path):
    journal = Journal(tmp_path, PRINT)
    kept = {"scale": torch.arange(3.0), "peaks": torch.tensor(2), "none": torch.ones(0)}
    journal.put("1:awq", "a key / with \u00e9", kept)
    journal.put("1:awq", "empty", {})
    assert Journal(tmp_path, PRINT).get("1:awq", "empty") is None
    journal.flush()
    found = Journal(tmp_path, PRINT)
    decision = found.get("1:awq", "a key / with \u00e9")
    assert decision is not None and list(decision) == list(kept)
    assert all(torch.equal(decision[name], kept[name]) for name in kept)
    assert found.get("1:awq", "empty") == {} and found.get("2:awq", "empty") is None


def test_only_the_newest_activations_stay(tmp_path):
    interrupted(tmp_path, 3)
    assert files(tmp_path) == ["activations", "decisions", "decisions", "decisions", INDEX]
    Run(Journal(tmp_path, PRINT)).stream()
    assert "activations" not in files(tmp_path)


def test_another_fingerprint_is_refused(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(UsageError, match=r"another one: samples \(was s1, is s2\): compile again without --resume"):
        Journal(tmp_path, {**PRINT, "samples": "s2"})
    with pytest.raises(UsageError, match=r"edgeq \(was nothing, is 9\)"):
        Journal(tmp_path, {**PRINT, "edgeq": "9"})
    assert Run(Journal(tmp_path, PRINT)).stream()


@pytest.mark.parametrize("kind", ["journal", "decisions", "activations"])
@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_damage_is_one_clear_error(tmp_path, kind, harm):
    interrupted(tmp_path)
    path = next(path for path in sorted(tmp_path.iterdir()) if path.name.startswith(kind))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-7], "flip": data, "empty": b""}[harm])
    with pytest.raises(UsageError, match=rf"{kind}.*damaged.*without --resume"):
        Journal(tmp_path, PRINT)


def test_a_missing_file_is_one_clear_error(tmp_path):
    interrupted(tmp_path)
    next(tmp_path.glob("activations*")).unlink()
    with pytest.raises(UsageError, match=r"activations-.*cannot be read"):
        Journal(tmp_path, PRINT)


def test_a_format_of_a_newer_edgeq_is_refused(tmp_path):
    Journal(tmp_path, PRINT)
    text = (tmp_path / INDEX).read_bytes().partition(b"\n")[2]
    newer = json.dumps({**json.loads(text), "format": 99}).encode()
    from edgeq.calibrate.journal import _digest

    (tmp_path / INDEX).write_bytes(_digest(newer) + b"\n" + newer)
    with pytest.raises(UsageError, match="its format is 99"):
        Journal(tmp_path, PRINT)


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "activations-77.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "decisions-78.safetensors").write_bytes(b"never named")
    (tmp_path / "other.txt").write_text("not ours")
    Journal(tmp_path, PRINT)
    assert not list(tmp_path.glob("*-7[78]*")) and (tmp_path / "other.txt").exists()


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    interrupted(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    journal = Journal(tmp_path, PRINT)
    journal.put(STEP, "more", {"scale": torch.ones(4)})

    def full(tensor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_file, "_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        journal.flush()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_numbers_between_blocks_are_kept(tmp_path):
    journal = Journal(tmp_path, PRINT)
    place = journal.place("calibrate", "abc")
    tensor = torch.arange(6).reshape(2, 3).t()
    journal.save(place, 2, [{"x": tensor, "sym_size": 7}, {"x": tensor > 2, "sym_size": 8}])
    blocks, carried = Journal(tmp_path, PRINT).saved(place) or (0, [])
    assert blocks == 2 and [values["sym_size"] for values in carried] == [7, 8]
    assert torch.equal(carried[0]["x"], tensor) and torch.equal(carried[1]["x"], tensor > 2)
