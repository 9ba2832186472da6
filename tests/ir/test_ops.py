"""The edgeq:: ops: shapes, meaning against plain torch, export as one node, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import edgeq.ir.ops  # noqa: F401  (registers the ops)
from edgeq.errors import VerifyError
from edgeq.ir.ops.matrix import quantize_tokens

edgeq_ops = torch.ops.edgeq


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def test_attention_equals_sdpa_with_grouped_heads():
    q, k, v = torch.randn(2, 5, 8 * 4), torch.randn(2, 5, 2 * 4), torch.randn(2, 5, 2 * 4)
    got = edgeq_ops.attention(q, k, v, heads=8, kv_heads=2, scale=0.3, causal=True)
    want = functional.scaled_dot_product_attention(
        heads_of(q, 8), heads_of(k, 2), heads_of(v, 2), is_causal=True, scale=0.3, enable_gqa=True
    )
    assert torch.allclose(got, want.transpose(1, 2).flatten(-2), atol=1e-6)


def test_attention_window_sees_left_positions_and_itself():
    q, k, v = torch.zeros(1, 4, 2), torch.zeros(1, 4, 2), torch.eye(4)[None]
    got = edgeq_ops.attention(q, k, v, heads=1, kv_heads=1, scale=1.0, causal=True, left=1)
    assert torch.allclose(got[0, 3], torch.tensor([0, 0, 0.5, 0.5]))


def test_attention_pad_hides_keys_and_sinks_take_mass():
    q, k, v = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    pad = torch.tensor([[1, 0]])
    got = edgeq_ops.attention(q, k, v, pad, None, torch.zeros(1), heads=1, kv_heads=1, scale=1.0, causal=False)
    assert torch.allclose(got, torch.full((1, 2, 2), 0.5))


@pytest.mark.parametrize("kv, tolerance", [("f32", 1e-6), ("f16", 2e-3), ("i8", 3e-2)])
def test_cached_attention_in_chunks_equals_attention(kv, tolerance):
    q, k, v = torch.randn(1, 6, 4 * 8), torch.randn(1, 6, 2 * 8), torch.randn(1, 6, 2 * 8)
    options = {"heads": 4, "kv_heads": 2, "scale": 0.35, "left": 3}
    want = edgeq_ops.attention(q, k, v, causal=True, **options)
    caches = torch.zeros(1, 2, 10, 8), torch.zeros(1, 2, 10, 8)
    parts = []
    for first, last in ((0, 3), (3, 4), (4, 6)):
        rows = (t[:, first:last] for t in (q, k, v))
        parts.append(edgeq_ops.cached_attention(*rows, *caches, torch.tensor([first]), kv=kv, **options))
    assert torch.allclose(torch.cat(parts, 1), want, atol=tolerance)
    assert not caches[0][:, :, 6:].any()


def test_cache_type_is_checked():
    x = torch.zeros(1, 1, 4)
    with pytest.raises(VerifyError, match="i3"):
        edgeq_ops.cached_attention(
            x, x, x, torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), torch.tensor([0]),
            heads=1, kv_heads=1, scale=1.0, kv="i3",
        )


def test_rms_norm_per_head_with_offset():
    x, w = torch.randn(1, 3, 2 * 4), torch.randn(4)
    got = edgeq_ops.rms_norm(x, w, eps=1e-5, offset=1.0, heads=2)
    want = torch.cat([functional.rms_norm(half, (4,), w + 1, 1e-5) for half in x.split(4, -1)], -1)
    assert torch.allclose(got, want, atol=1e-6)


def test_rms_norm_adds_a_bias_to_each_slice():
    x, w, b = torch.randn(1, 3, 2 * 4), torch.randn(4), torch.randn(4)
    plain = edgeq_ops.rms_norm(x, w, eps=1e-5, offset=1.0, heads=2)
    got = edgeq_ops.rms_norm(x, w, b, eps=1e-5, offset=1.0, heads=2)
    assert torch.equal(got, plain + b.repeat(2))
    alone = edgeq_ops.rms_norm(x, None, b, eps=1e-5, heads=2)
    assert torch.equal(alone, edgeq_ops.rms_norm(x, eps=1e-5, heads=2) + b.repeat(2))


def test_rope_rotates_halves_and_keeps_the_rest():
    x, pos, inv_freq = torch.randn(1, 3, 2 * 6), torch.arange(3)[None], torch.tensor([1.0, 0.1])
    got = edgeq_ops.rope(x, pos, inv_freq, heads=2).unflatten(-1, (2, 6))
    head = x.unflatten(-1, (2, 6))
    assert torch.allclose(got[:, 0], head[:, 0])
    assert torch.equal(got[..., 4:], head[..., 4:])
    plane = torch.complex(head[..., :2], head[..., 2:4]) * torch.exp(1j * pos[..., None, None] * inv_freq)
    assert torch.allclose(got[..., :2], plane.real, atol=1e-6)
    assert torch.allclose(got[..., 2:4], plane.imag, atol=1e-6)


def test_gated_and_last_row():
    gate, up = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    assert torch.equal(edgeq_ops.gated(gate, up, act="silu"), functional.silu(gate) * up)
    assert torch.equal(edgeq_ops.last_row(up, torch.tensor([2])), up[:, 1:2])
    with pytest.raises(VerifyError, match="swish"):
        edgeq_ops.gated(gate, up, act="swish")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.Parameter(torch.ones(8))
        self.register_buffer("inv_freq", torch.tensor([1.0, 0.1]))

    def forward(self, x, pos):
        y = edgeq_ops.rms_norm(x, self.norm, eps=1e-6)
        y = edgeq_ops.rope(y, pos, self.inv_freq, heads=2)
        y = edgeq_ops.attention(y, y, y, heads=2, kv_heads=2, scale=0.5, causal=True)
        return edgeq_ops.gated(y, edgeq_ops.quick_gelu(y), act="gelu")


def test_export_keeps_each_op_as_one_node_and_gradients_flow():
    block, x, pos = Block(), torch.randn(1, 5, 8, requires_grad=True), torch.arange(5)[None]
    rows = torch.export.Dim("s", min=2, max=64)
    program = torch.export.export(block, (x, pos), dynamic_shapes=({1: rows}, {1: rows}))
    graph = program.run_decompositions({}).graph
    names = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert names == {f"edgeq.{op}.default" for op in ("rms_norm", "rope", "attention", "quick_gelu", "gated")}
    block(x, pos).sum().backward()
    assert x.grad is not None and block.norm.grad is not None


def test_token_quantization_is_absmax_over_127_and_survives_zeros():
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    codes, scale = quantize_tokens(x)
    assert codes.tolist() == [[64.0, -127.0, 32.0], [0.0, 0.0, 0.0]]
    assert torch.allclose(scale, torch.tensor([2 / 127, 0.0]))


@pytest.mark.parametrize("kv, tolerance", [("f32", 1e-6), ("f16", 2e-3), ("i8", 3e-2)])
def test_cross_attention_over_stored_keys_equals_attention_with_padding(kv, tolerance):
    q, k, v = torch.randn(1, 3, 4 * 8), torch.randn(1, 5, 2 * 8), torch.randn(1, 5, 2 * 8)
    caches = torch.randn(1, 2, 16, 8), torch.randn(1, 2, 16, 8)  # what an earlier text left
    edgeq_ops.store_keys(k, v, *caches, kv=kv)
    options = {"heads": 4, "kv_heads": 2, "scale": 0.35}
    pad = torch.tensor([[1, 1, 1, 1, 0]])
    want = edgeq_ops.attention(q, k, v, pad, causal=False, **options)
    got = edgeq_ops.cross_attention(q, *caches, torch.tensor([4], dtype=torch.int32), kv=kv, **options)
    assert torch.allclose(got, want, atol=tolerance)


def test_a_bias_by_distance_is_a_bias_and_the_same_in_chunks():
    q, k, v, table = torch.randn(1, 6, 16), torch.randn(1, 6, 16), torch.randn(1, 6, 16), torch.randn(2, 9)
    options = {"heads": 2, "kv_heads": 2, "scale": 0.35}
    distance = (torch.arange(6)[:, None] - torch.arange(6)[None]).clamp(min=0)
    want = edgeq_ops.attention(q, k, v, None, table[:, distance][None], causal=True, **options)
    by_distance = [None, None, None, None, None, table]
    assert torch.equal(edgeq_ops.attention(q, k, v, *by_distance, causal=True, **options), want)
    caches = torch.zeros(1, 2, 9, 8), torch.zeros(1, 2, 9, 8)
    parts = []
    for first, last in ((0, 4), (4, 5), (5, 6)):
        rows = (t[:, first:last] for t in (q, k, v))
        parts.append(edgeq_ops.cached_attention(*rows, *caches, torch.tensor([first]), table, kv="f32", **options))
    assert torch.allclose(torch.cat(parts, 1), want, atol=1e-6)
