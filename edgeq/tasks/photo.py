"""Photos as people have them: any format Pillow reads, turned upright, any colour mode, as plain uint8 pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import UsageError

Photo = Any  # a path, the bytes of a file, a PIL image, or u8[H, W], u8[H, W, 3 or 4]
MODES = {1: "L", 3: "RGB"}


def pixels(photo: Photo, channels: int = 3) -> np.ndarray:
    """The pixels of a photo, u8[H, W, channels].

    The EXIF orientation is applied; transparency is laid over white, as transformers' processors do; 16-bit grey keeps
    its upper bits.

    Raises:
        UsageError: no such file, not an image, a truncated one, or an array of another form.
    """
    from PIL import Image

    try:
        image = Image.fromarray(_array(photo)) if isinstance(photo, np.ndarray) else _open(photo)
        return _converted(_upright(image), channels)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"{_name(photo)} cannot be read as an image: {error or type(error).__name__}") from error


def _array(photo: np.ndarray) -> np.ndarray:
    fits = photo.dtype == np.uint8 and (photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] in (3, 4)))
    if not fits:
        raise UsageError(f"pixels are uint8 [H, W], [H, W, 3] or [H, W, 4], not {photo.dtype} {list(photo.shape)}")
    return photo


def _open(photo: Photo) -> Any:
    from PIL import Image

    if isinstance(photo, Image.Image):
        return photo
    if isinstance(photo, bytes):
        return Image.open(BytesIO(photo))
    path = Path(photo)
    if path.is_dir() or not path.exists():
        raise UsageError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file'}")
    return Image.open(path)


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    image.load()  # a truncated file shows itself only here
    return ImageOps.exif_transpose(image)


def _converted(image: Any, channels: int) -> np.ndarray:
    from PIL import Image

    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    found = np.asarray(image.convert(MODES[channels]))
    return found.reshape(*found.shape[:2], channels)


def _eight_bits(image: Any) -> Any:
    from PIL import Image

    return Image.fromarray((np.asarray(image).clip(0, 65535).astype(np.uint32) >> 8).astype(np.uint8))


def _name(photo: Photo) -> str:
    return str(photo) if isinstance(photo, str | Path) else "the photo"
