"""Encoder and decoder as text -> one plan: caches and the number of keys are memory that both entries name."""

from __future__ import annotations

import pytest
import torch

from edgeq.errors import UnsupportedError
from edgeq.frontend.entries import EntryGraph, Port
from edgeq.ir.text import parse
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.lowering import lower_entries
from edgeq.lower.plan import Literal, Loaded, Plan, Weight
from edgeq.passes.pipeline import parse_pipeline
from edgeq.targets import find

ENCODER = """
%x = input : f32[1, {s}, 64]
%mask = input : i64[1, {s}]
%k_cache = input cross_k_0 : f32[1, 4, 32, 16]
%v_cache = input cross_v_0 : f32[1, 4, 32, 16]
%n_keys = input : i32[1]
%wk = weight k.weight : f32[64, 64]
%wv = weight v.weight : f32[64, 64]
%bv = weight v.bias : f32[64]
%k = aten.linear(%x, %wk) : f32[1, {s}, 64] @ cross.k
%v = aten.linear(%x, %wv, %bv) : f32[1, {s}, 64] @ cross.v
%store = edgeq.store_keys(%k, %v, %k_cache, %v_cache) : () @ cross
%count = edgeq.count_keys(%mask, %n_keys) : ()
return (%k,)
"""
DECODER = """
%input_ids = input : i64[1, s]
%n_keys = input : i32[1]
%k_cache = input cross_k_0 : f32[1, 4, 32, 16]
%v_cache = input cross_v_0 : f32[1, 4, 32, 16]
%tokens = weight wte.weight : f32[32, 64]
%g = weight norm.weight : f32[64]
%e = aten.embedding(%tokens, %input_ids) : f32[1, s, 64] @ wte
%wq = weight q.weight : f32[64, 64]
%wk = weight sk.weight : f32[64, 64]
%wv = weight sv.weight : f32[64, 64]
%q = aten.linear(%e, %wq) : f32[1, s, 64] @ self.q
%k = aten.linear(%e, %wk) : f32[1, s, 64] @ self.k
%v = aten.linear(%e, %wv) : f32[1, s, 64] @ self.v
%a = edgeq.attention(%q, %k, %v, heads=4, kv_heads=4, scale=0.25, causal=True) : f32[1, s, 64] @ self
%r = aten.add.Tensor(%a, %e) : f32[1, s, 64] @ block
%n = aten.layer_norm(%r, [64], %g) : f32[1, s, 64] @ norm
%wc = weight c.weight : f32[64, 64]
%cq = aten.linear(%n, %wc) : f32[1, s, 64] @ cross.q
%c = edgeq.cross_attention(%cq, %k_cache, %v_cache, %n_keys, heads=4, kv_heads=4, scale=0.25) : f32[1, s, 64] @ cross
%wo = weight o.weight : f32[64, 64]
%o = aten.linear(%c, %wo) : f32[1, s, 64] @ cross.o
%y = aten.add.Tensor(%o, %n) : f32[1, s, 64] @ block
%logits = aten.linear(%y, %tokens) : f32[1, s, 32] @ head
return %logits
"""


class Names:
    """Stands for a checkpoint: lowering reads no values."""

    def names(self) -> list[str]:
        return []


PASSES = "cross-cache{kv=f16},merge-linears,quantize{bits=w8a8}"


def encoder(length: int, pipeline: str = PASSES, text: str = ENCODER) -> EntryGraph:
    gm = parse(text.format(s=length).strip())
    for step in parse_pipeline(pipeline):
        step(gm)
    ports = Port("x", "f32", (1, length, 64)), Port("mask", "i32", (1, length))
    outputs = (Port("k", "f32", (1, length, 64)),)
    return EntryGraph(f"encode_{length}", "encode", "static", 1, length, gm, ports, outputs)


def decoder(kv: str = "f16") -> EntryGraph:
    gm = parse(DECODER.strip())
    for step in parse_pipeline(
        f"cross-cache{{kv={kv}}},add-cache{{kv={kv},context=48}},last-row,merge-linears,quantize{{bits=w8a8}}"
    ):
        step(gm)
    return EntryGraph("decode", "decode", "token", 1, 0, gm)


