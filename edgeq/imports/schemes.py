"""config.json's `quantization_config` -> the weights that a checkpoint holds in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.imports import bitsandbytes, ternary
from edgeq.imports.awq import awq
from edgeq.imports.compressed import floats
from edgeq.imports.compressed_groups import compressed_tensors
from edgeq.imports.found import Found
from edgeq.imports.gptq import gptq
from edgeq.imports.held import Held
from edgeq.imports.packed import Packed, Parts
from edgeq.imports.planes import planes

Scheme = Callable[[dict[str, Any], Found], Iterator[Packed]]


def packed_weights(config: dict[str, Any], found: Found) -> list[Packed]:
    """The quantized weights of a checkpoint.

    Raises:
        UnsupportedError: a method, or a variant of one, that is not known.
    """
    method = str(config.get("quant_method") or _bitsandbytes(config))
    if method not in SCHEMES:
        raise UnsupportedError(
            f"config.json says the checkpoint is quantized by {method!r}; edgeq reads {', '.join(SCHEMES)}: give the "
            "original model, or one of those"
        )
    return list(SCHEMES[method](config, found))


def _bitsandbytes(config: dict[str, Any]) -> str:
    return "bitsandbytes" if config.get("load_in_4bit") or config.get("load_in_8bit") else ""


def _gptq(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    bits, size = int(config["bits"]), int(config.get("group_size", -1))
    form = str(config.get("checkpoint_format", "gptq"))
    if bits not in (2, 3, 4, 8) or form not in ("gptq", "gptq_v2") or config.get("dynamic"):
        raise UnsupportedError(f"GPTQ with bits {bits}, checkpoint_format {form!r}, dynamic {config.get('dynamic')}: "
                               "2, 3, 4, 8 bits of gptq and gptq_v2 are read, the same for all layers")  # fmt: skip
    how = partial(gptq, bits=bits, size=size, second=form == "gptq_v2")
    for module in found.modules("qweight"):
        words, outputs = found.shape(f"{module}.qweight")
        named = found.parts(module, "qweight", "qzeros", "scales", "g_idx")
        yield found.packed(module, (outputs, words * 32 // bits), f"GPTQ int{bits}{_groups(size)}", named, how)


def _awq(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    bits, size = int(config.get("bits", 4)), int(config.get("group_size", 128))
    version = str(config.get("version", "gemm")).lower()
    if bits != 4 or version != "gemm":
        raise UnsupportedError(f"AWQ with bits {bits}, version {version!r}: 4 bits in the layout `gemm` are read")
    for module in found.modules("qweight"):
        columns, words = found.shape(f"{module}.qweight")
        named = found.parts(module, "qweight", "qzeros", "scales")
        yield found.packed(module, (words * 8, columns), f"AWQ int4{_groups(size)}", named, partial(awq, size=size))


def _fp8(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    """transformers' and DeepSeek's `fp8`: the scale is called an inverse, and multiplies."""
    rows, size = (int(n) for n in config.get("weight_block_size") or (1, -1))
    for module in found.modules("weight_scale_inv"):
        named = found.parts(module, "weight", weight_scale="weight_scale_inv")
        how = partial(floats, size=size, rows_of_block=rows)
        blocks = f", blocks of {rows}x{size}" if size > 0 else ""
        yield found.packed(module, found.shape(f"{module}.weight"), f"fp8{blocks}", named, how)


def _bitnet(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    if config.get("use_rms_norm"):
        raise UnsupportedError("BitNet with use_rms_norm: linears with norms of their own are not read")
    auto = config.get("linear_class") == "autobitlinear"
    if auto and config.get("quantization_mode") == "online":
        return _masters(config, found, "BitNet float, ternary as it runs", _bitnet_master)
    return _bitnet_packed(found, inverse=not auto)


def _bitnet_master(parts: Parts) -> Held:
    return ternary.bitnet_master(parts["weight"].float())


def _bitnet_packed(found: Found, inverse: bool) -> Iterator[Packed]:
    how = partial(ternary.bitnet_packed, inverse=inverse)
    for module in found.modules("weight_scale"):
        rows, columns = found.shape(f"{module}.weight")
        named = found.parts(module, "weight", "weight_scale")
        yield found.packed(module, (rows * ternary.PACKED_ROWS, columns), "BitNet ternary", named, how)


def _tequila(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    size = int(config.get("group_size", 128))
    return _masters(config, found, f"Tequila ternary{_groups(size)}",
                    lambda parts: ternary.tequila(parts["weight"].float(), size))  # fmt: skip


def _masters(config: dict[str, Any], found: Found, what: str, read: Callable[[Parts], Any]) -> Iterator[Packed]:
    """Float weights of linears that the method rounds as it runs, all but those that it leaves alone."""
    left = config.get("modules_to_not_convert") or ["lm_head"]
    for module in found.linears():
        if not any(part in module for part in left):
            shape = found.shape(f"{module}.weight")
            yield found.packed(module, shape, what, found.parts(module, "weight"), read)


def _dbllm(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    size = int(config.get("group_size", 64))
    for module in found.modules("alpha1"):
        named = found.parts(module, "weight", "alpha1", "alpha2")
        shape = found.shape(f"{module}.weight")
        yield found.packed(module, shape, f"DB-LLM planes{_groups(size)}", named, partial(planes, size=size))


def _bnb(config: dict[str, Any], found: Found) -> Iterator[Packed]:
    if config.get("load_in_4bit") and config.get("bnb_4bit_quant_type", "fp4") != "nf4":
        raise UnsupportedError("bitsandbytes' fp4: only nf4 and 8 bits are read")
    for module in found.modules(bitsandbytes.STATE):
        shape = found.model_shape(module)
        names = ("weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map")
        named = found.parts(module, *names, bitsandbytes.STATE)
        yield found.packed(module, shape, "bitsandbytes nf4", named, partial(bitsandbytes.nf4, shape=shape))
    for module in found.modules("SCB"):
        named = found.parts(module, "weight", "SCB")
        yield found.packed(module, found.shape(f"{module}.weight"), "bitsandbytes int8", named, bitsandbytes.int8)


def _groups(size: int) -> str:
    return f", groups of {size}" if size > 0 else ", per-channel"


SCHEMES: dict[str, Scheme] = {
    "gptq": _gptq, "awq": _awq, "compressed-tensors": compressed_tensors, "fp8": _fp8, "bitnet": _bitnet,
    "tequila": _tequila, "db-llm": _dbllm, "bitsandbytes": _bnb,
}  # fmt: skip
