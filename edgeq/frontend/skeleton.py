"""A model without its weights: parameters are fake (no memory), computed buffers such as inv_freq are real."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from edgeq.errors import ModelError, UnsupportedError


class _EmptyOnMeta(torch.overrides.TorchFunctionMode):
    """`torch.empty` makes meta tensors: layers allocate nothing, and initialisers of meta tensors do nothing."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


@contextlib.contextmanager
def _meta_parameters() -> Iterator[None]:
    """Every nn.Parameter made inside lives on the meta device; buffers are computed for real."""
    original = nn.Parameter.__new__

    def on_meta(cls: type, data: torch.Tensor | None = None, requires_grad: bool = True) -> nn.Parameter:
        return original(cls, data if data is None else data.to("meta"), requires_grad)

    nn.Parameter.__new__ = staticmethod(on_meta)  # type: ignore[assignment,method-assign]
    try:
        with _EmptyOnMeta():
            yield
    finally:
        nn.Parameter.__new__ = original  # type: ignore[method-assign]


def causal_lm_class(config: Any) -> type[nn.Module]:
    """The decoder-only class of a config.

    Raises:
        UnsupportedError: the model type has no causal language model in transformers.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedError(f"{config.model_type} is an encoder-decoder; edgeq compiles decoder-only models")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedError(f"model type {config.model_type!r} has no causal language model in transformers")
    found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple) else found


def build_skeleton(config: Any, implementation: str = "eager") -> nn.Module:
    """The model of `config` (left as it is) in float32 evaluation mode, parameters on the meta device, tied ones one.

    implementation: of attention, a name in transformers' attention interface.

    Raises:
        UnsupportedError: no decoder-only language model, or one already quantized.
        ModelError: transformers cannot build the model that config.json describes.
    """
    if getattr(config, "quantization_config", None):
        raise UnsupportedError("config.json says the checkpoint is already quantized; give edgeq the original model")
    cls = causal_lm_class(config)
    config = copy.deepcopy(config)
    # Never in the checkpoint's bfloat16: casts around rope and norms would hide their structure.
    config.dtype = torch.float32
    config._attn_implementation = implementation
    try:
        with _meta_parameters():
            model = cls._from_config(config)  # type: ignore[attr-defined]
    except Exception as error:
        raise ModelError(f"transformers cannot build {cls.__name__} from config.json: {error}") from error
    return model.eval().requires_grad_(False)


def fake_parameters(model: nn.Module) -> FakeTensorMode:
    """Replace meta parameters (in place) by fake CPU tensors of the returned mode, keeping shared ones shared."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    made: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # the old one is kept: its id must not be reused
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is None:
                continue
            if id(old) not in made:
                with mode:
                    made[id(old)] = (nn.Parameter(torch.empty(old.shape, dtype=old.dtype), requires_grad=False), old)
            module._parameters[name] = made[id(old)][0]
    return mode


def canonical_names(model: nn.Module) -> dict[str, str]:
    """Every parameter name -> the first name of the same (tied) parameter."""
    first: dict[int, str] = {}
    names = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[name] = first.setdefault(id(parameter), name)
    return names
