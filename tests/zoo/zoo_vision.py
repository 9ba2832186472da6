"""One image in: vision transformers, DETR on a ResNet, a plain ResNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from zoo_recipe import Recipe, Run, config, entry_name, random, run

SIZES: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 8,
    "image_size": (40, 56),
}  # fmt: skip
# DINOv2's positions are interpolated from the size it was trained at to the one its preprocessor makes.
DINO = {**SIZES, "image_size": 32, "mlp_ratio": 2}
RESNET: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [24, 32], "depths": [1, 2]}


def image_runs(height: int, width: int) -> Callable[[nn.Module, int], list[Run]]:
    def runs(eager: nn.Module, batch: int) -> list[Run]:
        inputs = {"pixel_values": random(batch, 3, height, width)}
        return [run(entry_name("image", batch=batch), inputs, eager(**inputs))]

    return runs


def preprocessor(kind: str, height: int, width: int) -> dict[str, Any]:
    """A preprocessor_config.json that stretches photos to one size and keeps all of it."""
    return {
        "preprocessor_config.json": {
            "image_processor_type": kind, "do_resize": True, "size": {"height": height, "width": width}, "resample": 2,
            "do_center_crop": True, "crop_size": {"height": height, "width": width},
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.5, 0.25, 0.2],
        }
    }  # fmt: skip


def vision(cls: str, made: Any, main: tuple[str, ...], kind: str, size: tuple[int, int] = (40, 56)) -> Recipe:
    return Recipe(made, cls, image_runs(*size), main, files=preprocessor(kind, *size))


def detr() -> Any:
    """On a ResNet of two stages; two encoder and two decoder layers, so that their order matters."""
    import transformers

    backbone = transformers.ResNetConfig(**RESNET, layer_type="basic", out_features=["stage2"])
    return transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone, d_model=32,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, num_queries=5, num_labels=7,
    )  # fmt: skip


LABELS = {"num_labels": 5}
HIDDEN, LOGITS = ("last_hidden_state",), ("logits",)
RECIPES = {
    "vit": vision("ViTModel", config("ViTConfig", **SIZES), HIDDEN, "ViTImageProcessor"),
    "vit_classes": vision(
        "ViTForImageClassification", config("ViTConfig", **SIZES, **LABELS), LOGITS, "ViTImageProcessor"
    ),
    "deit_classes": vision(
        "DeiTForImageClassification", config("DeiTConfig", **SIZES, **LABELS), LOGITS, "DeiTImageProcessor"
    ),
    "dinov2": vision("Dinov2Model", config("Dinov2Config", **DINO), HIDDEN, "BitImageProcessor"),
    "resnet_bottleneck": vision(
        "ResNetForImageClassification", config("ResNetConfig", **RESNET, **LABELS), LOGITS, "ConvNextImageProcessor",
        (45, 61),
    ),
    "resnet_basic": vision(
        "ResNetForImageClassification", config("ResNetConfig", **RESNET, layer_type="basic", **LABELS), LOGITS,
        "ConvNextImageProcessor", (64, 64),
    ),
    "detr": vision("DetrForObjectDetection", detr, ("logits", "pred_boxes"), "DetrImageProcessor", (72, 56)),
}  # fmt: skip
