"""compressed-tensors' config: which group of settings a module has, and how its weight is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgeq.errors import UnsupportedError
from edgeq.imports.compressed import floats, integers, microscaled, packed_integers
from edgeq.imports.found import Found
from edgeq.imports.held import Held, NotHeldError
from edgeq.imports.packed import Packed

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NAMES = ("weight_packed", "weight", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
         "weight_global_scale")  # fmt: skip


def compressed_tensors(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    """Every weight that has scales; UnsupportedError for sparse or transformed checkpoints and unknown formats."""
    sparse = (config.get("sparsity_config") or {}).get("format", "dense")
    if sparse != "dense" or (config.get("transform_config") or {}).get("config_groups"):
        raise UnsupportedError(f"compressed-tensors with sparsity {sparse!r} or transforms is not read")
    for module in found.modules("weight_scale"):
        group = _group(config, module)
        yield _packed(found, module, str(group.get("format") or config.get("format")), group["weights"])


def _group(config: dict[str, Any], module: str) -> dict[str, Any]:
    """The settings whose targets name the module (a pattern `re:...` or its name); else those of all linears."""
    groups = list((config.get("config_groups") or {}).values())
    named = [g for g in groups if any(_matches(target, module) for target in g.get("targets", []))]
    general = [g for g in groups if "Linear" in g.get("targets", [])]
    chosen = next(iter([*named, *general]), None)
    if chosen is None or not chosen.get("weights"):
        raise UnsupportedError(f"compressed-tensors: no group of settings is for the weight of {module}")
    return chosen


def _matches(target: str, module: str) -> bool:
    return bool(re.match(target[3:], module)) if target.startswith("re:") else target == module


def _packed(found: Found, module: str, form: str, settings: dict[str, Any]) -> Packed:
    bits, size = int(settings.get("num_bits", 8)), int(settings.get("group_size") or -1)
    parts = found.parts(module, *NAMES)
    words = f"compressed-tensors {form}, {bits} bits" + (f", groups of {size}" if size > 0 else "")
    if form == "pack-quantized" and bits in (2, 4, 8):
        return _of(found, module, words, parts, partial(packed_integers, bits=bits, size=size))
    if form in ("int-quantized", "naive-quantized") and settings.get("type", "int") == "int" and bits in (2, 4, 8):
        return _of(found, module, words, parts, partial(integers, bits=bits, size=size))
    if form in ("float-quantized", "naive-quantized") and bits == 8:
        block = settings.get("block_structure") or (1, size)
        return _of(found, module, words, parts, partial(floats, size=int(block[1]), rows_of_block=int(block[0])))
    if form == "mxfp4-pack-quantized":
        return _of(found, module, words, parts, microscaled)
    if form == "nvfp4-pack-quantized":
        return _of(found, module, words, parts, _nvfp4)
    raise UnsupportedError(f"{module}: {words} is not read; pack-quantized, int-quantized, float-quantized, mxfp4 and "
                           "nvfp4 are")  # fmt: skip


def _of(found: Found, module: str, words: str, parts: dict[str, str], read: Any) -> Packed:
    return found.packed(module, found.model_shape(module), words, parts, read)


def _nvfp4(parts: dict[str, Tensor]) -> Held:
    """Blocks of 16 with scales in E4M3, all over a scale of the tensor: no format of ours has them."""
    packed, scale = parts["weight_packed"], parts["weight_scale"].float()
    levels = torch.tensor([*E2M1, *(-level for level in E2M1)])
    codes = torch.stack([packed & 15, packed >> 4], -1).flatten(1)
    step = (scale / parts["weight_global_scale"].float().reshape(())).repeat_interleave(16, 1)
    raise NotHeldError("blocks of 16 with E4M3 scales; ours of E2M1 have 32 and powers of two",
                  levels[codes.long()] * step[:, : codes.shape[1]])  # fmt: skip
