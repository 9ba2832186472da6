"""What a model can be asked: its entries, chosen by what it offers (signature, submodules), never by its model type.

An interface is one entry before it is traced: a function of named example inputs over the whole model.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeq.errors import UnsupportedError, UsageError
from edgeq.frontend.image_size import channels, image_size

Spec = tuple[tuple[int, ...], torch.dtype]
Outputs = dict[str, Tensor]
ANSWER = re.compile(r"pred|.*logits$")  # logits, start_logits, pred_boxes, predicted_depth


@dataclass(frozen=True)
class Shapes:
    """What static entries are compiled for: batch sizes, text lengths (tokens), image height and width in pixels (None:
    what the model's files say), points a prompt.
    """

    batch: tuple[int, ...] = (1,)
    lengths: tuple[int, ...] = (128,)
    image_size: tuple[int, int] | None = None
    points: int = 1


@dataclass(frozen=True)
class Interface:
    """base: the entry's name without length and batch. inputs: shape and dtype by name. run: traced; the model and the
    inputs by name -> the outputs by name. length: tokens, 0 where there are none.
    """

    base: str
    inputs: dict[str, Spec]
    run: Callable[[Any, dict[str, Tensor]], Outputs]
    batch: int = 1
    length: int = 0

    @property
    def name(self) -> str:
        """`text_128`, `image`, `imagex8`."""
        stem = f"{self.base}_{self.length}" if self.length else self.base
        return stem if self.batch == 1 else f"{stem}x{self.batch}"


def interfaces(model: nn.Module, config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    """Every static entry of a model.

    Raises:
        UnsupportedError: a model that offers nothing edgeq knows to ask.
        UsageError: a length beyond the model's positions.
    """
    takes = set(inspect.signature(model.forward).parameters)
    offers = {name for name, _ in model.named_children()}
    if {"vision_encoder", "prompt_encoder", "mask_decoder"} <= offers:
        from edgeq.frontend.interfaces_segment import segmentation

        return segmentation(model, config, files, shapes)
    if {"input_ids", "pixel_values"} <= takes and hasattr(model, "get_text_features"):
        from edgeq.frontend.interfaces_towers import two_towers

        return two_towers(model, config, files, shapes)
    if "pixel_values" in takes and "input_ids" not in takes:
        return vision(model, config, files, shapes)
    if "input_ids" in takes and "pixel_values" not in takes:
        return text(model, config, files, shapes)
    raise UnsupportedError(
        f"{type(model).__name__} takes {', '.join(sorted(takes))}: edgeq compiles text encoders, vision models, pairs "
        "of a text and an image tower, promptable segmentation, encoder-decoders and decoder-only language models"
    )


def text(model: nn.Module, config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    """Text encoders and classifiers: ids and their mask -> every output of the model, or sentence embeddings."""
    from edgeq.frontend.pooling import pooled

    run = pooled(files, call_model)
    check_lengths(model, config, shapes.lengths)
    return [
        Interface("text", text_inputs(model, config, batch, length), run, batch, length)
        for length in shapes.lengths
        for batch in shapes.batch
    ]


def vision(model: nn.Module, config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    """Classification, features, detection: pixels -> every output of the model."""
    size = image_size(config, files, shapes.image_size)
    inputs, options = pixel_inputs(config, size), pixel_options(model, config, size)
    run = lambda m, given: call_model(m, given, **options)  # noqa: E731
    return [Interface("image", inputs(batch), run, batch) for batch in shapes.batch]


def text_inputs(model: nn.Module, config: Any, batch: int, length: int) -> dict[str, Spec]:
    """The inputs that `model.forward` takes of ids, mask and token types; types only where there is more than one."""
    takes = inspect.signature(model.forward).parameters
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in takes]
    if getattr(config, "type_vocab_size", 2) < 2 and "token_type_ids" in names:
        names.remove("token_type_ids")
    return {name: ((batch, length), torch.long) for name in names}


def pixel_inputs(config: Any, size: tuple[int, int]) -> Callable[[int], dict[str, Spec]]:
    """Batch -> the shape of `pixel_values [B, channels, height, width]`."""
    return lambda batch: {"pixel_values": ((batch, channels(config), *size), torch.float32)}


def pixel_options(model: nn.Module, config: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Position embeddings are resized where the image is not of the size the model was trained at."""
    takes = inspect.signature(model.forward).parameters
    trained = image_size(config, {}, None)
    return {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes and size != trained else {}


def check_lengths(model: nn.Module, config: Any, lengths: tuple[int, ...]) -> None:
    """Refuse a length for which the model has no positions."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None:
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings") and module.padding_idx is not None:
            limit -= module.padding_idx + 1  # positions are counted from behind the padding row
            break
    long = [length for length in lengths if length > limit]
    if long:
        raise UsageError(f"length {long[0]} is beyond the {limit} positions of this {config.model_type}")


def call_model(model: Any, given: dict[str, Tensor], **options: Any) -> Outputs:
    """The model's outputs by name: tensors alone; those that carry a task's answer, where there are such."""
    takes = inspect.signature(model.forward).parameters
    if "use_cache" in takes:
        options["use_cache"] = False
    found = model(**given, **options)
    named = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    answers = {name: value for name, value in named.items() if ANSWER.match(name)}
    return answers or named
