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
from edgeq.frontend.classes import model_class


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


def build_skeleton(config: Any, implementation: str = "eager") -> nn.Module:
    """The model of `config` (left as it is) in float32 evaluation mode, parameters on the meta device, tied ones one.

    implementation: of attention, a name in transformers' attention interface.

    Raises:
        UnsupportedError: a class that transformers does not have, or a checkpoint already quantized.
        ModelError: transformers cannot build the model that config.json describes.
    """
    if getattr(config, "quantization_config", None):
        raise UnsupportedError("config.json says the checkpoint is already quantized; give edgeq the original model")
    cls = model_class(config)
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


def stored_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor that a checkpoint of `model` holds, tied ones under each name.

    Parameters, and buffers such as the running statistics of batch norm; neither computed buffers (position ids,
    inverse frequencies) nor counters.
    """
    found = dict(model.named_parameters(remove_duplicate=False))
    for path, module in model.named_modules(remove_duplicate=False):
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set and buffer.is_floating_point():
                found[f"{path}.{name}".lstrip(".")] = buffer  # type: ignore[assignment]
    return found  # type: ignore[return-value]


def fake_parameters(model: nn.Module) -> FakeTensorMode:
    """Replace what checkpoints hold (in place) by fake CPU tensors of the returned mode, keeping shared ones shared."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    stored = {id(tensor) for tensor in stored_tensors(model).values()}
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # the old one is kept: its id must not be reused
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, old in tensors.items():
                if old is None or id(old) not in stored:
                    continue
                if id(old) not in made:
                    made[id(old)] = (_fake(old, mode), old)
                tensors[name] = made[id(old)][0]  # type: ignore[assignment]
    return mode


def _fake(old: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        new = torch.empty(old.shape, dtype=old.dtype)
        return nn.Parameter(new, requires_grad=False) if isinstance(old, nn.Parameter) else new


def canonical_names(model: nn.Module) -> dict[str, str]:
    """Every stored tensor's name -> the first name of the same (tied) tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in stored_tensors(model).items()}
