"""Decoded pixels are Pillow's, bit for bit."""

from __future__ import annotations

import struct
from itertools import product

import jpeg_writer
import numpy as np
import png_writer
import pytest
from image_library import decode
from photos import saved, smooth, turned
from PIL import Image

from edgeq.tasks.photo import pixels

SIZES = ((1, 1), (2, 3), (8, 8), (17, 16), (33, 47), (64, 5))  # height, width


def same(data: bytes, channels: int = 3) -> None:
    expected, found = pixels(data, channels), decode(data, channels)
    assert found.shape == expected.shape
    worst = int(np.abs(found.astype(int) - expected).max())
    assert worst == 0, f"off by {worst}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("subsampling", "progressive"), [*product((0, 1, 2), (False, True))])
def test_jpeg(size, subsampling, progressive):
    for quality, restart in ((35, 0), (92, 2)):
        options = {"restart_marker_blocks": restart} if restart else {}
        image = Image.fromarray(smooth(*size))
        same(saved(image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive, **options))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("size", SIZES)
def test_jpeg_of_other_colours(mode, size):
    image = Image.fromarray(smooth(*size)).convert(mode)
    data = saved(image, "JPEG", quality=80, **({"keep_rgb": True} if mode == "RGB" else {}))
    same(data)
    same(data, 1)


FACTORS = {
    "4:4:0": ((1, 2), (1, 1), (1, 1)), "4:1:1": ((4, 1), (1, 1), (1, 1)), "4:1:0": ((4, 2), (1, 1), (1, 1)),
    "4:2:0": ((2, 2), (1, 1), (1, 1)), "uneven": ((2, 2), (2, 1), (1, 2)), "grey 2x2": ((2, 2),),
    "chroma finer": ((1, 1), (2, 2), (1, 1)), "four": ((1, 1), (1, 1), (1, 1), (1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 61), (33, 32)])
def test_jpeg_of_any_sampling(name, size):
    """Random coefficients reach what encoders do not: clamped samples, edges that leave the range."""
    for seed in range(3):
        same(jpeg_writer.write(size[1], size[0], FACTORS[name], restart=3 * (seed % 2), seed=seed))


@pytest.mark.parametrize("transform", [0, 1, 2])
@pytest.mark.parametrize("components", [3, 4])
def test_adobe_s_marker_names_the_colours(transform, components):
    marker = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)
    same(jpeg_writer.write(20, 11, ((1, 1),) * components, extra=marker))


def test_components_called_rgb_are_rgb():
    same(jpeg_writer.write(20, 11, ((1, 1),) * 3, ids="RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation):
    image = Image.fromarray(smooth(9, 14))
    for kind in "JPEG", "PNG":
        same(saved(image, kind, exif=turned(orientation)))
    packet = b"<x:xmpmeta tiff:Orientation=\"%d\"/>" % orientation
    same(saved(image, "JPEG", xmp=packet))


def test_nonsense_in_exif_turns_nothing():
    plain = saved(Image.fromarray(smooth(9, 14)), "JPEG")
    far, many = b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"
    ninth = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0"
    for body in b"", b"MM", far, many, ninth:
        exif = b"Exif\0\0" + body
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
        assert np.array_equal(decode(data), decode(plain))


DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(colour, bits) for colour, depths in DEPTHS.items() for bits in depths]


def png(colour: int, bits: int, size: tuple[int, int], clear: bool, **options: object) -> bytes:
    rng = np.random.default_rng((colour, bits, *size))
    most = 1 << bits
    samples = rng.integers(0, most, (*size, SAMPLES[colour])).astype(np.uint16)
    before = b""
    if colour == 3:
        before = png_writer.chunk(b"PLTE", rng.integers(0, 256, 3 * most, np.uint8).tobytes())
    if clear and colour == 3:
        before += png_writer.chunk(b"tRNS", rng.integers(0, 256, most, np.uint8).tobytes())
    elif clear and colour in (0, 2):
        before += png_writer.chunk(b"tRNS", samples[0, 0].astype(">u2").tobytes())
    return png_writer.write(samples, bits, colour, before=before, **options)


@pytest.mark.parametrize(("colour", "bits"), KINDS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_png(colour, bits, interlaced):
    for size, clear in product(((1, 1), (5, 9), (13, 8)), (False, True)):
        data = png(colour, bits, size, clear, interlaced=interlaced, level=size[0] % 3 * 4)
        same(data)
        same(data, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA"])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_png_as_pillow_packs_it(mode, level):
    image = Image.fromarray(smooth(50, 71, 4)).convert(mode)
    same(saved(image, "PNG", compress_level=level))


def test_noise_is_unpacked():
    """Deflate's longest codes and stored blocks."""
    noise = np.random.default_rng(1).normal(128, 12, (90, 121, 3)).clip(0, 255).astype(np.uint8)
    for level in 1, 9:
        same(saved(Image.fromarray(noise), "PNG", compress_level=level))
    noise = np.random.default_rng(1).integers(0, 256, (90, 121, 3), np.uint8)
    same(saved(Image.fromarray(noise), "PNG"))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA"])
@pytest.mark.parametrize("size", SIZES)
def test_bmp(mode, size):
    same(saved(Image.fromarray(smooth(*size, 4)).convert(mode), "BMP"))


def bmp(bits: int, masks: tuple[int, ...], header: int = 40, upright: bool = False, colours: int = 0) -> bytes:
    rng = np.random.default_rng(bits)
    stride, palette = (7 * bits + 31) // 32 * 4, rng.integers(0, 256, 4 * colours, np.uint8).tobytes()
    fields = b"".join(struct.pack("<I", mask) for mask in masks)
    body = struct.pack("<IiiHHIIiiII", header, 7, -5 if upright else 5, 1, bits, 3 if masks else 0, 0, 0, 0, colours, 0)
    body += fields + bytes(max(0, header - 40 - len(fields))) + palette
    pixels_ = rng.integers(0, 256, 5 * stride, np.uint8).tobytes()
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(body)) + body + pixels_


def test_bmp_of_other_layouts():
    for data in (
        bmp(16, ()), bmp(16, (0xF800, 0x7E0, 0x1F)), bmp(32, (0xFF000000, 0xFF0000, 0xFF00)), bmp(24, (), upright=True),
        bmp(32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), 108), bmp(4, (), colours=16), bmp(32, (0, 0, 0, 0), 56),
    ):  # fmt: skip
        same(data)
        same(data, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
@pytest.mark.parametrize("size", SIZES)
def test_pnm(mode, size):
    same(saved(Image.fromarray(smooth(*size)).convert(mode), "PPM"))


def test_pnm_of_any_range():
    rng = np.random.default_rng(0)
    for most, kind in product((1, 7, 100, 255, 256, 1000, 65535), (2, 3, 5, 6)):
        values = rng.integers(0, most + 1, 4 * 3 * (3 if kind % 3 == 0 else 1))
        plain, binary = " ".join(map(str, values)).encode(), values.astype(">u2" if most > 255 else np.uint8).tobytes()
        body = plain if kind < 4 else binary
        same(b"P%d # a comment\n4\n3 %d\n" % (kind, most) + body)
    same(b"P1\n3 2\n10 1\n011")
