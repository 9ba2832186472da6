"""Calibration data as the inputs of one graph: by what the graph takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgeq.calibrate.images import image_inputs, point_inputs
from edgeq.calibrate.samples import Sample, encoder_samples, text_sample
from edgeq.ir.graph import inputs, value

if TYPE_CHECKING:
    from torch import fx

    from edgeq.calibrate.data import Data

TOKENS = {"input_ids", "position_ids"}
EVERY_ROW = torch.ones(0, dtype=torch.bool)  # of another length than any activation: nothing is left out
POINTS = 16  # prompts for SAM's prompt entry


def graph_samples(gm: fx.GraphModule, data: Data) -> list[Sample]:
    """Windows for a token graph, padded texts or photos for a static one, points for SAM's prompts; else []."""
    names = set(inputs(gm))
    if "input_ids" in names and names <= TOKENS and not isinstance(value(inputs(gm)["input_ids"]).shape[1], int):
        return [text_sample(ids) for ids in data.part.tokens]
    if "pixel_values" in names and names <= {"pixel_values", "pixel_mask"}:
        return [Sample(given, EVERY_ROW) for given in image_inputs(gm, data.part.photos, data.assets)]
    if names == {"input_points", "input_labels"} and data.part.photos:
        extent = data.config.vision_config.image_size
        return [Sample(given, EVERY_ROW) for given in point_inputs(gm, extent, POINTS, data.seed)]
    return encoder_samples(gm, data.part.tokens)
