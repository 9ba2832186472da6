"""Architectures that nothing was written for: raised by the same rules, equal to the eager model."""

from __future__ import annotations

from typing import Any

import entry_zoo as zoo
import pytest
import torch

from edgeq.frontend.entries import Shapes, export_entries
from edgeq.frontend.graph import raise_graph
from edgeq.ir.graph import calls
from edgeq.ir.verify import verify

SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
CONVNEXT = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "image_size": 32}
SEGFORMER = {
    "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [4, 2], "hidden_sizes": [16, 32], "patch_sizes": [7, 3],
    "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
}  # fmt: skip
LEVIT = {
    "image_size": 64, "hidden_sizes": [16, 32, 48], "num_attention_heads": [1, 2, 3], "depths": [1, 1, 1],
    "key_dim": [8, 8, 8],
}  # fmt: skip
DEBERTA = {
    "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "share_att_key": True,
    "norm_rel_ebd": "layer_norm", "max_relative_positions": -1, "position_biased_input": False,
}  # fmt: skip

# name -> (class, config class, options), attentions found
OTHERS: dict[str, tuple[tuple[str, str, dict[str, Any]], int]] = {
    "convnext": (("ConvNextForImageClassification", "ConvNextConfig", CONVNEXT), 0),
    "swin": (("SwinForImageClassification", "SwinConfig", SWIN), 4),
    "segformer": (("SegformerForSemanticSegmentation", "SegformerConfig", SEGFORMER), 2),
    "levit": (("LevitForImageClassification", "LevitConfig", LEVIT), 5),
    "beit": (("BeitForImageClassification", "BeitConfig", {**zoo.IMAGE, "use_relative_position_bias": True}), 2),
    "dinov3": (("DINOv3ViTModel", "DINOv3ViTConfig", zoo.IMAGE), 2),
    "mpnet": (("MPNetModel", "MPNetConfig", zoo.SIZES), 2),
    "nomic": (("NomicBertModel", "NomicBertConfig", zoo.SIZES), 2),
    "deberta": (("DebertaV2Model", "DebertaV2Config", {**zoo.SIZES, **DEBERTA}), 0),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_raise_by_the_same_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    made, attentions = OTHERS[name]
    monkeypatch.setitem(zoo.ZOO, name, made)
    eager = zoo.model(name)
    for entry in export_entries(zoo.config(name), {}, Shapes(batch=(2,), lengths=(9,), image_size=_image_size(name))):
        raise_graph(entry.gm)
        verify(entry.gm, types=True)
        assert len(calls(entry.gm, "edgeq.attention")) == attentions
        given = zoo.example(entry)
        with torch.no_grad():
            expected = dict(eager(**given).items())
        for key, found in zoo.run(entry, eager, given).items():
            want = expected[key]
            torch.testing.assert_close(found, want, rtol=0, atol=1e-5 * float(want.abs().max()))


def _image_size(name: str) -> tuple[int, int] | None:
    return (64, 64) if name == "segformer" else None
