"""A photo becomes a model's `pixel_values`, with the arithmetic of transformers' image processors (Pillow backend)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np

from edgeq.errors import UsageError
from edgeq.tasks.photo import Photo, pixels
from edgeq.tasks.resizing import Rule, Size, resized

MOST_PIXELS = 2**27


@dataclass(frozen=True)
class Steps:
    """What happens to a photo, in this order; None leaves a step out.

    Attributes:
        resize: a rule of `resizing.py`. resample: Pillow's filter number (2 bilinear, 3 bicubic, 1 Lanczos).
        crop: (height, width) cut from the centre, zeros where the photo is smaller. rescale: factor of the values.
        mean, std: by channel, after rescaling. pad: (height, width), zeros below and to the right, after normalising.
    """

    resize: Rule | None = None
    resample: int = 2
    crop: Size | None = None
    rescale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pad: Size | None = None

    def to_json(self) -> dict[str, Any]:
        """For edgeq.json."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, spec: dict[str, Any]) -> Steps:
        """The reverse of `to_json`."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items()}
        return cls(**values)


@dataclass(frozen=True)
class Prepared:
    """A photo ready for a model.

    Attributes:
        pixels: f32[C, H, W]. original: (height, width) of the upright photo. resized: the same after resizing, before
            cropping and padding.
    """

    pixels: np.ndarray
    original: Size
    resized: Size

    @property
    def mask(self) -> np.ndarray:
        """i32[H, W]: 1 where the photo is, 0 where it was padded."""
        mask = np.zeros(self.pixels.shape[1:], np.int32)
        mask[: self.resized[0], : self.resized[1]] = 1
        return mask


def prepare(photo: Photo, steps: Steps, channels: int = 3) -> Prepared:
    """Apply the steps; raises UsageError for what cannot be read as a photo."""
    image = pixels(photo, channels)
    original = image.shape[:2]
    size = resized(steps.resize, original) if steps.resize else original
    if min(size) < 1 or size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"a photo of {original[1]}x{original[0]} pixels is too long and thin: it would become {size[1]}x{size[0]}"
        )
    image = _resize(image, size, steps.resample).transpose(2, 0, 1)
    if steps.crop:
        image = _center_crop(image, steps.crop)
    values = _normalize(_rescale(image, steps.rescale), steps)
    return Prepared(np.ascontiguousarray(_pad(values, steps.pad), np.float32), original, size)


def _resize(image: np.ndarray, size: Size, resample: int) -> np.ndarray:
    from PIL import Image

    height, width = size
    plain = image[:, :, 0] if image.shape[2] == 1 else image
    found = np.asarray(Image.fromarray(plain).resize((width, height), resample=Image.Resampling(resample)))
    return found.reshape(height, width, image.shape[2])


def _center_crop(image: np.ndarray, size: Size) -> np.ndarray:
    """transformers.image_transforms.center_crop: zeros around what is too small."""
    height, width = image.shape[1:]
    grown = max(height, size[0]), max(width, size[1])
    top, left = ceil((grown[0] - height) / 2), ceil((grown[1] - width) / 2)
    canvas = np.zeros((image.shape[0], *grown), image.dtype)
    canvas[:, top : top + height, left : left + width] = image
    top, left = top + (height - size[0]) // 2, left + (width - size[1]) // 2
    return canvas[:, top : top + size[0], left : left + size[1]]


def _rescale(image: np.ndarray, factor: float | None) -> np.ndarray:
    """In float64 and then rounded, as transformers does it."""
    return image.astype(np.float32) if factor is None else (image.astype(np.float64) * factor).astype(np.float32)


def _normalize(image: np.ndarray, steps: Steps) -> np.ndarray:
    if steps.mean is None or steps.std is None:
        return image
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (steps.mean, steps.std))
    return (image - mean) / std


def _pad(image: np.ndarray, size: Size | None) -> np.ndarray:
    if size is None:
        return image
    below, right = size[0] - image.shape[1], size[1] - image.shape[2]
    return np.pad(image, ((0, 0), (0, below), (0, right)))
