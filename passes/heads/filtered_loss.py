"""Reg-PTQ's filtered global loss (CVPR 2024): boxes before suppression, those that matter, and classes."""

from __future__ import annotations

import torch
from torch import Tensor

SCORE, OVERLAP = 2e-4, 0.1  # the paper's theta_C and theta_I


def scores(logits: Tensor) -> Tensor:
    """Logits `[..., C]` -> the most likely object's probability; of several classes the last is "no object" (DETR)."""
    if logits.shape[-1] == 1:
        return logits.sigmoid()[..., 0]
    return logits.softmax(-1)[..., :-1].amax(-1)


def corners(boxes: Tensor) -> Tensor:
    """`[..., 4]`: centre and size -> left, top, right, bottom."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes `[..., 4]` given by centre and size."""
    a, b = corners(a), corners(b)
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    areas = [(x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1) for x in (a, b)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-12)


def counted(logits: Tensor, float_boxes: Tensor, boxes: Tensor, score: float = SCORE, iou: float = OVERLAP) -> Tensor:
    """Bool `[...]`: boxes whose float score is at least `score` and that still overlap their float box."""
    return (scores(logits) >= score) & (overlap(float_boxes, boxes.detach()) >= iou)


def filtered_loss(
    float_logits: Tensor, float_boxes: Tensor, logits: Tensor | None, boxes: Tensor,
    score: float = SCORE, iou: float = OVERLAP, weight: float = 1.0,
) -> Tensor:  # fmt: skip
    """L1 of the counted boxes, each with its own (query by query), plus cross entropy of classes where they change.

    float_logits `[..., C]`, boxes `[..., 4]` by centre and size; logits None: the classes stay as they are.
    """
    mask = counted(float_logits, float_boxes, boxes, score, iou)
    loss = weight * ((boxes - float_boxes).abs().sum(-1) * mask).sum() / mask.numel()
    if logits is None:
        return loss
    target = float_logits.softmax(-1) if float_logits.shape[-1] > 1 else float_logits.sigmoid()
    log = logits.log_softmax(-1) if logits.shape[-1] > 1 else torch.nn.functional.logsigmoid(logits)
    return loss - (target * log).sum(-1).mean()
