"""Logarithmic weights of box heads: found by structure, better than even ones where weights are Laplace-shaped."""

from __future__ import annotations

import pytest
import torch
from float64 import build, run_passes

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, op, site
from edgeq.passes.grids import holds_grid
from edgeq.passes.heads.box_heads import head_linears, head_of
from edgeq.passes.heads.filtered_loss import counted, filtered_loss, overlap
from edgeq.passes.heads.log_weights import LearnedLevels, choose, even_error, fit
from edgeq.passes.llaq import LEVELS, Llaq
from edgeq.passes.pass_ import Context
from edgeq.quant.fits import nearest_level
from edgeq.quant.format import WeightFormat
from edgeq.quant.values import dequantized


@pytest.fixture
def laplace() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.distributions.Laplace(0.0, 0.05).sample((48, 256))


def plant(model, scale: float = 0.2) -> None:
    """Laplace-shaped weights in the box head."""
    noise = torch.Generator().manual_seed(3)
    for name, tensor in model.tensors.items():
        if "bbox_predictor" in name and tensor.dim() == 2:
            u = torch.rand(tensor.shape, generator=noise) - 0.5
            tensor.copy_(-scale * u.sign() * torch.log1p(-2 * u.abs()))


@pytest.mark.parametrize("group", [0, 64])
def test_beats_even_levels_on_laplace_weights(laplace, group):
    """At 4 bits, whole rows and groups, both searched for least squared error."""
    found = choose(laplace, list(LEVELS), [group])
    assert found.error < 0.85 * even_error(laplace, WeightFormat(4, group))
    held = dequantized(found.codes, found.scale, None, found.format)
    assert float((held - laplace).square().sum() / laplace.square().sum()) == pytest.approx(found.error, rel=1e-4)


@pytest.mark.parametrize("name", LEVELS)
def test_levels_round_trip_within_half_a_step(name):
    """Half a logarithmic step, or half a unit where levels are rounded; signs are kept, codes follow their order."""
    fmt = WeightFormat.named(name, 0)
    up = torch.tensor([level for level in fmt.levels if -level in fmt.levels and level > 0]).float().sort()[0]
    x = torch.linspace(float(up[0]), 127.0, 2000)[None]
    both = torch.cat([x, -x])
    codes = nearest_level(both, fmt.levels)
    held = dequantized(codes, torch.ones(2, 1).half(), None, fmt)
    ratio = float((up[1:] / up[:-1]).max())
    assert ((held - both).abs() <= (both.abs() * (ratio - 1) / 2).clamp(min=0.5) + 1e-3).all()
    assert torch.equal(held.sign(), both.sign()) and (held[0] - -held[1]).abs().max() <= up.diff().max()
    assert (held[0].diff() >= 0).all() and (codes[0].int().diff() >= 0).all() and (codes[1].int().diff() >= 0).all()


def test_a_box_that_does_not_score_is_left_out():
    logits = torch.tensor([[9.0, -9.0, 0.0], [-20.0, -20.0, 9.0], [9.0, -9.0, 0.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 3)
    moved = boxes + torch.tensor([[0.02, 0, 0, 0], [0.02, 0, 0, 0], [0.4, 0, 0, 0]])
    assert counted(logits, boxes, moved).tolist() == [True, False, False]  # planted: no score; no overlap
    assert float(filtered_loss(logits, boxes, None, moved)) == pytest.approx(0.02 / 3)
    assert overlap(boxes, boxes).tolist() == pytest.approx([1, 1, 1])


def test_scales_are_learned_through_the_rounding(laplace):
    fitted = fit(laplace, WeightFormat.parse("log4z7"))
    learner = LearnedLevels(laplace, fitted)
    assert torch.equal(learner.harden().codes, fitted.codes)
    (learner.weight().square().sum() * 1e-3).backward()
    assert learner.stretch.grad.abs().min() > 0


def test_a_detr_keeps_its_boxes():
    """Found by structure; the loss of hardened numbers is never worse; everything else is left alone."""
    model = build("detr")
    plant(model)
    gm = next(iter(model.graphs.values()))
    assert [site(n).rpartition("bbox_predictor")[1] for n in head_linears(gm)] == ["bbox_predictor"] * 3
    head = head_of(gm, head_linears(gm))
    assert head is not None and "class" in site(head.classes)
    report = run_passes(model, "llaq{steps=6,lr=0.02}")[0]
    assert len(report.changed) == 3
    for linear in calls(gm, "aten.linear"):
        assert holds_grid(arguments(linear)["weight"]) == ("bbox_predictor" in site(linear))
    before, after = map(float, report.changed[0].what.rpartition("loss ")[2].split(" -> "))
    assert after < before
    assert all(site.what.startswith("log4") for site in report.changed)


def test_modules_are_named_or_found():
    model = build("detr")
    gm = next(iter(model.graphs.values()))
    report = run_passes(model, "llaq{modules=*class_labels_classifier,steps=0,force=true}")[0]
    assert [one.module.rpartition(".")[2] or one.module for one in report.changed] == ["class_labels_classifier"]
    assert {op(arguments(n)["weight"]) for n in calls(gm, "aten.linear") if "bbox" in site(n)} == {""}


def test_weights_of_another_shape_stay_even():
    """Uniform-shaped, as Xavier initialises: logarithmic levels would double the error."""
    model = build("detr")
    for name, tensor in model.tensors.items():
        if "bbox_predictor" in name:
            tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)) - 0.5)
    report = run_passes(model, "llaq{steps=0,group=0}")[0]
    assert not report.changed and all("no Laplace shape" in one.what for one in report.declined)


def test_needs_samples_to_learn():
    model = build("detr")
    plant(model)
    gm = next(iter(model.graphs.values()))
    with pytest.raises(UsageError, match="steps=0"):
        Llaq()(gm, Context(weights=model))
    assert Llaq().measures and not Llaq(steps=0).measures
    with pytest.raises(UsageError, match="group"):
        Llaq(group=7)
