"""Tiny checkpoints in other people's formats, packed here by the formats' documents: the independent reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tiny import CONFIG, write_byte_tokenizer
from torch import Tensor

Parts = dict[str, Tensor]
Quantizer = Callable[[str, Tensor], tuple[Parts, Tensor]]  # module, weight -> (stored parts, the values they stand for)


def write(folder: Path, quantization: dict[str, Any], quantizer: Quantizer, **changes: Any) -> dict[str, Tensor]:
    """A tiny Llama whose linears (but the head) are quantized; returns what every tensor of it stands for."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**CONFIG, **changes}, initializer_range=0.2))
    linears = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)} - {"lm_head"}
    stored, values = {}, {}
    for name, tensor in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        values[name] = tensor.clone()
        if module in linears and kind == "weight":
            parts, values[name] = quantizer(module, tensor)
            stored.update({f"{module}.{part}": held.contiguous() for part, held in parts.items()})
        elif name != "lm_head.weight":
            stored[name] = tensor.clone()
    folder.mkdir(exist_ok=True)
    save_file(stored, folder / "model.safetensors")
    config = model.config.to_dict() | {"quantization_config": quantization, "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    write_byte_tokenizer(folder)
    return values


def words(fields: np.ndarray, bits: int) -> np.ndarray:
    """Fields along the last axis as one stream of bits, in int32 words."""
    stream = (fields[..., None] >> np.arange(bits)) & 1
    flat = stream.reshape(*fields.shape[:-1], -1).astype(np.uint8)
    return np.ascontiguousarray(np.packbits(flat, axis=-1, bitorder="little")).view(np.int32)


def random_codes(w: Tensor, bits: int, size: int, middle: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """codes [N, K], scale f16 [N, KG], zero [N, KG] of the right sizes, any numbers."""
    rng = np.random.default_rng(len(w) + bits)
    rows, columns = w.shape
    groups = -(-columns // size)
    codes = rng.integers(0, 2**bits, (rows, columns))
    scale = rng.uniform(0.01, 0.1, (rows, groups)).astype(np.float16)
    top = min(2**bits, 255)
    zero = np.full((rows, groups), 2 ** (bits - 1)) if middle else rng.integers(1, top + 1, (rows, groups))
    return codes, scale, zero


def spread(numbers: np.ndarray, size: int, columns: int) -> np.ndarray:
    """A number a group -> one a weight."""
    return np.repeat(numbers.astype(np.float32), size, axis=1)[:, :columns]


def gptq(bits: int, size: int, middle: bool, second: bool, act_order: bool = False) -> Quantizer:
    """AutoGPTQ's layout."""

    def quantize(module: str, w: Tensor) -> tuple[Parts, Tensor]:
        codes, scale, zero = random_codes(w, bits, size, middle)
        zero = np.minimum(zero, 2**bits - 1) if second else zero
        columns = w.shape[1]
        group = np.arange(columns) // size
        if act_order:
            group = np.random.default_rng(columns).permutation(group)
        values = (codes - zero[:, group]).astype(np.float32) * scale[:, group].astype(np.float32)
        parts = {
            "qweight": words(codes, bits).T,
            "qzeros": words(zero.T - (0 if second else 1), bits),
            "scales": scale.T,
            "g_idx": group.astype(np.int32),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in parts.items()}, torch.from_numpy(values)

    return quantize


def awq(size: int) -> Quantizer:
    """AutoAWQ's `gemm` layout: eight columns a word, in the order 0 2 4 6 1 3 5 7."""
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def packed(fields: np.ndarray) -> Tensor:
        shuffled = fields.reshape(len(fields), -1, 8)[:, :, order].reshape(len(fields), -1)
        return torch.from_numpy(words(shuffled, 4))

    def quantize(module: str, w: Tensor) -> tuple[Parts, Tensor]:
        codes, scale, zero = random_codes(w, 4, size, False)
        zero = np.minimum(zero, 15)
        values = (codes - spread(zero, size, w.shape[1])) * spread(scale, size, w.shape[1])
        parts = {"qweight": packed(codes.T), "qzeros": packed(zero.T), "scales": torch.from_numpy(scale.T.copy())}
        return parts, torch.from_numpy(values.astype(np.float32))

    return quantize


def packed_integers(bits: int, size: int, middle: bool) -> Quantizer:
    """compressed-tensors' `pack-quantized`."""

    def quantize(module: str, w: Tensor) -> tuple[Parts, Tensor]:
        codes, scale, zero = random_codes(w, bits, size, middle)
        zero = np.minimum(zero, 2**bits - 1)
        values = (codes - spread(zero, size, w.shape[1])) * spread(scale, size, w.shape[1])
        parts = {
            "weight_packed": torch.from_numpy(words(codes, bits)),
            "weight_scale": torch.from_numpy(scale),
            "weight_shape": torch.tensor(w.shape),
        }
        if not middle:
            parts["weight_zero_point"] = torch.from_numpy(np.ascontiguousarray(words(zero.T, bits).T))
        return parts, torch.from_numpy(values.astype(np.float32))

    return quantize


def integers(module: str, w: Tensor) -> tuple[Parts, Tensor]:
    """compressed-tensors' `int-quantized`, a scale a row in float32."""
    scale = w.abs().amax(1, keepdim=True) / 127
    codes = torch.round(w / scale).to(torch.int8)
    return {"weight": codes, "weight_scale": scale}, codes.float() * scale


def fp8(module: str, w: Tensor) -> tuple[Parts, Tensor]:
    """compressed-tensors' `float-quantized`, a scale a row."""
    scale = (w.abs().amax(1, keepdim=True) / 448).half().float()
    codes = (w / scale).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}, codes.float() * scale


def mxfp4(module: str, w: Tensor) -> tuple[Parts, Tensor]:
    """compressed-tensors' `mxfp4-pack-quantized`, any codes."""
    rng = np.random.default_rng(len(w))
    codes = torch.from_numpy(rng.integers(0, 16, tuple(w.shape)).astype(np.uint8))
    exponents = torch.from_numpy(rng.integers(120, 128, (len(w), w.shape[1] // 32)).astype(np.uint8))
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    values = levels[codes.long()] * torch.exp2(exponents.float() - 127).repeat_interleave(32, 1)
    return {"weight_packed": codes[:, ::2] | codes[:, 1::2] << 4, "weight_scale": exponents}, values


def bitnet(module: str, w: Tensor) -> tuple[Parts, Tensor]:
    """transformers' packed BitLinear: four blocks of rows in a byte, divided by weight_scale."""
    codes = torch.from_numpy(np.random.default_rng(len(w)).integers(0, 3, tuple(w.shape)).astype(np.uint8))
    blocks = codes.reshape(4, len(w) // 4, -1)
    packed = blocks[0] | blocks[1] << 2 | blocks[2] << 4 | blocks[3] << 6
    return {"weight": packed, "weight_scale": torch.tensor([16.0])}, (codes.float() - 1) / 16


def nf4(levels: tuple[float, ...]) -> Quantizer:
    """bitsandbytes' nf4 without nesting."""

    def quantize(module: str, w: Tensor) -> tuple[Parts, Tensor]:
        blocks = w.reshape(-1, 32)
        absmax = (blocks.abs().amax(1) / 127).half().float() * 127
        table = torch.tensor(levels)
        codes = (blocks / absmax[:, None]).unsqueeze(-1).sub(table).abs().argmin(-1).to(torch.uint8)
        flat = codes.reshape(-1)
        state = json.dumps({"blocksize": 32, "quant_type": "nf4", "shape": list(w.shape)}).encode()
        parts = {
            "weight": (flat[::2] << 4 | flat[1::2])[:, None],
            "weight.absmax": absmax,
            "weight.quant_map": table,
            "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(state), dtype=torch.uint8),
        }
        return parts, (table[codes.long()] * absmax[:, None]).reshape(w.shape)

    return quantize


def planes(module: str, w: Tensor) -> tuple[Parts, Tensor]:
    """DB-LLM: the float weight and two alphas a group of 32; values are the nearest of -s, 0, s, 2s."""
    groups = w.reshape(len(w), -1, 32)
    s = (groups.abs().amax(-1) / 2).half().float()
    levels = torch.stack([-s, torch.zeros_like(s), s, 2 * s], -1).unsqueeze(2)
    nearest = (groups.unsqueeze(-1) - levels).abs().argmin(-1, keepdim=True)
    values = levels.expand(*groups.shape, 4).gather(-1, nearest).reshape(w.shape)
    return {"weight": w.clone(), "alpha1": 2 * s, "alpha2": -s}, values


def reference(values: dict[str, Tensor]) -> Tensor:
    """Logits of the float model with those values, for tokens 3..11."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**CONFIG)
    model = LlamaForCausalLM(config)
    model.load_state_dict(values)
    with torch.no_grad():
        return model.eval()(torch.arange(3, 12)[None]).logits
