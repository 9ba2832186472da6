"""`w1a1` from `--bits` to artifact: signs times signs, what the reference says of them, equal on every variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import static_zoo
import torch
from hand_grid import known
from replay_models import CONTEXT, LLAMA
from test_grids import quantized
from test_plan_reference import TOKENS, compare

from edgeq.artifact.manifest import read
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import stream
from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import make_options
from edgeq.errors import UnsupportedError, VerifyError
from edgeq.evaluate.graph import rounded
from edgeq.ir.graph import inputs, output
from edgeq.ir.ops.linear import qlinear
from edgeq.ir.text import parse
from edgeq.ir.verify import verify
from edgeq.kernels import binary_pack
from edgeq.measure.machine import this_machine
from edgeq.runtime.loader import Session
from edgeq.targets import find


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True)
    folder = tmp_path_factory.mktemp("llama") / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def compiled(model: Path, folder: Path, **given) -> Path:
    options = make_options(str(model), bits="w1a1", context=CONTEXT, chunk=32, calib="none", **given)
    folder.mkdir()
    compile_into(folder, options, lambda *_: None)
    return folder


def bits(folder: Path) -> set[bytes]:
    """Logits of the last token, step by step and in chunks, on every variant that this machine runs."""
    found = set[bytes]()
    for name in runnable(folder):
        with Session(folder, threads=2, variant=name) as session:
            found.add(session.logits(TOKENS)[-1].tobytes())
            session.rewind()
            session.feed(TOKENS)
            found.add(session.last_logits().tobytes())
    return found


def runnable(folder: Path) -> list[str]:
    """The variants of an artifact that this machine runs."""
    return [v["name"] for v in read(folder).variants if set(v["needs"]) <= this_machine().features]


def test_a_decoder_computes_what_the_reference_says(llama, tmp_path):
    folder = compiled(llama, tmp_path / "artifact")
    error, ties = compare(folder)
    assert error < 1e-4
    assert ties.wrong == 0 and ties.total > 40 * 2 * 3 * 64
    assert len(bits(folder)) == 1
    manifest = read(folder)
    assert [v["name"] for v in manifest.variants] == [isa.name for isa in find("native").every]  # it counts bits
    kernels = {k["name"].split("_w1_")[0] for k in manifest.kernels if "_w1_" in k["name"]}
    assert kernels == {"gemv_binary", "gemm_binary"}
    down = next(t for t in manifest.tensors if t.name == "model.layers.0.mlp.down_proj.weight")
    assert down.format == "w1" and down.bytes == binary_pack.FORMAT.nbytes(64, 96)  # 1 bit a weight and f32 a row


def test_learned_codes_and_scales_are_packed_as_they_are(llama, tmp_path):
    with known():
        folder = compiled(llama, tmp_path / "artifact", passes=["hand-grid{bits=w1}"])
        error, ties = compare(folder)
    assert error < 1e-4 and ties.wrong == 0 and len(bits(folder)) == 1


def test_an_encoder_too(tmp_path):
    static_zoo.save("bert", tmp_path / "model")
    folder = compiled(tmp_path / "model", tmp_path / "artifact", lengths=(8,))
    gm, weights = quantized(folder)
    given = {name: np.ones((1, 8), np.int32) if "mask" in name else np.zeros((1, 8), np.int32) for name in inputs(gm)}
    given["input_ids"] = np.arange(8, dtype=np.int32)[None]
    sample = Sample({name: torch.from_numpy(x).long() for name, x in given.items()}, torch.ones(8, dtype=torch.bool))
    results = [node for node in output(gm).args[0] if node.op == "call_function"]
    wanted = {}
    stream(gm, weights, [sample], results.__contains__,
           lambda block, seen: wanted.update({n: seen.values(n)[0] for n in results if n in seen}))  # fmt: skip
    found = []
    for name in runnable(folder):
        with Session(folder, threads=2, variant=name) as session:
            found.append(session.run("text_8", **given))
    for node, (name, got) in zip(results, found[0].items(), strict=True):
        assert all(other[name].tobytes() == got.tobytes() for other in found)
        assert np.abs(got - wanted[node].numpy()).max() < 0.05 * np.abs(got).max()  # a sign may differ


def test_the_reference_multiplies_signs():
    random = torch.Generator().manual_seed(0)
    x, w = torch.randn(5, 48, generator=random), torch.randn(7, 48, generator=random)
    x[0] = 0  # counts as +1, with scale 0
    x[1, 3], w[2, 5] = 0.0, 0.0
    y = qlinear(x, w, torch.arange(7.0), weight="w1", act="a1")
    alpha = w.abs().mean(1).half().float()
    signs = [torch.where(t >= 0, 1.0, -1.0) for t in (x, w)]
    assert torch.equal(y, (signs[0] @ signs[1].T) * alpha * x.abs().mean(1)[:, None] + torch.arange(7.0))
    assert torch.allclose(rounded(x, "a1"), signs[0] * x.abs().mean(1)[:, None])


def test_signs_meet_signs_alone():
    text = """
%x = input : f32[1, 4, 64]
%w = weight w : f32[32, 64]
%y = edgeq.qlinear(%x, %w, weight='w4g32', act='a1') : f32[1, 4, 32] @ m
return %y
"""
    with pytest.raises(VerifyError, match="a1"):
        verify(parse(text.strip()))


def test_columns_of_a_wider_tensor_are_refused(monkeypatch):
    from edgeq.lower import binary
    from edgeq.lower.values import Buffer, View

    x = View(Buffer("wide", 4 * 128, 16), 64, 16)
    gm = parse("""
%x = input : f32[1, 16, 64]
%w = weight w : f32[32, 64]
%y = edgeq.qlinear(%x, %w, weight='w1', act='a1') : f32[1, 16, 32] @ m
return %y
""".strip())
    node = next(n for n in gm.graph.nodes if n.op == "call_function")
    from edgeq.lower.scope import Scope

    scope = Scope(0, 0, None, None)
    monkeypatch.setattr(scope, "view", lambda _: x)
    with pytest.raises(UnsupportedError, match="m: its input is columns"):
        binary.lower_binary(scope, node)
