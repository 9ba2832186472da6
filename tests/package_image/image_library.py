"""The C files of edgeq/package/image as a shared library of this machine, called with numpy arrays."""

from __future__ import annotations

import ctypes
import functools
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.lower.toolchain import cc
from edgeq.package.image import INCLUDE, LIBRARY
from edgeq.tasks.image import Steps
from edgeq.tasks.resizing import Size

RULES = {"exact": 1, "shortest": 2, "bounded": 3, "longest": 4, "box": 5}


def _ints(*names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, ctypes.c_int32) for name in names)


class Image(ctypes.Structure):
    _fields_ = (*_ints("width", "height", "channels"), ("pixels", ctypes.c_void_p))


class CSteps(ctypes.Structure):
    _fields_ = (
        *_ints("rule"), ("edge", ctypes.c_double), ("shortest", ctypes.c_double), ("longest", ctypes.c_double),
        *_ints("height", "width", "within_height", "within_width", "filter", "crop_height", "crop_width", "pad_height"),
        *_ints("pad_width", "rescales", "normalizes"), ("rescale", ctypes.c_double), ("mean", ctypes.c_float * 3),
        ("std", ctypes.c_float * 3),
    )  # fmt: skip


class Sizes(ctypes.Structure):
    _fields_ = _ints("height", "width", "resized_height", "resized_width")


class Planes(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), *_ints("channels", "height", "width", "stride"))


class Logits(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), *_ints("height", "width", "stride", "square_height", "square_width"))


class Refused(Exception):
    """What a C function said."""


@functools.cache
def library() -> ctypes.CDLL:
    """Compiled by zig as for a device, once a test run."""
    folder = Path(tempfile.mkdtemp(prefix="edgeq-image-"))
    sources = [str(path) for path in LIBRARY]
    flags = ["-O2", "-std=gnu11", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=undefined"]
    out = folder / "image.so"
    cc(f"{platform.machine()}-linux-gnu", [*flags, f"-I{INCLUDE}", *sources, "-lm", "-o", str(out)], "compiling images")
    found = ctypes.CDLL(str(out))
    for name in ("image_decode", "image_resize", "resized", "prepare", "full_mask", "png_encode"):
        getattr(found, f"edgeq_{name}").restype = ctypes.c_char_p
    return found


def _check(error: bytes | None) -> None:
    if error:
        raise Refused(error.decode())


def _taken(image: Image) -> np.ndarray:
    shape = image.height, image.width, image.channels
    memory = ctypes.string_at(image.pixels, int(np.prod(shape)))
    library().edgeq_image_free(ctypes.byref(image))
    return np.frombuffer(memory, np.uint8).reshape(shape)


def _given(pixels: np.ndarray) -> Image:
    return Image(pixels.shape[1], pixels.shape[0], pixels.shape[2], pixels.ctypes.data)


def decode(data: bytes, channels: int = 3) -> np.ndarray:
    """u8[H, W, channels]; raises Refused."""
    out = Image()
    _check(library().edgeq_image_decode(data, ctypes.c_size_t(len(data)), channels, ctypes.byref(out)))
    return _taken(out)


def resize(pixels: np.ndarray, width: int, height: int, resample: int) -> np.ndarray:
    """u8[H, W, C] -> u8[height, width, C]."""
    out, given = Image(), _given(pixels)
    _check(library().edgeq_image_resize(ctypes.byref(given), width, height, resample, ctypes.byref(out)))
    return _taken(out)


def steps(spec: Steps) -> CSteps:
    """The struct that C makes of an artifact's facts."""
    rule = spec.resize or {}
    found = CSteps(rule=RULES.get(rule.get("rule", ""), 0), filter=spec.resample)
    for name in {"edge", "shortest", "longest", "height", "width"} & set(rule):
        setattr(found, name, rule[name])
    found.within_height, found.within_width = rule.get("within") or (0, 0)
    found.crop_height, found.crop_width = spec.crop or (0, 0)
    found.pad_height, found.pad_width = spec.pad or (0, 0)
    found.rescales, found.rescale = spec.rescale is not None, spec.rescale or 0
    found.normalizes = spec.mean is not None and spec.std is not None
    for name, values in ("mean", spec.mean or ()), ("std", spec.std or ()):
        getattr(found, name)[: len(values)] = values
    return found


def prepare(pixels: np.ndarray, spec: Steps, size: Size, stride: int) -> tuple[np.ndarray, Sizes]:
    """f32[C, height, stride] of NaN where nothing was written, and the sizes."""
    height, width = size
    data = np.full((pixels.shape[2], height, stride), np.nan, np.float32)
    given, found, planes = _given(pixels), Sizes(), Planes(data.ctypes.data, pixels.shape[2], height, width, stride)
    arguments = (ctypes.byref(given), ctypes.byref(steps(spec)), ctypes.byref(planes), ctypes.byref(found))
    _check(library().edgeq_prepare(*arguments))
    return data, found


def resized(spec: Steps, size: Size) -> Size:
    """(height, width) after resizing."""
    found = Sizes(height=size[0], width=size[1])
    _check(library().edgeq_resized(ctypes.byref(steps(spec)), ctypes.byref(found)))
    return found.resized_height, found.resized_width


def full_mask(logits: np.ndarray, width: int, square: Size, original: Size, resized: Size) -> np.ndarray:
    """u8[H, W]: 255 where the enlarged logits f32[h, stride], of which `width` columns count, are above zero."""
    out, sizes = Image(), Sizes(*original, *resized)
    given = Logits(logits.ctypes.data, logits.shape[0], width, logits.shape[1], *square)
    _check(library().edgeq_full_mask(ctypes.byref(given), ctypes.byref(sizes), ctypes.byref(out)))
    return _taken(out)[:, :, 0]


def png(mask: np.ndarray) -> bytes:
    """The file that C writes of u8[H, W]."""
    grey = np.ascontiguousarray(mask[:, :, None])
    given, data, size = _given(grey), ctypes.c_void_p(), ctypes.c_size_t()
    _check(library().edgeq_png_encode(ctypes.byref(given), ctypes.byref(data), ctypes.byref(size)))
    found = ctypes.string_at(data, size.value)
    ctypes.CDLL(None).free(data)
    return found
