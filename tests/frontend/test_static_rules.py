"""Single rules of static raising on small functions: the same values, in the ops that were promised."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import entry_zoo as zoo
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeq.frontend.export_static import export_static
from edgeq.frontend.interfaces import Interface
from edgeq.frontend.static import raise_static
from edgeq.ir.graph import arguments, calls, is_weight, op
from edgeq.ir.verify import verify

Function = Callable[..., Tensor]


class Block(nn.Module):
    """A function of inputs and named layers."""

    def __init__(self, function: Function, **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(self, *given)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(noise(*shape))


def raised(block: nn.Module, *given: Tensor) -> fx.GraphModule:
    """The block raised, checked by the verifier and against itself on the inputs."""
    block = block.eval().requires_grad_(False)
    specs: dict[str, Any] = {f"x{i}": (tuple(x.shape), x.dtype) for i, x in enumerate(given)}
    face = Interface("block", specs, lambda model, inputs: {"y": model(*inputs.values())})
    gm, _ = export_static(copy.deepcopy(block), face, "eager")
    raise_static(gm)
    verify(gm, types=True)
    zoo.fill(gm, block)
    with torch.no_grad():
        want, (found,) = block(*given), gm(*given)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5 * max(1.0, float(want.abs().max())))
    return gm


def ops(gm: fx.GraphModule) -> list[str]:
    """Ops over activations."""
    return [op(node) for node in gm.graph.nodes if node.op == "call_function" and not is_weight(node)]


def perturbed(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    with torch.no_grad():
        for i, tensor in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            tensor.add_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(i)))  # type: ignore[union-attr]
    return norm


CONVOLUTIONS = {
    "patches": nn.Conv2d(3, 8, 4, stride=4),
    "padded": nn.Conv2d(3, 8, 3, padding=1, bias=False),
    "uneven": nn.Conv2d(3, 8, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "same": nn.Conv2d(3, 8, 3, padding="same"),
    "valid": nn.Conv2d(3, 8, 3, padding="valid"),
    "strided point": nn.Conv2d(3, 8, 1, stride=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_are_patches_and_a_linear(name: str) -> None:
    gm = raised(Block(lambda self, x: self.conv(x), conv=CONVOLUTIONS[name]), noise(2, 3, 9, 12))
    assert ops(gm) == ["aten.permute", "edgeq.im2col", "aten.linear", "aten.permute"]


def test_a_point_convolution_is_a_linear_alone() -> None:
    gm = raised(Block(lambda self, x: self.conv(x), conv=nn.Conv2d(3, 8, 1)), noise(2, 3, 9, 12))
    assert ops(gm) == ["aten.permute", "aten.linear", "aten.permute"]


def test_two_convolutions_of_sound_meet_channels_last() -> None:
    layers = {"a": nn.Conv1d(5, 8, 3, padding=1), "b": nn.Conv1d(8, 6, 3, stride=2, padding=1)}
    gm = raised(Block(lambda self, x: F.gelu(self.b(F.gelu(self.a(x)))).transpose(1, 2), **layers), noise(2, 5, 10))
    assert ops(gm).count("aten.permute") == 1
    assert [op for op in ops(gm) if op != "aten.reshape"][1:] == ["edgeq.im2col", "aten.linear", "aten.gelu"] * 2


def test_transposed_convolution_gives_every_pixel_its_block() -> None:
    layer = nn.ConvTranspose2d(6, 4, (2, 3), stride=(2, 3))
    gm = raised(Block(lambda self, x: self.conv(x), conv=layer), noise(2, 6, 3, 5))
    assert "aten.linear" in ops(gm) and "aten.conv_transpose2d" not in ops(gm)


def test_norms_around_convolutions_vanish_in_their_weights() -> None:
    layers = {"a": nn.Conv2d(3, 8, 3, bias=False), "n": perturbed(nn.BatchNorm2d(8)), "b": nn.Conv2d(8, 6, 1)}
    gm = raised(Block(lambda self, x: F.relu(self.b(F.relu(self.n(self.a(x))))), **layers), noise(2, 3, 9, 7))
    assert ops(gm) == [
        "aten.permute", "edgeq.im2col", "aten.linear", "aten.relu", "aten.linear", "aten.relu", "aten.permute",
    ]  # fmt: skip
    assert all(arguments(node)["bias"] is not None for node in calls(gm, "aten.linear"))


def test_grouped_convolutions_stay_with_their_norm_inside() -> None:
    layers = {"a": nn.Conv2d(8, 8, 3, groups=4, padding=1), "n": perturbed(nn.BatchNorm2d(8))}
    gm = raised(Block(lambda self, x: self.n(self.a(x)), **layers), noise(2, 8, 5, 7))
    assert ops(gm) == ["aten.conv2d"]


WINDOWS = [(3, 2, 1, 1), (2, 2, 0, 1), (3, 1, 1, 2), (2, 1, 1, 1)]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), WINDOWS)
def test_maximum_pooling_keeps_channels_last(kernel: int, stride: int, padding: int, dilation: int) -> None:
    def pool(self: Any, x: Tensor) -> Tensor:
        return F.max_pool2d(x.permute(0, 3, 1, 2), kernel, stride, padding, dilation).permute(0, 2, 3, 1)

    gm = raised(Block(pool), noise(2, 9, 11, 4))
    assert set(ops(gm)) <= {"aten.constant_pad_nd", "aten.slice", "aten.maximum"}


EINSUMS = {
    "bhwc,hkc->bhwk": [(2, 3, 4, 5), (3, 6, 5)],
    "bhwc,wkc->bhwk": [(2, 3, 4, 5), (4, 6, 5)],
    "bhlk,bhtk->bhlt": [(2, 3, 4, 5), (2, 3, 6, 5)],
    "bij,bjk->bki": [(2, 3, 4), (2, 4, 5)],
    "bn,nk->bk": [(2, 3), (3, 4)],
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum_is_a_product_of_matrices(equation: str) -> None:
    gm = raised(Block(lambda self, a, b: torch.einsum(equation, a, b)), *(noise(*s) for s in EINSUMS[equation]))
    assert set(ops(gm)) <= {"aten.matmul", "aten.reshape", "aten.permute"}


def test_a_stack_of_weights_multiplies_rows_as_they_lie() -> None:
    def rows(self: Any, x: Tensor) -> Tensor:
        heads = x.reshape(2, 3, 4, 2, 8).permute(0, 3, 1, 2, 4).reshape(4, 3, 4, 8)
        return torch.einsum("bhwc,hkc->bhwk", heads, self.w)

    gm = raised(Block(rows, w=weight(3, 5, 8)), noise(2, 12, 16))
    assert ops(gm) == ["aten.reshape", "aten.matmul", "aten.reshape", "aten.permute", "aten.reshape"]


def test_few_rows_times_shuffled_pixels_permutes_only_the_result() -> None:
    def masks(self: Any, tokens: Tensor, pixels: Tensor) -> Tensor:
        image = F.pixel_shuffle(pixels.reshape(2, 3, 4, 2, 2, 8).permute(0, 5, 3, 4, 1, 2).reshape(2, 32, 3, 4), 2)
        return tokens @ image.flatten(2)

    gm = raised(Block(lambda self, a, b: masks(self, a, b)), noise(2, 3, 8), noise(2, 12, 32))
    assert "aten.matmul" in ops(gm)


def test_heads_merged_with_the_batch_are_attention_over_linears() -> None:
    def attend(self: Any, x: Tensor) -> Tensor:
        q, k, v = (y.reshape(2, 7, 3, 4).transpose(1, 2).reshape(6, 7, 4) for y in (self.q(x), self.k(x), self.v(x)))
        y = torch.bmm(torch.softmax(torch.bmm(q * 0.5, k.transpose(1, 2)), -1), v)
        return y.reshape(2, 3, 7, 4).transpose(1, 2).reshape(2, 7, 12)

    gm = raised(Block(attend, **{name: nn.Linear(12, 12) for name in "qkv"}), noise(2, 7, 12))
    assert ops(gm) == ["aten.linear"] * 3 + ["edgeq.attention"]
    given = arguments(calls(gm, "edgeq.attention")[0])
    assert (given["heads"], given["scale"]) == (3, 0.5)


def test_packed_features_are_split_where_they_part() -> None:
    def attend(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(2, 7, 3, 2, 6).permute(2, 0, 3, 1, 4).unbind(0)
        q = q * 0.8 + torch.cat([-q[..., 3:], q[..., :3]], -1) * 0.6
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 7, 12)

    gm = raised(Block(attend, qkv=nn.Linear(12, 36)), noise(2, 7, 12))
    assert len(calls(gm, "aten.linear")) == 3
    assert "aten.permute" not in ops(gm)


def test_a_mask_that_is_an_input_is_added_to_the_scores() -> None:
    def attend(self: Any, x: Tensor, seen: Tensor) -> Tensor:
        q = x.reshape(2, 7, 3, 4).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, attn_mask=seen[:, None] > 0).transpose(1, 2).reshape(2, 7, 12)

    seen = (torch.arange(7)[:, None] >= torch.arange(7)).float().expand(2, 7, 7).clone()
    given = arguments(calls(raised(Block(attend), noise(2, 7, 12), seen), "edgeq.attention")[0])
    assert given["bias"] is not None and given["pad"] is None


def test_a_causal_call_is_causal_attention() -> None:
    def attend(self: Any, x: Tensor) -> Tensor:
        q = x.reshape(2, 7, 3, 4).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, is_causal=True).transpose(1, 2).reshape(2, 7, 12)

    assert arguments(calls(raised(Block(attend), noise(2, 7, 12)), "edgeq.attention")[0])["causal"] is True


def _written(self: Any, x: Tensor) -> Tensor:
    x = x.clone()
    x[..., 0] = x[..., 0] / 4
    x[:, 1:3] = x[:, 1:3] + 1
    return x


LEFTOVERS: dict[str, Function] = {
    "writes": _written,
    "roll": lambda self, x: torch.roll(x, (1, -2), (0, 2)),
    "repeat": lambda self, x: x.repeat(2, 1, 3, 1),
    "tile": lambda self, x: x.tile(2),
    "repeat_interleave": lambda self, x: x.repeat_interleave(3, dim=1),
    "index": lambda self, x: x[:, torch.tensor([[1, -1], [0, 2]])],
    "index pair": lambda self, x: x[torch.arange(2), x.argmax(1)[:, 0]],
    "chunks": lambda self, x: torch.cat(x.chunk(2, -1)[::-1], -1) + x.split(1, 1)[1],
    "norm": lambda self, x: x / x.norm(p=2, dim=-1, keepdim=True),
    "extrema": lambda self, x: x.max(1).values + x.min(1).values + torch.maximum(x[:, 0], x[:, 1]),
    "logic": lambda self, x: (((x > 0) & (x < 1)) | ~(x > -1)).float(),
    "pad": lambda self, x: F.pad(F.pad(x, (0, 0)), (1, 2, 0, 1)),
    "products": lambda self, x: torch.baddbmm(x, x[..., :3], x, alpha=0.5) + torch.addmm(x[0], x[0, :, :3], x[1]),
}


@pytest.mark.parametrize("name", LEFTOVERS)
def test_every_leftover_has_a_spelling(name: str) -> None:
    gm = raised(Block(LEFTOVERS[name]), noise(2, 3, 4))
    gone = {"roll", "repeat", "tile", "index", "split", "select_scatter", "slice_scatter", "linalg_vector_norm", "copy"}
    assert not {f"aten.{name}" for name in gone} & set(ops(gm))


def test_constants_are_computed_once_and_kept_narrow() -> None:
    def wave(self: Any, x: Tensor) -> Tensor:
        angle = torch.arange(4.0)[None, :, None] / torch.pow(10.0, torch.arange(6.0))
        return x + angle.sin().expand(3, 4, 6)

    gm = raised(Block(wave), noise(3, 4, 6))
    assert ops(gm) == ["aten.add"]
    assert {name: tuple(b.shape) for name, b in gm.named_buffers()} == {"const_0": (1, 4, 6)}


def test_positions_are_rows_of_their_table() -> None:
    gm = raised(Block(lambda self, x: x + self.table(torch.arange(4) + 2), table=nn.Embedding(9, 6)), noise(3, 4, 6))
    assert ops(gm) == ["aten.add"] and not calls(gm, "aten.embedding")


def test_products_over_coordinates_stay_float() -> None:
    gm = raised(Block(lambda self, x: torch.sin(x @ self.w), w=weight(2, 16)), noise(3, 5, 2))
    assert ops(gm) == ["aten.matmul", "aten.sin"]
