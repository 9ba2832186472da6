"""Further encoders and vision models, for the table of models alone: what else the one road reaches."""

from __future__ import annotations

from typing import Any

from zoo_recipe import Recipe, config
from zoo_text import SIZES, text
from zoo_vision import vision

VISION: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 8,
    "image_size": 40,
}  # fmt: skip
SQUARE = (40, 40)
HIDDEN = "last_hidden_state"


def encoder(cls: str, made: str, **options: Any) -> Recipe:
    return text(cls, config(made, **{**SIZES, **options}), HIDDEN)


def image(cls: str, made: str, kind: str, size: tuple[int, int] = SQUARE, main: str = HIDDEN, **options: Any) -> Recipe:
    return vision(cls, config(made, **options), (main,), kind, size)


RECIPES: dict[str, Recipe] = {
    "albert": encoder("AlbertModel", "AlbertConfig", embedding_size=32),
    "electra": encoder("ElectraModel", "ElectraConfig", embedding_size=32),
    "xlm_roberta": encoder("XLMRobertaModel", "XLMRobertaConfig", pad_token_id=1),
    "camembert": encoder("CamembertModel", "CamembertConfig", pad_token_id=1),
    "mpnet": encoder("MPNetModel", "MPNetConfig", pad_token_id=1),
    "deberta_v2": encoder("DebertaV2Model", "DebertaV2Config", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "nomic_bert": encoder("NomicBertModel", "NomicBertConfig"),
    "beit": image("BeitModel", "BeitConfig", "BeitImageProcessor", **VISION),
    "dinov2_registers": image(
        "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", "BitImageProcessor", **{**VISION, "mlp_ratio": 2}
    ),
    "convnext": image(
        "ConvNextModel", "ConvNextConfig", "ConvNextImageProcessor", (64, 64), hidden_sizes=[16, 32], depths=[1, 2],
        num_stages=2,
    ),
    "swin": image(
        "SwinModel", "SwinConfig", "ViTImageProcessor", (64, 64), image_size=64, patch_size=4, embed_dim=16,
        depths=[2, 2], num_heads=[2, 4], window_size=4,
    ),
    "mobilenet_v2": image(
        "MobileNetV2Model", "MobileNetV2Config", "MobileNetV2ImageProcessor", (64, 64), depth_multiplier=0.25
    ),
    "segformer": image(
        "SegformerForSemanticSegmentation", "SegformerConfig", "SegformerImageProcessor", (64, 64), "logits",
        num_encoder_blocks=2, depths=[1, 1], hidden_sizes=[16, 32], num_attention_heads=[1, 2], sr_ratios=[2, 1],
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16,
    ),
    "yolos": image(
        "YolosForObjectDetection", "YolosConfig", "YolosImageProcessor", (40, 56), "logits",
        **{**VISION, "image_size": (40, 56), "num_detection_tokens": 5, "num_labels": 7},
    ),
    "eurobert": encoder("EuroBertModel", "EuroBertConfig"),
    "squeezebert": encoder("SqueezeBertModel", "SqueezeBertConfig", embedding_size=48),
    "dinov3": image("DINOv3ViTModel", "DINOv3ViTConfig", "ViTImageProcessor", **VISION),
    "convnextv2": image(
        "ConvNextV2ForImageClassification", "ConvNextV2Config", "ConvNextImageProcessor", (64, 64), "logits",
        hidden_sizes=[16, 32], depths=[1, 2], num_stages=2,
    ),
    "mobilevit": image(
        "MobileViTForImageClassification", "MobileViTConfig", "MobileViTImageProcessor", (64, 64), "logits",
        image_size=64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 16, 16, 32], num_attention_heads=2,
    ),
    "regnet": image(
        "RegNetForImageClassification", "RegNetConfig", "ConvNextImageProcessor", (64, 64), "logits", embedding_size=8,
        hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], groups_width=4,
    ),
    "dpt": image(
        "DPTForDepthEstimation", "DPTConfig", "DPTImageProcessor", SQUARE, "predicted_depth",
        **{**VISION, "num_hidden_layers": 4}, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
    ),
}  # fmt: skip
