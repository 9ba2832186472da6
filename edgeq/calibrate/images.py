"""Photos as calibration data: the image files of a folder, as the model's own preprocessing makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx

from edgeq.calibrate.records import Photo, Records, plural
from edgeq.errors import UnsupportedError, UsageError
from edgeq.ir.graph import inputs, value
from edgeq.tasks.image import Prepared, Steps, prepare

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def is_image(path: Path) -> bool:
    """True of a file whose name says that it is an image."""
    return path.suffix.lower() in SUFFIXES


def read_images(folder: Path, files: Sequence[Path]) -> Records:
    """The image files of a folder, by name; they are opened when they are needed."""
    photos = tuple(sorted(files))
    return Records(str(folder), f"{plural(len(photos), 'image')} of {folder.name}", photos=photos)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a photo before the model sees it: for `pixel_values [B, C, H, W]` of one graph."""

    steps: Steps
    batch: int
    channels: int

    @classmethod
    def of(cls, gm: fx.GraphModule, assets: dict[str, bytes]) -> Preprocessing:
        """The steps of the model's preprocessor_config.json, as `edgeq run` does them.

        Raises:
            UsageError: the model came without one, or edgeq cannot do what it says.
        """
        from edgeq.tasks.preprocessing import checked_steps, fitted, processor_of

        batch, channels, height, width = (int(size) for size in value(inputs(gm)["pixel_values"]).shape)
        try:
            processor = processor_of(assets)
            if processor is None:
                raise UnsupportedError("the model came without preprocessor_config.json")
            steps, _ = fitted(checked_steps(processor), (height, width), "pixel_mask" in inputs(gm))
        except UnsupportedError as error:
            raise UsageError(f"photos cannot be measured on: {error}; compile with --calib none") from error
        return cls(steps, batch, channels)


def image_inputs(gm: fx.GraphModule, photos: Sequence[Photo], assets: dict[str, bytes]) -> list[dict[str, Tensor]]:
    """Inputs of a graph of `pixel_values` (and `pixel_mask`), a batch of photos at a time; the last is repeated.

    Raises:
        UsageError: a photo that cannot be read (by name), or no preprocessing (see `Preprocessing.of`).
    """
    if not photos:
        return []
    how = Preprocessing.of(gm, assets)
    ready = [prepare(photo, how.steps, how.channels) for photo in photos]
    starts = range(0, len(ready), how.batch)
    return [_batch(gm, ready[i : i + how.batch], how.batch) for i in starts]


def _batch(gm: fx.GraphModule, photos: list[Prepared], batch: int) -> dict[str, Tensor]:
    photos = photos + photos[-1:] * (batch - len(photos))
    found = {"pixel_values": torch.stack([torch.from_numpy(photo.pixels) for photo in photos])}
    mask = inputs(gm).get("pixel_mask")
    if mask is not None:
        masks = torch.stack([torch.from_numpy(photo.mask) for photo in photos])
        found["pixel_mask"] = masks.to(value(mask).dtype)
    return found


def point_inputs(gm: fx.GraphModule, extent: int, count: int, seed: int) -> list[dict[str, Tensor]]:
    """Prompts of points for SAM's prompt entry: places drawn evenly over its image of `extent` pixels, in or out."""
    points, labels = (inputs(gm)[name] for name in ("input_points", "input_labels"))
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        places = torch.rand(tuple(value(points).shape), generator=draw) * extent
        kinds = torch.randint(0, 2, tuple(value(labels).shape), generator=draw)
        found.append({"input_points": places, "input_labels": kinds.to(value(labels).dtype)})
    return found


def check_photos(name: str, photos: Sequence[Photo]) -> None:
    """Open every photo: raises UsageError that names the first that cannot be read, before any work is done."""
    from edgeq.tasks.photo import pixels

    try:
        for photo in photos:
            pixels(photo)
    except UsageError as error:
        raise UsageError(f"--calib {name}: {error}; take it out of the data") from error
