"""A compiled encoder, from Python and in a bare C program, against the eager model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import static_zoo
import torch
from test_example import build, run

from edgeq.compiling.compiler import Options, compile_into
from edgeq.frontend.interfaces import Shapes
from edgeq.measure.machine import this_machine
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find

IDS = [2, 77, 31, 9, 54]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    folder = tmp_path_factory.mktemp("bert")
    eager = static_zoo.save("bert", folder / "model")
    target = find("native")
    best = next(isa for isa in target.isas if set(isa.needs) <= set(this_machine().features))
    target = dataclasses.replace(target, isas=(best,))
    shapes = Shapes(batch=(1, 2), lengths=(8,))
    (folder / "artifact").mkdir()
    options = Options(str(folder / "model"), target, Bits.parse("fp32"), 0, 1, shapes=shapes)
    compile_into(folder / "artifact", options, lambda *_: None)
    return eager, folder / "artifact"


def hidden(eager: torch.nn.Module, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return eager(torch.tensor([ids])).last_hidden_state[0].numpy()


def test_outputs_are_the_model_s_for_any_number_of_threads(bert: tuple[torch.nn.Module, Path]):
    eager, artifact = bert
    ids, mask = np.zeros((2, 8), np.int32), np.zeros((2, 8), np.int32)
    ids[0], mask[0], ids[1, :5], mask[1, :5] = range(8), 1, IDS, 1
    found = []
    for threads in (1, 2, 3):
        with Session(artifact, threads=threads, adapt=False) as session:
            rest = {t.name: np.zeros(t.shape, np.int32) for t in session.entries[1].inputs[2:]}
            found.append(session.run("text_8x2", input_ids=ids, attention_mask=mask, **rest)["last_hidden_state"])
    np.testing.assert_allclose(found[0][0], hidden(eager, list(range(8))), atol=1e-5)
    np.testing.assert_allclose(found[0][1, :5], hidden(eager, IDS), atol=1e-5)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_a_c_program_embeds(bert: tuple[torch.nn.Module, Path], tmp_path: Path):
    eager, artifact = bert
    done = run(build(artifact, tmp_path / "embed"), artifact, *IDS)
    mean = hidden(eager, IDS).mean(0)
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], mean / np.linalg.norm(mean), atol=1e-5)
    listed = run(build(artifact, tmp_path / "entries"), artifact).stdout
    assert "  in  input_ids int32[1, 8], values 0..99\n" in listed
    assert "text_8x2: static (edgeq_run)\n" in listed
