"""Zero-shot labels are those of CLIP's and SigLIP's own forward pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes import FakeSession, write_word_tokenizer
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from edgeq.errors import ArtifactError
from edgeq.tasks.describe import task_of
from edgeq.tasks.models import open_model
from edgeq.tasks.preprocessing import CONFIG

SIDE, LENGTH = 32, 8
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE,
    "patch_size": 8,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 12,
    "max_position_embeddings": LENGTH, "projection_size": 16, "eos_token_id": 2,
}  # fmt: skip
PHOTOS = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8) for seed in range(3)]
TEXTS = ["a b", "c", "d e f"]


def made(kind: str):
    torch.manual_seed(0)
    config = {"clip": CLIPConfig, "siglip": SiglipConfig}[kind](
        text_config=TEXT, vision_config=VISION, **({"projection_dim": 16} if kind == "clip" else {})
    )
    model = {"clip": CLIPModel, "siglip": SiglipModel}[kind](config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.2) if weight.ndim > 1 else None
        if kind == "siglip":
            model.logit_bias.fill_(-1.0)
    return model


def opened(model, kind: str, folder, read=True):
    """The artifact's entries computed by the eager model."""
    inputs = {"input_ids": (1, LENGTH)} | ({"attention_mask": (1, LENGTH)} if kind == "clip" else {})
    entries = [
        {"name": "text_8", "length": LENGTH, "inputs": inputs, "outputs": {"text_embeds": (1, 16)}},
        {"name": "image", "inputs": {"pixel_values": (1, 3, SIDE, SIDE)}, "outputs": {"image_embeds": (1, 16)}},
    ]
    photo = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}}
    assets = {"tokenizer.json": b"{}", CONFIG: json.dumps(photo).encode()}
    weights = dict(model.named_parameters())
    task = task_of(model.config, assets, entries, (lambda name: weights[name].detach()) if read else None)

    def text(held):
        given = {name: torch.tensor(held[name]).long() for name in inputs}
        return {"text_embeds": model.get_text_features(**given).pooler_output.numpy()}

    def image(held):
        return {"image_embeds": model.get_image_features(torch.tensor(held["pixel_values"])).pooler_output.numpy()}

    session = FakeSession(text_8=torch.no_grad()(text), image=torch.no_grad()(image))
    return open_model(session, task, write_word_tokenizer(folder)), session


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_probabilities_are_the_model_s_own(kind, tmp_path):
    eager = made(kind)
    model, session = opened(eager, kind, tmp_path)
    found = model.classify(PHOTOS, TEXTS)
    fed = {
        name: np.concatenate([run[name] for _, run in session.runs if name in run])
        for name in ("pixel_values", "input_ids")
    }
    texts = {"input_ids": torch.tensor(fed["input_ids"]).long()}
    if kind == "clip":
        texts["attention_mask"] = (texts["input_ids"] != 0).long()
    with torch.no_grad():
        logits = eager(pixel_values=torch.tensor(fed["pixel_values"]), **texts).logits_per_image
    expected = (logits.softmax(-1) if kind == "clip" else logits.sigmoid()).numpy()
    for answers, row in zip(found, expected, strict=True):
        assert [item["label"] for item in answers] == [TEXTS[i] for i in np.argsort(-row)]
        assert np.allclose([item["score"] for item in answers], np.sort(row)[::-1], atol=1e-5)


def test_embeddings_have_length_one(tmp_path):
    model, _ = opened(made("clip"), "clip", tmp_path)
    for rows in model.embed(TEXTS), model.embed_images(PHOTOS):
        assert rows.shape == (3, 16)
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_without_a_scale_there_are_no_probabilities(tmp_path):
    model, _ = opened(made("clip"), "clip", tmp_path, read=False)
    with pytest.raises(ArtifactError, match="logit_scale"):
        model.classify(PHOTOS, TEXTS)