def plan_of(*entries: EntryGraph) -> Plan:
    return lower_entries(list(entries), Names(), 48, 1)[0]


def calls(plan: Plan, entry: int, family: str) -> list:
    return [c for r in plan.entries[entry].regions for c in r.calls if c.kernel.family == family]


def test_every_length_fills_the_caches_that_the_decoder_reads():
    plan = plan_of(encoder(8), encoder(24), decoder())
    assert [e.name for e in plan.entries] == ["encode_8", "encode_24", "decode"]
    assert [e.after_run for e in plan.entries] == [False, False, True]
    stores = [calls(plan, i, "kv_store.store")[0] for i in (0, 1)]
    itself, cross = calls(plan, 2, "attention.decode")
    assert stores[0].args[4:6] == stores[1].args[4:6] == cross.args[2:4] != itself.args[2:4]
    assert (cross.kernel.options["context"], itself.kernel.options["context"]) == (32, 48)
    assert [b.bytes for b in plan.caches] == [2 * 64 * 32] * 2 + [2 * 64 * 48] * 2


def test_keys_and_values_are_one_product():
    (gemm,) = calls(plan_of(encoder(8), decoder()), 0, "linear_int.gemm")
    assert gemm.kernel.options["N"] == 128 and gemm.kernel.options["bias"]


def test_the_number_of_keys_is_read_at_run_time():
    plan = plan_of(encoder(8), decoder())
    (count,) = calls(plan, 0, "count.count")
    cross = calls(plan, 1, "attention.decode")[1]
    assert isinstance(cross.args[0], Loaded) and cross.args[0].buffer is count.args[1]
    every = (c for e in plan.entries for r in e.regions for c in r.calls)
    names = {a.name for c in every for a in c.args if isinstance(a, Weight)}
    text = emit(plan, find("x86-64").isas, WeightsInfo(dict.fromkeys(names, 64), 0, 0, 0), "model")
    assert f"*(const int *)(A + {count.args[1].offset}) + -1" in text


def test_a_constant_number_of_keys_is_printed():
    text = DECODER.replace("%n_keys = input : i32[1]", "%n_keys = weight n_keys : i32[1]")
    gm = parse(text.strip())
    gm.n_keys = torch.tensor([20], dtype=torch.int32)
    for step in parse_pipeline("add-cache{context=48},last-row,merge-linears,quantize{bits=fp32}"):
        step(gm)
    plan = plan_of(encoder(24), EntryGraph("decode", "decode", "token", 1, 0, gm))
    assert calls(plan, 1, "attention.decode")[1].args[0] == Literal("19")


def test_int8_caches_keep_their_scales():
    plan = plan_of(encoder(8, "cross-cache{kv=i8},quantize{bits=w8a8}"), decoder("i8"))
    store = calls(plan, 0, "kv_store.store")[0]
    assert [b.name for b in store.args[4:]] == ["cross_k_0", "cross_v_0", "cross_k_0_scale", "cross_v_0_scale"]
    assert [b.bytes for b in store.args[4:]] == [64 * 32, 64 * 32, 4 * 4 * 32, 4 * 4 * 32]


def test_keys_and_values_of_different_strides_are_refused():
    changes = {
        "v.weight : f32[64, 64]": "v.weight : f32[80, 64]", "v.bias : f32[64]": "v.bias : f32[80]",
        "%bv) : f32[1, {s}, 64]": "%bv) : f32[1, {s}, 80]", "cross_v_0 : f32[1, 4": "cross_v_0 : f32[1, 5",
    }  # fmt: skip
    text = ENCODER
    for old, new in changes.items():
        text = text.replace(old, new)
    with pytest.raises(UnsupportedError, match="cross: keys and values lie 64 and 80 floats apart"):
        plan_of(encoder(8, "quantize{bits=w8a8}", text))
