"""Which transformers class a config stands for, and whether it is a decoder-only language model."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from edgeq.errors import UnsupportedError


def model_class(config: Any) -> type[nn.Module]:
    """The class to build: the decoder-only one, else the one that config.json names, else the auto class of its type.

    Raises:
        UnsupportedError: transformers has no class for it; code that comes with a checkpoint is never run.
    """
    if is_decoder_only(config):
        return causal_lm_class(config)
    named = _named(config)
    if named is not None:
        return named
    from transformers.models.auto import modeling_auto as auto

    order = [auto.MODEL_MAPPING]
    if getattr(config, "is_encoder_decoder", False):
        order = [auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING, *order]
    found = next((cls for mapping in order if (cls := _of(mapping, config)) is not None), None)
    if found is None:
        raise UnsupportedError(f"model type {config.model_type!r} has no model class in transformers")
    return found


def is_decoder_only(config: Any) -> bool:
    """True of a causal language model (or the bare decoder of one); encoders that can be made causal are not.

    Those offer masked language modelling too, or are half of an encoder-decoder.
    """
    from transformers.models.auto import modeling_auto as auto

    causal = _of(auto.MODEL_FOR_CAUSAL_LM_MAPPING, config)
    if causal is None or getattr(config, "is_encoder_decoder", False):
        return False
    if type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING:
        return False
    return _named(config) in (None, causal, _of(auto.MODEL_MAPPING, config))


def is_encoder_decoder(config: Any) -> bool:
    """True of a model that reads one sequence and writes another; the encoder of one alone (T5EncoderModel) is none."""
    if is_decoder_only(config):
        return False
    return "decoder_input_ids" in inspect.signature(model_class(config).forward).parameters


def causal_lm_class(config: Any) -> type[nn.Module]:
    """The decoder-only class of a config.

    Raises:
        UnsupportedError: the model type has no causal language model in transformers.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedError(f"{config.model_type} is an encoder-decoder, not a decoder-only model")
    found = _of(MODEL_FOR_CAUSAL_LM_MAPPING, config)
    if found is None:
        raise UnsupportedError(f"model type {config.model_type!r} has no causal language model in transformers")
    return found


def _of(mapping: Any, config: Any) -> type[nn.Module] | None:
    if type(config) not in mapping:
        return None
    found = mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _named(config: Any) -> type[nn.Module] | None:
    """The class that `architectures` names, where transformers has it."""
    import transformers

    names = getattr(config, "architectures", None) or [None]
    found = getattr(transformers, str(names[0]), None)
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None
