"""SAM's points, masks and reuse of features, against transformers' own processor and model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes import FakeSession
from PIL import Image
from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor

from edgeq.errors import UsageError
from edgeq.tasks.image import Prepared
from edgeq.tasks.interpolation import bilinear
from edgeq.tasks.models import open_model
from edgeq.tasks.preprocessing import CONFIG, checked_steps, fitted, processor_of
from edgeq.tasks.segmentation import Point, full_size

SIDE = 64
PHOTO = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)
SETTINGS = {
    "image_processor_type": "SamImageProcessor",
    "size": {"longest_edge": SIDE},
    "pad_size": {"height": SIDE, "width": SIDE},
}


@pytest.fixture(scope="module")
def eager() -> SamModel:
    torch.manual_seed(0)
    vision = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8,
        "output_channels": 16, "window_size": 4, "global_attn_indexes": [0], "mlp_dim": 32,
        "num_pos_feats": 8,
    }  # fmt: skip
    prompt = {
        "hidden_size": 16,
        "image_size": SIDE,
        "patch_size": 8,
        "image_embedding_size": 8,
        "mask_input_channels": 4,
    }
    mask = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16, "iou_head_hidden_dim": 16,
    }  # fmt: skip
    made = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.3)
    return made


def segmenter(eager: SamModel, points: int = 1):
    """The three entries of an artifact, computed by the eager model."""

    def look(held):
        return {"image_embeddings": eager.get_image_embeddings(torch.tensor(held["pixel_values"])).numpy()}

    def prompt(held):
        places, labels = torch.tensor(held["input_points"]), torch.tensor(held["input_labels"]).long()
        sparse, dense = eager.get_prompt_embeddings(places, labels)
        return {"sparse_embeddings": sparse.numpy(), "dense_embeddings": dense.numpy()}

    def mask(held):
        names = ("image_embeddings", "sparse_embeddings", "dense_embeddings")
        image, sparse, dense = (torch.tensor(held[name]) for name in names)
        positions = eager.get_image_wide_positional_embeddings()
        masks, scores = eager.mask_decoder(image, positions, sparse, dense, multimask_output=True)[:2]
        return {"pred_masks": masks.numpy(), "iou_scores": scores.numpy()}

    grid, sparse = (1, 16, 8, 8), (1, 1, points + 1, 16)
    wrap = lambda run: lambda held: _no_grad(run, held)  # noqa: E731
    session = FakeSession(image=wrap(look), prompt=wrap(prompt), mask=wrap(mask))
    steps, _ = fitted(checked_steps(processor_of({CONFIG: json.dumps(SETTINGS).encode()})), (SIDE, SIDE), False)
    prompts = {"input_points": (1, 1, points, 2), "input_labels": (1, 1, points)}
    features = {"image_embeddings": grid, "sparse_embeddings": sparse, "dense_embeddings": grid}
    task = {
        "kind": "segmentation",
        "image": {"channels": 3, "height": SIDE, "width": SIDE, "steps": steps.to_json()},
        "entries": [
            {"name": "image", "inputs": {"pixel_values": (1, 3, SIDE, SIDE)}, "outputs": {"image_embeddings": grid}},
            {"name": "prompt", "inputs": prompts, "outputs": {"sparse_embeddings": sparse}},
            {"name": "mask", "inputs": features, "outputs": {"pred_masks": (1, 1, 3, 32, 32)}},
        ],
    }
    return open_model(session, task, None), session


def _no_grad(run, held):
    with torch.no_grad():
        return run(held)


def processor() -> SamProcessor:
    return SamProcessor(SamImageProcessorPil(**{k: v for k, v in SETTINGS.items() if k != "image_processor_type"}))


@pytest.mark.parametrize(
    ("points", "labels"), [([[33, 20]], [1]), ([[69.5, 44.25]], [0]), ([[3, 4], [50, 11]], [1, 0])]
)
def test_candidates_are_those_of_transformers(eager, points, labels):
    inputs = processor()(Image.fromarray(PHOTO), input_points=[[points]], input_labels=[[labels]], return_tensors="pt")
    with torch.no_grad():
        out = eager(**{name: inputs[name] for name in ("pixel_values", "input_points", "input_labels")})
    model, _ = segmenter(eager, len(points))
    found = model.segment(PHOTO, [(*point, label) for point, label in zip(points, labels, strict=True)])
    scores = out.iou_scores[0, 0].numpy()
    assert np.allclose(found.scores, scores, atol=1e-5)
    assert np.allclose(found.logits, out.pred_masks[0, 0].numpy(), atol=1e-4)
    assert found.score == found.scores.max()
    best = int(scores.argmax())
    assert np.array_equal(found.pixels, full_size(found.logits[best], model._seen) > 0)


def test_masks_in_the_photo_s_size_are_those_of_transformers():
    inputs = processor()(Image.fromarray(PHOTO), return_tensors="pt")
    low = np.random.default_rng(4).normal(size=(1, 1, 3, 16, 16)).astype(np.float32)
    sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    (expected,) = processor().image_processor.post_process_masks(torch.tensor(low), *sizes)
    seen = Prepared(np.zeros((3, SIDE, SIDE), np.float32), (45, 70), tuple(inputs["reshaped_input_sizes"][0].tolist()))
    found = np.stack([full_size(maps, seen) > 0 for maps in low[0, 0]])
    assert found.shape == (3, 45, 70)
    assert (found == expected[0].numpy()).mean() > 0.999
    assert 0.3 < found.mean() < 0.7


def test_fewer_points_than_compiled_are_padded_as_the_processor_pads(eager):
    model, session = segmenter(eager, 3)
    model.segment(PHOTO, [Point(10, 20)])
    inputs = dict(session.runs)["prompt"]
    assert inputs["input_labels"].tolist() == [[[1, -10, -10]]]
    assert np.allclose(inputs["input_points"][0, 0, 0], [10 * 64 / 70, 20 * 41 / 45])


def test_a_photo_is_looked_at_once(eager, tmp_path):
    model, session = segmenter(eager)
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    first = model.segment(str(path), [(5, 5)])
    again = model.segment(path, [(60, 40)])
    assert session.names.count("image") == 1
    assert session.names.count("mask") == 2
    assert not np.array_equal(first.logits, again.logits)
    Image.fromarray(PHOTO[::-1, :50]).save(path)
    model.segment(path, [(5, 5)])
    assert session.names.count("image") == 2


def test_bad_points_are_refused(eager):
    model, session = segmenter(eager, 2)
    with pytest.raises(UsageError, match="look at one first"):
        model.mask([(1, 1)])
    for points, message in ([], "at least one"), ([(1, 1)] * 3, "at most 2"), ([(70, 3)], "outside of the photo"):
        with pytest.raises(UsageError, match=message):
            model.segment(PHOTO, points)
    assert "prompt" not in session.names


def test_an_unreadable_photo_forgets_the_one_before(eager):
    model, _ = segmenter(eager)
    model.segment(PHOTO, [(1, 1)])
    with pytest.raises(UsageError):
        model.look("missing.png")
    with pytest.raises(UsageError, match="look at one first"):
        model.mask([(1, 1)])


@pytest.mark.parametrize("size", [(7, 9), (64, 40), (3, 100), (16, 12)])
def test_interpolation_is_torch_s(size):
    maps = np.random.default_rng(0).normal(size=(2, 16, 12)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.tensor(maps)[None], size, mode="bilinear", align_corners=False)
    assert np.abs(bilinear(maps, *size) - expected[0].numpy()).max() < 1e-5
