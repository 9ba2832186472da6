"""Tiny seeded models with static entries, one per architecture, and what runs their exported graphs."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from frontend_zoo import SIZES
from torch import Tensor, fx, nn

from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.export import attribute, set_tensor
from edgeq.frontend.skeleton import stored_tensors

IMAGE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TEXT = {**SIZES, "projection_dim": 24}
SIGLIP_TEXT = {**SIZES, "projection_size": 64}
DISTIL = {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4}
MODERN = {"local_attention": 4, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 100}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2]}
SAM = {
    "vision_config": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_pos_feats": 8, "num_attention_heads": 4, "image_size": 64,
        "patch_size": 8, "window_size": 3, "global_attn_indexes": [1], "output_channels": 16, "mlp_ratio": 2.0,
    },
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "iou_head_hidden_dim": 16,
    },
}  # fmt: skip
DETR = {
    "use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None, "d_model": 32, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "num_queries": 5, "num_labels": 7,
}  # fmt: skip

# name -> (class, config class, options)
ZOO: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "BertConfig", SIZES),
    "bert_classifier": ("BertForSequenceClassification", "BertConfig", {**SIZES, "num_labels": 3}),
    "bert_masked": ("BertForMaskedLM", "BertConfig", SIZES),
    "roberta": ("RobertaModel", "RobertaConfig", {**SIZES, "pad_token_id": 1, "type_vocab_size": 1}),
    "distilbert": ("DistilBertForSequenceClassification", "DistilBertConfig", {**SIZES, **DISTIL}),
    "mpnet": ("MPNetModel", "MPNetConfig", {**SIZES, "pad_token_id": 1}),  # attention written out by hand
    "t5_encoder": ("T5EncoderModel", "T5Config", T5),  # its config is that of an encoder-decoder
    "modernbert": ("ModernBertModel", "ModernBertConfig", {**SIZES, **MODERN}),
    "vit": ("ViTForImageClassification", "ViTConfig", {**IMAGE, "num_labels": 5}),
    "deit": ("DeiTForImageClassification", "DeiTConfig", IMAGE),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**IMAGE, "mlp_ratio": 2}),
    "swin": ("SwinForImageClassification", "SwinConfig", SWIN),  # shifted windows: a mask that the model makes itself
    "resnet": ("ResNetForImageClassification", "ResNetConfig", {**RESNET, "layer_type": "bottleneck"}),
    "clip": ("CLIPModel", "CLIPConfig", {"text_config": TEXT, "vision_config": IMAGE, "projection_dim": 24}),
    "siglip": ("SiglipModel", "SiglipConfig", {"text_config": SIGLIP_TEXT, "vision_config": IMAGE}),
    "clip_text": ("CLIPTextModelWithProjection", "CLIPTextConfig", TEXT),
    "sam": ("SamModel", "SamConfig", SAM),
    "detr": ("DetrForObjectDetection", "DetrConfig", DETR),
}


def config(name: str) -> Any:
    """The transformers config of a zoo entry, naming its class as a saved one does."""
    cls, kind, options = ZOO[name]
    if kind == "DetrConfig":
        backbone = transformers.ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", out_features=["stage2"]
        )
        options = {**options, "backbone_config": backbone}
    return getattr(transformers, kind)(**options, architectures=[cls])


def model(name: str) -> nn.Module:
    """The eager model, everything in it perturbed (norm weights of 1, biases and means of 0 would hide errors)."""
    torch.manual_seed(0)
    made = config(name)
    made._attn_implementation = "eager"
    eager: nn.Module = getattr(transformers, ZOO[name][0])(made).eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, tensor in stored_tensors(eager).items():
            if "running_var" in key:
                tensor.add_(torch.rand(tensor.shape, generator=noise) * 0.5)
            else:
                tensor.add_(torch.randn(tensor.shape, generator=noise) * 0.05)
    return eager


def example(entry: EntryGraph) -> dict[str, Tensor]:
    """Seeded inputs of an entry by name; every text but the first has padding at its end."""
    noise = torch.Generator().manual_seed(2)
    return {port.name: _input(port.name, port.shape, noise) for port in entry.inputs}


def _input(name: str, shape: tuple[int, ...], noise: torch.Generator) -> Tensor:
    if name == "attention_mask":
        kept = torch.tensor([[max(shape[1] - 2 * row - 1, 1)] for row in range(shape[0])])
        return (torch.arange(shape[1])[None] < kept).long()
    if name == "token_type_ids":
        return (torch.arange(shape[1])[None] > 2).long().expand(shape)
    if name == "input_ids":
        return torch.randint(3, 97, shape, generator=noise)
    if name == "input_labels":
        return torch.arange(shape[-1]).expand(shape) % 2
    if name == "input_points":
        return torch.rand(shape, generator=noise) * 60
    return torch.randn(shape, generator=noise)


def run(entry: EntryGraph, eager: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entry's outputs by name, its weights taken from the eager model."""
    fill(entry.gm, eager)
    with torch.no_grad():
        found = entry.gm(*(given[port.name] for port in entry.inputs))
    return dict(zip((port.name for port in entry.outputs), found, strict=True))


def fill(gm: fx.GraphModule, eager: nn.Module) -> None:
    """Replace the graph's meta weights by the eager model's."""
    stored = stored_tensors(eager)
    for node in gm.graph.nodes:
        if node.op == "get_attr" and attribute(gm, node.target).device.type == "meta":
            set_tensor(gm, node.target, stored[node.target].detach())
    gm.recompile()
